//! Reading the files of a tree, wherever they are kept.

use super::path::TreePath;

/// The bytes of a tree's regular files.
pub trait Contents {
    /// The whole of the regular file at `path`. No link is followed. A file of more than `max`
    /// bytes is an error, so that nobody's size claim decides how much memory is taken.
    fn read(&mut self, path: &TreePath, max: u64) -> std::io::Result<Vec<u8>>;
}
