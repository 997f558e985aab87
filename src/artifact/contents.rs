//! How the pure part reads a file of an unpacked tree.

use super::path::TreePath;

/// The contents of a tree's regular files.
pub trait Contents {
    /// At most the first `max` bytes of the regular file at `path`. Follows no link.
    fn read(&mut self, path: &TreePath, max: u64) -> std::io::Result<Vec<u8>>;
}
