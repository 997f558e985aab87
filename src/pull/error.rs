//! Why a pull failed: one variant per step.

use std::io;
use std::sync::Arc;

use super::source::SourceError;
use super::space::NoSpace;
use crate::artifact::classify::ClassifyError;
use crate::artifact::collection::CollectionError;
use crate::artifact::config::ConfigError;
use crate::artifact::document::DocumentError;
use crate::artifact::index::IndexError;
use crate::artifact::lifecycle::Status;
use crate::artifact::links::LinkError;
use crate::artifact::skill::FindError;
use crate::layout::LayoutError;
use crate::reference::{Digest, ReferenceError};
use crate::registry::RegistryError;
use crate::store::{CommitError, FileError, is_full};
use crate::unpack::MaterialiseError;
use crate::unpack::{Problem, UnpackError};

/// A failed step of a pull. The reference itself is named by whoever reports it.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// Policy `Never`, and there is nothing here that this caller may have. The same text for
    /// content that is absent and for content that is not granted.
    #[error(
        "it is not on this node for this login, and the pull policy is Never: use IfNotPresent, or \
         have it pulled here with the same secret first"
    )]
    NotPresent,
    /// It failed a short while ago, and was not tried again.
    #[error("backing off")]
    BackOff(#[source] Arc<PullError>),
    /// Too many pulls of its namespace wait for their turn already.
    #[error(
        "{0} pulls of its namespace wait for their turn already (--max-concurrent-pulls); kubelet \
         tries again"
    )]
    Crowded(usize),
    /// The registry did not say what the reference is.
    #[error("resolving the reference")]
    Resolve(#[source] SourceError),
    /// A registry did not say what a reference is that a collection names.
    #[error("resolving {reference}")]
    ResolveMember {
        /// The reference, or the repository of a digest.
        reference: String,
        /// Why.
        source: SourceError,
    },
    /// A manifest that an index or a collection names could not be had.
    #[error("fetching manifest {}", digest.short())]
    Manifest {
        /// The manifest.
        digest: Digest,
        /// Why.
        source: SourceError,
    },
    /// The config blob could not be had.
    #[error("fetching {}", digest.short())]
    Config {
        /// The config.
        digest: Digest,
        /// Why.
        source: SourceError,
    },
    /// The config blob is not what its descriptor says.
    #[error("config {} is not what its descriptor says: {problem}", digest.short())]
    ConfigContent {
        /// The config.
        digest: Digest,
        /// How it differs.
        problem: String,
    },
    /// A config or a collection is larger than any.
    #[error("fetching {}: {problem}", digest.short())]
    Small {
        /// The blob.
        digest: Digest,
        /// How large it claims to be, and may be.
        problem: String,
    },
    /// The document is neither a manifest nor an index that is understood.
    #[error("reading manifest {}", digest.short())]
    Document {
        /// The document.
        digest: Digest,
        /// Why.
        source: DocumentError,
    },
    /// Nothing in the index fits.
    #[error("choosing from index {}", digest.short())]
    Index {
        /// The index.
        digest: Digest,
        /// Why.
        source: IndexError,
    },
    /// An index or a collection below another one.
    #[error("{} is an index or a collection in another one: only one level is followed", .0.short())]
    Nested(Digest),
    /// The manifest is not one of a skill.
    #[error("cannot use manifest {}", digest.short())]
    Classify {
        /// The manifest.
        digest: Digest,
        /// Why.
        source: ClassifyError,
    },
    /// A member of a collection is named by something that is not a reference.
    #[error("collection member {name:?}")]
    MemberReference {
        /// The member.
        name: String,
        /// Why.
        source: ReferenceError,
    },
    /// A member of a collection could not be pulled.
    #[error("collection member {name:?}")]
    Member {
        /// The member.
        name: String,
        /// Why.
        source: Box<PullError>,
    },
    /// A collection that holds none of the wanted skills, or nothing.
    #[error("the collection has no skill {wanted:?} (it has: {available})")]
    NoMember {
        /// What was asked for.
        wanted: String,
        /// What there is.
        available: String,
    },
    /// The collection's own document is broken.
    #[error("reading the collection")]
    Collection(#[from] CollectionError),
    /// The config blob cannot be understood.
    #[error("reading the config of manifest {}", digest.short())]
    ConfigRead {
        /// The manifest.
        digest: Digest,
        /// Why.
        source: ConfigError,
    },
    /// The skill's own status says that it is not to be used.
    #[error(
        "its status is {0} (io.skillimage.status), which --refuse-status refuses: use another version"
    )]
    Status(Status),
    /// A layer could not be had.
    #[error("downloading layer {}", layer.short())]
    Download {
        /// The layer.
        layer: Digest,
        /// Why.
        source: SourceError,
    },
    /// A layer's bytes are wrong, unsafe or too many.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// More layers than a limit allows.
    #[error("the artifact has {layers} layers, more than {limit} (raise --max-layers to allow it)")]
    Layers {
        /// How many.
        layers: usize,
        /// The limit.
        limit: u32,
    },
    /// There is no skill in it, or not a valid one.
    #[error("looking for skills")]
    Find(#[from] FindError),
    /// A link in a skill leads out of it, or nowhere.
    #[error("resolving links")]
    Links(#[from] LinkError),
    /// The files could not be put into place.
    #[error("laying out the files")]
    Materialise(#[from] MaterialiseError),
    /// The tree could not be stored.
    #[error("storing the tree")]
    Commit(#[from] CommitError),
    /// The state directory failed.
    #[error("using the state directory")]
    State(#[source] io::Error),
    /// A file of the state directory could not be written.
    #[error("remembering the pull")]
    Remember(#[from] FileError),
    /// The disk is full, and what could be removed was not enough.
    #[error("the state directory's disk is full (without this pull {free})")]
    DiskFull {
        /// What is free of it, and of how much.
        free: String,
        /// What needed more.
        source: Box<PullError>,
    },
    /// The disk has less space than its layers claim to need. Nothing of them was asked for.
    #[error(transparent)]
    NoSpace(#[from] NoSpace),
    /// It took longer than `--pull-timeout`.
    #[error("it took longer than {0} s (--pull-timeout)")]
    Timeout(u64),
    /// A defect of ours; the pull is lost, the driver is not.
    #[error("the pull ended unexpectedly: {0}")]
    Panicked(String),
}

/// What a caller can do about a failed pull, for the mapping to codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// What was asked for is wrong in itself.
    Request,
    /// The registry wants a credential, or another one.
    Unauthenticated,
    /// The registry knows the caller and says no.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// The artifact is not usable, whoever asks.
    Artifact,
    /// The node or the registry is set up in a way that cannot work.
    Configuration,
    /// Bytes are not what their digest says.
    Corrupt,
    /// A limit, or a full disk.
    Exhausted,
    /// It may work the next time.
    Transient,
    /// A defect or a broken node.
    Internal,
}

impl Blame {
    /// The stable name, as metrics show it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Artifact => "artifact",
            Self::Configuration => "configuration",
            Self::Corrupt => "corrupt",
            Self::Exhausted => "exhausted",
            Self::Transient => "transient",
            Self::Internal => "internal",
        }
    }
}

impl PullError {
    /// What a strict validation found, one by one; nothing for other errors.
    pub fn findings(&self) -> &[String] {
        match self {
            Self::Find(FindError::Strict { findings }) => findings,
            Self::Member { source, .. } => source.findings(),
            Self::BackOff(last) => last.findings(),
            _ => &[],
        }
    }

    /// Whether the disk of the state directory, or the quota on it, is used up.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Unpack(error) => match &error.problem {
                Problem::Sink { source, .. } => is_full(source),
                _ => false,
            },
            Self::Member { source, .. } | Self::DiskFull { source, .. } => source.is_disk_full(),
            Self::Materialise(source) => source.io().is_some_and(is_full),
            Self::Commit(source) => source.is_full(),
            Self::State(source) => is_full(source),
            Self::Remember(source) => source.is_full(),
            _ => false,
        }
    }

    /// Whether a registry turned the caller down while a login that it should have had could not
    /// be obtained.
    pub fn lacked_a_login(&self) -> bool {
        match self {
            Self::Resolve(SourceError::Registry(error))
            | Self::ResolveMember { source: SourceError::Registry(error), .. } => {
                error.lacked_a_login()
            }
            Self::Member { source, .. } => source.lacked_a_login(),
            Self::BackOff(last) => last.lacked_a_login(),
            _ => false,
        }
    }

    /// Whose move it is.
    pub fn blame(&self) -> Blame {
        match self {
            Self::NotPresent => Blame::NotFound,
            Self::BackOff(last) => last.blame(),
            Self::Resolve(source)
            | Self::ResolveMember { source, .. }
            | Self::Manifest { source, .. }
            | Self::Config { source, .. }
            | Self::Download { source, .. } => self::source(source),
            Self::ConfigContent { .. } => Blame::Corrupt,
            Self::Small { .. } => Blame::Exhausted,
            Self::Unpack(source) => unpack(source),
            Self::Layers { .. } | Self::NoSpace(_) => Blame::Exhausted,
            Self::Member { source, .. } | Self::DiskFull { source, .. } => source.blame(),
            Self::Find(FindError::Read { .. }) => Blame::Internal,
            Self::Document { .. }
            | Self::Index { .. }
            | Self::Nested(_)
            | Self::Classify { .. }
            | Self::MemberReference { .. }
            | Self::Collection(_)
            | Self::ConfigRead { .. }
            | Self::Status(_)
            | Self::Find(_)
            | Self::Links(_) => Blame::Artifact,
            Self::NoMember { .. } => Blame::Request,
            Self::Materialise(source) => full(source.io().is_some_and(is_full)),
            Self::Commit(source) => full(source.is_full()),
            Self::State(source) => full(is_full(source)),
            Self::Remember(source) => full(source.is_full()),
            Self::Crowded(_) | Self::Timeout(_) => Blame::Transient,
            Self::Panicked(_) => Blame::Internal,
        }
    }
}

