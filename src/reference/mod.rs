//! References: what a user writes to name an artifact, and what it means.
//!
//! The grammar is the distribution project's, as `docker pull`, containerd and kubelet accept
//! it: `[host[:port]/]path[:tag][@digest]`. Short names are Docker Hub's, as in Kubernetes:
//! `nginx` is `docker.io/library/nginx:latest`.

mod digest;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use digest::{Algorithm, Digest, DigestError, Hasher, hex};

/// Docker Hub's name in references; its API lives on another host (see `registry`).
pub const DOCKER_HUB: &str = "docker.io";

/// The longest reference that is parsed, in bytes: 255 for the name, 128 for the tag, and room
/// for a sha512 digest (distribution, reference.NameTotalLengthMax).
pub const MAX_LENGTH: usize = 255 + 1 + 128 + 1 + 7 + 128;

const DEFAULT_TAG: &str = "latest";
const MAX_NAME: usize = 255;
const MAX_TAG: usize = 128;

/// A repository: one path on one registry. Normalised: the host is lower-case, Docker Hub is
/// `docker.io`, and a single path component there lies below `library/`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Repository {
    registry: String,
    path: String,
}

impl Repository {
    /// A path on a host that is known to be one: a mirror's, say. Nothing is guessed and nothing
    /// added to the path; only Docker Hub's hosts are called by its name.
    pub fn at(host: &str, path: &str) -> Result<Self, ReferenceError> {
        let host = host.to_ascii_lowercase();
        let reference = || format!("{host}/{path}");
        if !is_registry(&host) {
            let reference = reference();
            return Err(ReferenceError::Registry { reference, registry: host });
        }
        if let Some(problem) = path_problem(path) {
            return Err(ReferenceError::Path {
                reference: reference(),
                path: path.into(),
                problem,
            });
        }
        Ok(Self { registry: canonical(host), path: path.into() })
    }

    /// The registry's `host[:port]`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path below the registry, without a leading slash.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The last component of the path: what most tools name a skill by.
    pub fn last_segment(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)
    }
}

/// What to ask a repository for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Selector {
    /// A tag, which may move.
    Tag(String),
    /// A digest, which never does.
    Digest(Digest),
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => f.write_str(tag),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

/// An OCI reference. Where it has both a tag and a digest, the digest is what counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    repository: Repository,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is not a reference.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReferenceError {
    /// Nothing was written.
    #[error("the reference is empty")]
    Empty,
    /// It is longer than [`MAX_LENGTH`].
    #[error("the reference has {0} bytes, more than {MAX_LENGTH}")]
    TooLong(usize),
    /// A scheme belongs to a URL; a reference has none.
    #[error("reference {0:?} starts with a scheme; write it without {1:?}")]
    Scheme(String, String),
    /// The registry is not `host[:port]`.
    #[error("reference {reference:?}: {registry:?} is not a registry (host or host:port)")]
    Registry {
        /// The reference.
        reference: String,
        /// The part that should name a registry.
        registry: String,
    },
    /// The path breaks the grammar.
    #[error("reference {reference:?}: repository path {path:?} {problem}")]
    Path {
        /// The reference.
        reference: String,
        /// The path.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The tag breaks the grammar.
    #[error(
        "reference {reference:?}: tag {tag:?} is not of the form [A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}}"
    )]
    Tag {
        /// The reference.
        reference: String,
        /// The tag.
        tag: String,
    },
    /// The digest is not one.
    #[error("reference {reference:?}")]
    Digest {
        /// The reference.
        reference: String,
        /// What is wrong with it.
        source: DigestError,
    },
}

impl Reference {
    /// The repository.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The tag, if one was written.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// What to ask the repository for: the digest, else the tag, else `latest`.
    pub fn selector(&self) -> Selector {
        match &self.digest {
            Some(digest) => Selector::Digest(digest.clone()),
            None => Selector::Tag(self.tag.clone().unwrap_or_else(|| DEFAULT_TAG.into())),
        }
    }

