//! Why a layer cannot be unpacked.

use std::io;

use crate::artifact::path::{PathError, TreePath};
use crate::reference::Digest;

use super::limits::Exceeded;

/// A layer that cannot be unpacked. The unpacker it came from is of no further use.
#[derive(Debug, thiserror::Error)]
#[error("cannot unpack layer {}", .layer.short())]
pub struct UnpackError {
    /// The layer's digest as the manifest gives it.
    pub layer: Digest,
    /// What is wrong.
    #[source]
    pub problem: Problem,
}

impl UnpackError {
    /// Whether a limit was exceeded: nothing is wrong with the bytes, and a flag may help.
    pub fn is_limit(&self) -> bool {
        matches!(self.problem, Problem::Limit(_) | Problem::ZstdWindow { .. })
    }

    /// Whether the bytes could not be read: nothing is known about them, and a retry may help.
    pub fn is_read(&self) -> bool {
        matches!(self.problem, Problem::Read { .. })
    }
}

/// What is wrong with a layer. Names are shown escaped: they may hold anything.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The source of the bytes failed.
    #[error("reading its bytes failed")]
    Read {
        /// The source's error, as it came.
        source: io::Error,
    },
    /// The bytes are not those that the manifest names.
    #[error("its bytes have digest {actual}, the manifest says {expected}")]
    DigestMismatch {
        /// What the manifest says.
        expected: Digest,
        /// What arrived.
        actual: Digest,
    },
    /// More bytes than the manifest says.
    #[error("it has more than the {size} bytes that the manifest says")]
    TooLong {
        /// The descriptor's size.
        size: u64,
    },
    /// Fewer bytes than the manifest says.
    #[error("it ends after {got} of the {size} bytes that the manifest says")]
    TooShort {
        /// The descriptor's size.
        size: u64,
        /// How many arrived.
        got: u64,
    },
    /// The decompressed bytes are not those that an annotation or a config names.
    #[error("its decompressed bytes have digest {actual}, {claim} says {expected}")]
    ContentDigest {
        /// Who says so.
        claim: &'static str,
        /// What it says.
        expected: Digest,
        /// What was decompressed.
        actual: Digest,
    },
    /// A limit.
    #[error("{0}")]
    Limit(Exceeded),
    /// A compression that is not supported.
    #[error("it is compressed with {0}; only gzip and zstd are supported")]
    Compression(&'static str),
    /// Compressed data are damaged, cut off, or followed by something else.
    #[error("its {format} data are damaged or followed by other data")]
    Decompress {
        /// `gzip` or `zstd`.
        format: &'static str,
        /// The decoder's error.
        source: io::Error,
    },
    /// zstd data that need too much memory.
    #[error(
        "its zstd data need a window of more than 2^{log} bytes (--max-zstd-window-log raises this \
             limit)"
    )]
    ZstdWindow {
        /// The largest window, as a power of two.
        log: u32,
    },
    /// Not a tar archive, or a broken one.
    #[error("its tar archive is invalid at byte {offset}: {reason}")]
    Tar {
        /// Where, in decompressed bytes.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
    /// The archive ends inside an entry.
    #[error("its tar archive is cut off inside the entry at byte {offset}")]
    Truncated {
        /// Where, in decompressed bytes.
        offset: u64,
    },
    /// Too much behind the archive's end marker.
    #[error("more than {0} bytes that are not padding follow the end of its tar archive")]
    Trailing(u64),
    /// A name that cannot be a path.
    #[error("a tar entry's name cannot be used")]
    Name {
        /// Why.
        source: PathError,
    },
    /// An entry of a type that a skill has no use for.
    #[error("{path:?} is a {kind}; only files, directories and links are unpacked")]
    Type {
        /// The entry's name.
        path: String,
        /// Its type.
        kind: String,
    },
    /// The archive's root is something else than a directory.
    #[error("{name:?} names the root of the tree, but is not a directory")]
    Root {
        /// The entry's name.
        name: String,
    },
    /// A path that an ORAS directory layer must not have.
    #[error("{path:?} is outside of {title:?}, the directory that the layer's title names")]
    OutsideTitle {
        /// The entry or the hard link's target.
        path: TreePath,
        /// The layer's title.
        title: TreePath,
    },
    /// One path, two contents.
    #[error("{path:?} occurs twice with different contents")]
    Duplicate {
        /// The path.
        path: TreePath,
    },
    /// One path, two types.
    #[error("{path:?} is a {old} and a {new}")]
    Conflict {
        /// The path.
        path: TreePath,
        /// What it was first.
        old: &'static str,
        /// What it should become.
        new: &'static str,
    },
    /// A path that leads through a symbolic link.
    #[error("{path:?} leads through {link:?}, which is a symbolic link")]
    ThroughSymlink {
        /// The entry.
        path: TreePath,
        /// The link.
        link: TreePath,
    },
    /// A symbolic link whose target is not even a text.
    #[error("symbolic link {path:?} has a target that {reason}")]
    SymlinkTarget {
        /// The link.
        path: TreePath,
        /// What is wrong.
        reason: &'static str,
    },
    /// A hard link to something else than an earlier file.
    #[error("hard link {path:?} leads to {target:?}, which {reason}")]
    HardLink {
        /// The link.
        path: TreePath,
        /// Its target as the archive says it.
        target: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A whiteout that means nothing, or something ambiguous.
    #[error("whiteout {path:?} {reason}")]
    Whiteout {
        /// The entry.
        path: TreePath,
        /// What is wrong.
        reason: &'static str,
    },
    /// A layer of unknown type that holds no skill.
    #[error("it is neither a tar archive nor a SKILL.md: {0}")]
    Unknown(String),
    /// A layer with an empty title.
    #[error("it is to be one file, but its title names none")]
    NoTitle,
    /// The tree could not be written.
    #[error("cannot write {path:?}")]
    Sink {
        /// What was to be made, compared or removed.
        path: TreePath,
        /// The sink's error.
        source: io::Error,
    },
}

impl Problem {
    /// Whether the bytes that were read are to blame, so that their digest is worth knowing.
    /// A limit is not: nobody downloads a bomb to its end to see who made it.
    pub(super) fn blames_bytes(&self) -> bool {
        !matches!(
            self,
            Self::Read { .. }
                | Self::Sink { .. }
                | Self::Limit(_)
                | Self::ZstdWindow { .. }
                | Self::TooLong { .. }
                | Self::TooShort { .. }
                | Self::DigestMismatch { .. }
        )
    }

    /// Packs a problem so that it passes through readers and sinks, which know only io errors.
    pub(super) fn into_io(self) -> io::Error {
        io::Error::other(self)
    }

    /// What a sink's error is: a problem of the stream it read from, else its own.
    pub(super) fn from_sink(error: io::Error, path: &TreePath) -> Self {
        error.downcast().unwrap_or_else(|source| Self::Sink { path: path.clone(), source })
    }
}
