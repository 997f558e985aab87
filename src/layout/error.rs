//! Why a layout, or something in it, cannot be read.

use std::io;
use std::path::PathBuf;

use crate::reference::Digest;

/// A failed step of reading an OCI image layout.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The path cannot be opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The path is something else.
    #[error("{} is no OCI image layout: {reason}", path.display())]
    NoLayout {
        /// The path.
        path: PathBuf,
        /// What is missing or wrong.
        reason: String,
    },
    /// The archive cannot be read as a tar.
    #[error("{} is no tar of an OCI image layout: {reason}", path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// `index.json` is not an index.
    #[error("the index.json of {} cannot be read", path.display())]
    Index {
        /// The layout.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// None or several manifests fit.
    #[error("{} has {count} manifests{wanted}, not one (it has: {found})", path.display())]
    Choice {
        /// The layout.
        path: PathBuf,
        /// What was asked for, or nothing.
        wanted: String,
        /// How many fit.
        count: usize,
        /// What there is.
        found: String,
    },
    /// There is no such blob.
    #[error("the layout has no blob {digest}")]
    NoBlob {
        /// The blob.
        digest: Digest,
    },
    /// A blob's file is a link, a directory or a device.
    #[error("{name} of the layout is not a regular file")]
    NoFile {
        /// The file's name in the layout.
        name: String,
    },
    /// A file is longer than anything of its kind may be.
    #[error("{name} of the layout has more than {cap} bytes")]
    TooLarge {
        /// The file.
        name: String,
        /// The limit.
        cap: u64,
    },
    /// A blob's file has another length than its descriptor says.
    #[error("blob {digest} of the layout has {actual} bytes; its descriptor says {size}")]
    Size {
        /// The blob.
        digest: Digest,
        /// The file's length.
        actual: u64,
        /// The descriptor's size.
        size: u64,
    },
    /// A document's bytes have another digest than its name says.
    #[error("blob {digest} of the layout has bytes of another digest")]
    Digest {
        /// What its name says.
        digest: Digest,
    },
    /// Reading failed.
    #[error("reading the layout")]
    Read(#[source] io::Error),
    /// A defect of ours.
    #[error("reading the layout ended unexpectedly: {0}")]
    Panicked(String),
}
