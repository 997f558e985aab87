//! What can go wrong between a node and a registry, as texts that a pod's events can show.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use reqwest::StatusCode;

use super::answer::{Answer, Attempt};
use super::hosts::HostsError;
use super::wording::{got, refusal, tried};
use crate::observability::innermost;
use crate::reference::{Digest, Repository, Selector};

/// What was asked of which repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The repository.
    pub repository: Repository,
    /// What was asked of it.
    pub item: Item,
    /// The host that was asked in its place, if it was a mirror.
    pub mirror: Option<String>,
}

/// One thing that a repository holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A manifest or an index.
    Manifest(Selector),
    /// A blob.
    Blob(Digest),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.item {
            Item::Manifest(Selector::Tag(tag)) => write!(f, "{}:{tag}", self.repository),
            Item::Manifest(Selector::Digest(digest)) => write!(f, "{}@{digest}", self.repository),
            Item::Blob(digest) => write!(f, "{}: blob {digest}", self.repository),
        }
    }
}

/// The innermost cause of a failed connection, without the URL: after a redirect the URL can
/// hold a signature, which is as good as a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause(String);

impl Cause {
    pub(super) fn of(error: &(dyn Error + 'static)) -> Self {
        Self(innermost(error))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Cause {}

/// Why a manifest or a blob could not be had. Which one it was, the caller knows and says; in the
/// text it would stand twice.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// A login is needed, and no credential, or no right one, was at hand.
    #[error("{}", refusal(target, attempts, "the registry accepted no matching credential"))]
    Unauthorized {
        /// What was asked for.
        target: Arc<Target>,
        /// The candidates in the order of trial.
        attempts: Vec<Attempt>,
    },
    /// The registry knows the caller and does not let it pull.
    #[error("{}", refusal(target, attempts, "the registry forbids the pull"))]
    Forbidden {
        /// What was asked for.
        target: Arc<Target>,
        /// The candidates in the order of trial.
        attempts: Vec<Attempt>,
    },
    /// There is no such thing, or the registry hides it from the caller.
    #[error("{}", refusal(target, attempts, "not found"))]
    NotFound {
        /// What was asked for.
        target: Arc<Target>,
        /// The candidates in the order of trial.
        attempts: Vec<Attempt>,
    },
    /// The registry's rate limit was still in force after all retries.
    #[error("{host} limits the rate of requests ({answer}); a credential may raise the limit")]
    TooManyRequests {
        /// What was asked for.
        target: Arc<Target>,
        /// The server.
        host: String,
        /// What it wrote.
        answer: Answer,
    },
    /// The server failed, also after retries.
    #[error("{host} failed: {answer}")]
    Server {
        /// What was asked for.
        target: Arc<Target>,
        /// The server.
        host: String,
        /// Its HTTP status, 500 to 599.
        status: u16,
        /// What it wrote.
        answer: Answer,
    },
    /// No connection: the name does not resolve, or nobody listens.
    #[error("cannot connect to {host}")]
    Connect {
        /// What was asked for.
        target: Arc<Target>,
        /// The server.
        host: String,
        /// Why.
        source: Cause,
    },
    /// The connection broke before the answer was complete.
    #[error("the connection to {host} broke")]
    Interrupted {
        /// What was asked for.
        target: Arc<Target>,
        /// The server.
        host: String,
        /// Why.
        source: Cause,
    },
    /// The server's certificate is not trusted.
    #[error(
        "the certificate of {host} is not trusted; if a private authority signed it, give the driver that authority's certificate with --ca-file"
    )]
    Certificate {
        /// What was asked for.
        target: Arc<Target>,
        /// The server.
        host: String,
        /// Why.
        source: Cause,
    },
    /// TLS failed for another reason than the certificate.
    #[error(
        "{host} does not complete a TLS handshake; a registry without TLS has to be named with --plain-http"
    )]
    Tls {
        /// What was asked for.
        target: Arc<Target>,
        /// The server.
        host: String,
        /// Why.
        source: Cause,
    },
    /// The server took too long to accept the connection or to send the next bytes.
    #[error("{host} did not answer in time")]
    Timeout {
        /// What was asked for.
        target: Arc<Target>,
        /// The server.
        host: String,
    },
    /// The server sends, and so slowly that it would never end.
    #[error(
        "{host} sends too slowly: {received} bytes of it so far, and of late fewer than {limit} a \
         second (--low-speed-limit, --low-speed-time)"
    )]
    TooSlow {
        /// What was asked for.
        target: Arc<Target>,
        /// The server.
        host: String,
        /// How many bytes there are.
        received: u64,
        /// The fewest that are allowed in a second.
        limit: u64,
    },
    /// The registry names a token service that must not see a credential.
    #[error(
        "no credential was sent: the registry names the token service {realm}, which {problem}"
    )]
    Realm {
        /// What was asked for.
        target: Arc<Target>,
        /// Scheme and host of the token service.
        realm: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The manifest is longer than a manifest may be.
    #[error("the manifest is longer than {limit} bytes")]
    ManifestTooLarge {
        /// What was asked for.
        target: Arc<Target>,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The bytes are not those that were asked for.
    #[error("the registry sent other content than {expected}{}", got(actual))]
    Digest {
        /// What was asked for.
        target: Arc<Target>,
        /// The digest that was asked for, or that the registry announced.
        expected: Digest,
        /// The digest of what came, where it is known.
        actual: Option<Digest>,
    },
    /// The blob is longer than its descriptor says, or than the cap.
    #[error("the registry sends more than {limit} bytes")]
    TooLarge {
        /// What was asked for.
        target: Arc<Target>,
        /// The descriptor's size or the cap, in bytes.
        limit: u64,
    },
    /// The blob ended early, also after it was resumed.
    #[error("the registry sent {received} of {size} bytes")]
    Truncated {
        /// What was asked for.
        target: Arc<Target>,
        /// How many bytes came.
        received: u64,
        /// How many the descriptor says.
        size: u64,
    },
    /// The node's configuration of registry hosts cannot be followed, so that none was asked.
    #[error("no registry was asked")]
    Hosts {
        /// What was asked for.
        target: Arc<Target>,
        /// Why.
        source: HostsError,
    },
    /// Several hosts were asked, and none delivered.
    #[error("{}", tried(failed))]
    NoHost {
        /// What was asked for.
        target: Arc<Target>,
        /// The hosts in the order of trial, with what went wrong at each.
        failed: Vec<(String, RegistryError)>,
        /// Which of them got furthest, and stands for all.
        furthest: usize,
    },
    /// The server breaks the distribution specification, or the token one.
    #[error("{host} {problem}")]
    Protocol {
        /// What was asked for.
        target: Arc<Target>,
        /// The server.
        host: String,
        /// What it did.
        problem: String,
    },
}

impl RegistryError {
    /// Whether the same request may succeed later with nothing changed on this side.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::TooManyRequests { .. }
            | Self::Server { .. }
            | Self::Connect { .. }
            | Self::Interrupted { .. }
            | Self::Timeout { .. }
            | Self::TooSlow { .. }
            | Self::Truncated { .. } => true,
            Self::NoHost { .. } => self.furthest().is_some_and(Self::is_transient),
            Self::Hosts { .. }
            | Self::Unauthorized { .. }
            | Self::Forbidden { .. }
            | Self::NotFound { .. }
            | Self::Certificate { .. }
            | Self::Tls { .. }
            | Self::Realm { .. }
            | Self::ManifestTooLarge { .. }
            | Self::Digest { .. }
            | Self::TooLarge { .. }
            | Self::Protocol { .. } => false,
        }
    }

    /// Whether the caller was turned down, so that another caller may not be.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Unauthorized { .. } | Self::Forbidden { .. } | Self::NotFound { .. } => true,
            Self::NoHost { .. } => self.furthest().is_some_and(Self::is_refusal),
            _ => false,
        }
    }

    /// Of several hosts' failures, the one that stands for all: the first of those that got
    /// furthest, as in containerd. Nothing if only one host was asked.
    pub fn furthest(&self) -> Option<&Self> {
        match self {
            Self::NoHost { failed, furthest, .. } => failed.get(*furthest).map(|(_, error)| error),
            _ => None,
        }
    }

    /// The error for hosts of which each failed.
    pub(super) fn among(target: Arc<Target>, mut failed: Vec<(String, Self)>) -> Self {
        if failed.len() == 1
            && let Some((_, only)) = failed.pop()
        {
            return only;
        }
        let progress = |index: &usize| (failed[*index].1.progress(), std::cmp::Reverse(*index));
        let furthest = (0..failed.len()).max_by_key(progress).unwrap_or_default();
        Self::NoHost { target, failed, furthest }
    }

    /// How far a host got: no answer, an answer that it has nothing, another, other content.
    fn progress(&self) -> u8 {
        match self {
            Self::Connect { .. }
            | Self::Interrupted { .. }
            | Self::Timeout { .. }
            | Self::Certificate { .. }
            | Self::Tls { .. }
            | Self::Hosts { .. } => 0,
            Self::NotFound { .. } => 1,
            Self::Unauthorized { .. }
            | Self::Forbidden { .. }
            | Self::TooManyRequests { .. }
            | Self::Server { .. }
            | Self::Realm { .. }
            | Self::Protocol { .. } => 2,
            Self::Digest { .. }
            | Self::ManifestTooLarge { .. }
            | Self::TooLarge { .. }
            | Self::TooSlow { .. }
            | Self::Truncated { .. } => 3,
            Self::NoHost { .. } => self.furthest().map_or(0, Self::progress),
        }
    }

    /// Whether the caller was turned down while a login that it should have had could not be
    /// obtained, so that it may be let in another time.
    pub fn lacked_a_login(&self) -> bool {
        match self {
            Self::Unauthorized { attempts, .. }
            | Self::Forbidden { attempts, .. }
            | Self::NotFound { attempts, .. } => {
                attempts.iter().any(|attempt| matches!(attempt.answer, Answer::Unobtainable(_)))
            }
            // Any of them might have been the one that lets the caller in.
            Self::NoHost { failed, .. } => failed.iter().any(|(_, error)| error.lacked_a_login()),
            _ => false,
        }
    }

    /// The error for requests of which each was turned down. "Not found" says most, because only
    /// a caller who may look is told so by most registries; then "forbidden".
    pub(super) fn refused(target: &Arc<Target>, attempts: Vec<Attempt>) -> Self {
        let target = target.clone();
        // What another host says, the token service, is about the login and not about the content.
        let any = |code: StatusCode| {
            attempts.iter().any(|attempt| {
                matches!(&attempt.answer, Answer::Status { status, from: None, .. } if *status == code)
            })
        };
        if any(StatusCode::NOT_FOUND) {
            Self::NotFound { target, attempts }
        } else if any(StatusCode::FORBIDDEN) {
            Self::Forbidden { target, attempts }
        } else {
            Self::Unauthorized { target, attempts }
        }
    }
}

/// Why no [`super::Registry`] could be made.
#[derive(Debug, thiserror::Error)]
pub enum RegistrySetupError {
    /// A CA file cannot be read.
    #[error("cannot read the CA file {path:?}")]
    ReadCa {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A CA file holds no certificate, or a broken one.
    #[error("the CA file {0:?} does not hold PEM certificates")]
    ParseCa(PathBuf),
    /// A certificate of a CA file is PEM, and cannot be an authority's.
    #[error("the certificates of the CA files cannot be used")]
    Client {
        /// Why.
        source: Cause,
    },
}