fn full(full: bool) -> Blame {
    if full { Blame::Exhausted } else { Blame::Internal }
}

fn source(error: &SourceError) -> Blame {
    match error {
        SourceError::Registry(error) => registry(error),
        SourceError::Layout(error) => match error {
            LayoutError::Open { .. } | LayoutError::Choice { .. } => Blame::Request,
            LayoutError::NoLayout { .. }
            | LayoutError::Archive { .. }
            | LayoutError::Index { .. }
            | LayoutError::NoFile { .. } => Blame::Artifact,
            LayoutError::NoBlob { .. } => Blame::NotFound,
            LayoutError::TooLarge { .. } => Blame::Exhausted,
            LayoutError::Size { .. } | LayoutError::Digest { .. } => Blame::Corrupt,
            LayoutError::Read(_) => Blame::Transient,
            LayoutError::Panicked(_) => Blame::Internal,
        },
    }
}

fn registry(error: &RegistryError) -> Blame {
    match error {
        // A credential provider failed: what the registry says is not its last word.
        error if error.lacked_a_login() => Blame::Transient,
        RegistryError::Unauthorized { .. } => Blame::Unauthenticated,
        RegistryError::Forbidden { .. } => Blame::Forbidden,
        RegistryError::NotFound { .. } => Blame::NotFound,
        RegistryError::TooManyRequests { .. }
        | RegistryError::Server { .. }
        | RegistryError::Connect { .. }
        | RegistryError::Interrupted { .. }
        | RegistryError::Timeout { .. }
        | RegistryError::TooSlow { .. }
        | RegistryError::Truncated { .. } => Blame::Transient,
        RegistryError::NoHost { .. } => error.furthest().map_or(Blame::Transient, registry),
        RegistryError::Hosts { .. }
        | RegistryError::Certificate { .. }
        | RegistryError::Tls { .. }
        | RegistryError::Realm { .. }
        | RegistryError::Protocol { .. } => Blame::Configuration,
        RegistryError::ManifestTooLarge { .. } | RegistryError::TooLarge { .. } => Blame::Exhausted,
        RegistryError::Digest { .. } => Blame::Corrupt,
    }
}

fn unpack(error: &UnpackError) -> Blame {
    match &error.problem {
        _ if error.is_limit() => Blame::Exhausted,
        _ if error.is_read() => Blame::Transient,
        Problem::DigestMismatch { .. } | Problem::TooLong { .. } | Problem::TooShort { .. } => {
            Blame::Corrupt
        }
        Problem::Sink { source, .. } => full(is_full(source)),
        _ => Blame::Artifact,
    }
}
