//! What can go wrong in the store, one type per operation.

use std::io;
use std::path::PathBuf;

/// A small file could not be written, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file could not be written; the old one, if any, is untouched.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The value cannot be expressed as JSON: a path that is not UTF-8.
    #[error("cannot express {} as JSON", path.display())]
    Encode {
        /// The file that was to be written.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The file or directory could not be read, for a reason that says nothing about its content.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file could not be removed.
    #[error("cannot remove {}", path.display())]
    Remove {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl FileError {
    /// The disk, or the quota on it, is used up.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Write { source, .. }
            | Self::Read { source, .. }
            | Self::Remove { source, .. } => is_full(source),
            Self::Encode { .. } => false,
        }
    }
}

/// The state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A directory or file of the layout could not be made.
    #[error("cannot prepare {}", path.display())]
    Prepare {
        /// What was being made.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A directory could not be listed.
    #[error("cannot list {}", path.display())]
    List {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The lock could not be tried.
    #[error("cannot lock {}", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process holds the lock.
    #[error(
        "{} is locked: another skillmount uses this state directory; stop it, or give this one \
         another directory",
        path.display()
    )]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// A newer program wrote the directory.
    #[error(
        "{} says layout version {found}, and this skillmount knows versions up to {known}; run \
         the newer version, or drain the node and empty the directory",
        path.display()
    )]
    FormatNewer {
        /// The format file.
        path: PathBuf,
        /// The version it names.
        found: u64,
        /// The newest version known here.
        known: u64,
    },
    /// The format file names no version.
    #[error(
        "{} holds {text:?}, which is no layout version; drain the node and empty the directory",
        path.display()
    )]
    FormatUnknown {
        /// The format file.
        path: PathBuf,
        /// The beginning of what it holds.
        text: String,
    },
    /// The directory has no format file but holds something: it belongs to somebody else.
    #[error(
        "{} is no state directory: it has no file `format` but holds {entry:?}; give an empty or \
         new directory",
        path.display()
    )]
    NotAStore {
        /// The directory.
        path: PathBuf,
        /// One of its entries.
        entry: String,
    },
    /// The directory that must stay empty is not; what it holds would show up in every volume.
    #[error("{} must be empty but holds {entry:?}; remove that", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
        /// One of its entries.
        entry: String,
    },
    /// The boot id could not be read.
    #[error("cannot read {}, which tells one boot from another", path.display())]
    BootId {
        /// The kernel's file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel gave no random bytes for the salt.
    #[error("cannot draw random bytes for the salt")]
    Random,
    /// A small file failed.
    #[error(transparent)]
    File(#[from] FileError),
}

impl OpenError {
    /// The disk, or the quota on it, is used up.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Prepare { source, .. } => is_full(source),
            Self::File(error) => error.is_full(),
            _ => false,
        }
    }
}

/// A staged tree could not become part of the store. Nothing of it is left there.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The key is no content key.
    #[error("tree key {0:?} is not 64 lower-case hexadecimal characters")]
    Key(String),
    /// A skill's name cannot be a directory's name.
    #[error("tree {key}: skill name {name:?} cannot be the name of a directory")]
    Name {
        /// The tree's key.
        key: String,
        /// The name.
        name: String,
    },
    /// The disk failed while the tree was written.
    #[error("tree {key}: the disk failed while it was written, and what is lost is not known")]
    Lost {
        /// The tree's key.
        key: String,
        /// How the disk failed.
        source: io::Error,
    },
    /// The staged directory could not be made readable or moved.
    #[error("cannot move the staged tree to {}", path.display())]
    Move {
        /// Where it was to go.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The description could not be written.
    #[error(transparent)]
    Describe(#[from] FileError),
}

impl CommitError {
    /// The disk, or the quota on it, is used up.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Move { source, .. } | Self::Lost { source, .. } => is_full(source),
            Self::Describe(error) => error.is_full(),
            Self::Key(_) | Self::Name { .. } => false,
        }
    }
}

/// A tree could not be made durable. It stays usable, and is pulled again after a reboot.
#[derive(Debug, thiserror::Error)]
pub enum FlushError {
    /// There is no such tree.
    #[error("there is no tree {0:?} to flush")]
    Unknown(String),
    /// Its files could not be read back.
    #[error("cannot list the files of {} with their digests", path.display())]
    List {
        /// The tree.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel could not write it to the disk, or something else: then it does not say what. None
    /// of the trees that were not flushed can be believed any more.
    #[error("cannot flush the file system of {}", path.display())]
    Sync {
        /// The tree.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The list or the mark could not be written.
    #[error(transparent)]
    Mark(#[from] FileError),
}

impl FlushError {
    /// The disk, or the quota on it, is used up.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Sync { source, .. } | Self::List { source, .. } => is_full(source),
            Self::Mark(error) => error.is_full(),
            Self::Unknown(_) => false,
        }
    }
}

/// Whether an I/O error says that the disk, or the quota on it, is used up.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
