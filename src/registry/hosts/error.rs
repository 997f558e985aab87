//! Why a node's configuration of registry hosts cannot be followed.

use std::io;
use std::path::PathBuf;

/// What is wrong with the node's configuration of registry hosts. It never shows a value of the
/// file: a header may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum HostsError {
    /// A file or a directory cannot be read.
    #[error("cannot read {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is longer than any such file.
    #[error("{path:?} has more than {limit} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit, in bytes.
        limit: u64,
    },
    /// A file is not TOML, or says something that cannot be.
    #[error("{path:?}, line {line}: {problem}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// A file that should hold certificates or a key does not.
    #[error("{path:?} {problem}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The administrator blocks the registry, or a part of it.
    #[error("{prefix} is blocked in {path:?}")]
    Blocked {
        /// The prefix in the file.
        prefix: String,
        /// The file.
        path: PathBuf,
    },
    /// No host may be asked for this.
    #[error("{path:?} has no host that may be asked for {what} (capabilities)")]
    NoHost {
        /// The file.
        path: PathBuf,
        /// What was asked for.
        what: &'static str,
    },
    /// Reading the configuration ended in a panic, which is a defect of ours.
    #[error("reading the configuration of registry hosts ended unexpectedly: {0}")]
    Panicked(String),
}
