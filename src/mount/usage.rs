//! How full a file system is.

use std::io;
use std::path::Path;

/// Bytes and inodes of the file system at a path. For a seal that is the one of its uppermost
/// lower directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Size, in bytes.
    pub total_bytes: u64,
    /// In use, in bytes.
    pub used_bytes: u64,
    /// Free for users other than root, in bytes.
    pub available_bytes: u64,
    /// Inodes there are; 0 where the file system makes them as it needs.
    pub total_inodes: u64,
    /// Inodes in use.
    pub used_inodes: u64,
    /// Inodes free for users other than root.
    pub available_inodes: u64,
}

/// Asks statvfs(3).
pub fn usage(path: &Path) -> io::Result<Usage> {
    let found = rustix::fs::statvfs(path)?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Ok(Usage {
        total_bytes: bytes(found.f_blocks),
        used_bytes: bytes(found.f_blocks.saturating_sub(found.f_bfree)),
        available_bytes: bytes(found.f_bavail),
        total_inodes: found.f_files,
        used_inodes: found.f_files.saturating_sub(found.f_ffree),
        available_inodes: found.f_favail,
    })
}
