//! What an artifact may cost, and how it is told that one costs more.

use std::fmt;

/// Limits of one artifact. Each has a flag; see [`Limit::flag`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Layers.
    pub layers: u32,
    /// Archive entries of any type, and directories that are made without an entry, in all layers.
    pub entries: u32,
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Bytes of all files in all layers, whether or not an upper layer hides them.
    pub total_bytes: u64,
    /// Decompressed bytes for each compressed byte of a layer, looked at once more than
    /// [`RATIO_FLOOR`] came out.
    pub ratio: u32,
    /// Components of a path.
    pub depth: u32,
    /// Bytes of a SKILL.md that is a layer of its own, or that [`super::MemorySink`] keeps.
    pub skill_md_bytes: u64,
    /// The largest zstd window, as a power of two. A decoder takes that much memory. 8 MiB is what
    /// RFC 8878 (section 3.1.1.1.2) wants of every decoder, and what level 19 of `zstd` uses.
    pub zstd_window_log: u32,
}

/// Bytes that may come out of a layer before its ratio matters: small texts compress well.
pub const RATIO_FLOOR: u64 = 1 << 20;

/// What an archive may hold besides the files that are counted: padding behind its end marker,
/// headers of long names, content of entries that are ignored.
pub(super) const OVERHEAD: u64 = 64 << 20;

/// Header and padding of an archive's entry.
const ENTRY_OVERHEAD: u64 = 1 << 10;

impl Default for Limits {
    fn default() -> Self {
        Self {
            layers: 64,
            entries: 10_000,
            file_bytes: 100 << 20,
            total_bytes: 512 << 20,
            ratio: 200,
            depth: 32,
            skill_md_bytes: 1 << 20,
            zstd_window_log: 23,
        }
    }
}

impl Limits {
    /// How many bytes all layers together may decompress to: the files' bytes, 1 KiB for each
    /// entry and 64 MiB. It bounds the work where nothing is written, as in endless padding.
    pub fn stream_bytes(&self) -> u64 {
        let entries = u64::from(self.entries).saturating_mul(ENTRY_OVERHEAD);
        self.total_bytes.saturating_add(entries).saturating_add(OVERHEAD)
    }
}

/// One of the limits that can be raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// [`Limits::layers`].
    Layers,
    /// [`Limits::entries`].
    Entries,
    /// [`Limits::file_bytes`].
    FileBytes,
    /// [`Limits::total_bytes`].
    TotalBytes,
    /// [`Limits::stream_bytes`], which follows [`Limits::total_bytes`].
    StreamBytes,
    /// [`Limits::ratio`].
    Ratio,
    /// [`Limits::depth`].
    Depth,
}

impl Limit {
    /// The flag that raises the limit.
    pub fn flag(self) -> &'static str {
        match self {
            Self::Layers => "--max-layers",
            Self::Entries => "--max-entries",
            Self::FileBytes => "--max-file-bytes",
            Self::TotalBytes | Self::StreamBytes => "--max-unpacked-bytes",
            Self::Ratio => "--max-ratio",
            Self::Depth => "--max-depth",
        }
    }

    fn what(self) -> (&'static str, &'static str) {
        match self {
            Self::Layers => ("the artifact has more than", "layers"),
            Self::Entries => ("the artifact has more than", "files, directories and links"),
            Self::FileBytes => ("a file has more than", "bytes"),
            Self::TotalBytes => ("the artifact's files have more than", "bytes"),
            Self::StreamBytes => ("the artifact decompresses to more than", "bytes"),
            Self::Ratio => ("the layer decompresses to more than", "times its size"),
            Self::Depth => ("a path has more than", "components"),
        }
    }
}

/// A limit that was exceeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exceeded {
    /// Which one.
    pub limit: Limit,
    /// Its value.
    pub value: u64,
    /// The path or name at which it happened, where there is one.
    pub at: Option<String>,
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, after) = self.limit.what();
        write!(f, "{before} {} {after}", self.value)?;
        if let Some(at) = &self.at {
            write!(f, ", at {at:?}")?;
        }
        write!(f, " ({} raises this limit)", self.limit.flag())
    }
}