    /// The digest, if one was written.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The same repository at a digest.
    pub fn at(&self, digest: Digest) -> Self {
        Self { repository: self.repository.clone(), tag: self.tag.clone(), digest: Some(digest) }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let reference = || text.to_owned();
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        if text.len() > MAX_LENGTH {
            return Err(ReferenceError::TooLong(text.len()));
        }
        if let Some((scheme, _)) = text.split_once("://") {
            return Err(ReferenceError::Scheme(reference(), format!("{scheme}://")));
        }
        let (rest, digest) = match text.split_once('@') {
            None => (text, None),
            Some((rest, digest)) => {
                let digest = digest
                    .parse()
                    .map_err(|source| ReferenceError::Digest { reference: reference(), source })?;
                (rest, Some(digest))
            }
        };
        // A colon after the last slash starts a tag; before it, a port.
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if let Some(tag) = tag
            && !is_tag(tag)
        {
            return Err(ReferenceError::Tag { reference: reference(), tag: tag.into() });
        }
        let repository = repository(text, name)?;
        Ok(Self { repository, tag: tag.map(Into::into), digest })
    }
}

fn repository(reference: &str, name: &str) -> Result<Repository, ReferenceError> {
    let (host, path) = match name.split_once('/') {
        // As everywhere: the first component is a host if it could not be a path on Docker Hub.
        // Elsewhere capitals tell that too; but hosts are shown in lower case, and `ACME/skill`
        // would be read back as Docker Hub's `acme/skill`.
        Some((host, path))
            if host.contains(['.', ':']) || host.eq_ignore_ascii_case("localhost") =>
        {
            (host.to_ascii_lowercase(), path.to_owned())
        }
        _ => (DOCKER_HUB.to_owned(), name.to_owned()),
    };
    if !is_registry(&host) {
        return Err(ReferenceError::Registry { reference: reference.into(), registry: host });
    }
    let host = canonical(host);
    let path = match host == DOCKER_HUB && !path.contains('/') && !path.is_empty() {
        true => format!("library/{path}"),
        false => path,
    };
    if let Some(problem) = path_problem(&path) {
        return Err(ReferenceError::Path { reference: reference.into(), path, problem });
    }
    Ok(Repository { registry: host, path })
}

/// Docker Hub by its one name.
fn canonical(host: String) -> String {
    match host.as_str() {
        "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB.to_owned(),
        _ => host,
    }
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let mut bytes = tag.bytes();
    bytes.next().is_some_and(word)
        && bytes.all(|b| word(b) || b == b'.' || b == b'-')
        && tag.len() <= MAX_TAG
}

fn is_registry(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, after)) => {
                if address.parse::<std::net::Ipv6Addr>().is_err() {
                    return false;
                }
                match after.strip_prefix(':') {
                    Some(port) => (None, Some(port)),
                    None if after.is_empty() => (None, None),
                    None => return false,
                }
            }
            None => return false,
        },
        None => match host.split_once(':') {
            Some((name, port)) => (Some(name), Some(port)),
            None => (Some(host), None),
        },
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    name.is_none_or(|name| name.len() <= 253 && name.split('.').all(label))
        && port.is_none_or(|port| {
            port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|p| p > 0)
        })
}

/// The grammar of a path: components of lower-case letters and digits, joined by `.`, `_`, `__`
/// or dashes, none of them at an end.
fn path_problem(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        return Some("is empty");
    }
    if path.len() > MAX_NAME {
        return Some("is longer than 255 bytes");
    }
    if path.bytes().any(|b| b.is_ascii_uppercase()) {
        return Some("has upper-case letters, which no registry allows");
    }
    let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    for component in path.split('/') {
        let bytes = component.as_bytes();
        let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
            return Some("has an empty component");
        };
        if !alphanumeric(first) || !alphanumeric(last) {
            return Some("has a component that does not start and end with a letter or digit");
        }
        for separator in component.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()) {
            let dashes = !separator.is_empty() && separator.bytes().all(|b| b == b'-');
            if !matches!(separator, "" | "." | "_" | "__") && !dashes {
                return Some("may have only a-z, 0-9 and single . _ __ or dashes between them");
            }
        }
    }
    None
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.repository.fmt(f)?;
        match (&self.tag, &self.digest) {
            (None, None) => write!(f, ":{DEFAULT_TAG}"),
            (Some(tag), None) => write!(f, ":{tag}"),
            (None, Some(digest)) => write!(f, "@{digest}"),
            (Some(tag), Some(digest)) => write!(f, ":{tag}@{digest}"),
        }
    }
}

impl TryFrom<String> for Reference {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Self, ReferenceError> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

#[cfg(test)]
mod tests;
