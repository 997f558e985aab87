//! Where unpacked files go.

use std::io::{self, BufRead, Read};

use crate::artifact::contents::Contents;
use crate::artifact::path::TreePath;
use crate::artifact::tree::Node;

/// Takes the files of a tree. The unpacker makes parents before what is in them, never makes a
/// path twice without removing it, and keeps symbolic links to itself.
///
/// A sink must be unable to act outside its root, whatever it is told.
pub trait Sink: Contents + Send {
    /// Makes a directory with mode 0755. Never called for the root.
    fn dir(&mut self, path: &TreePath) -> io::Result<()>;

    /// Makes a file with all of `content`, and mode 0755 if `executable`, else 0644; `mtime` is
    /// in seconds since 1970. Returns its length in bytes.
    fn file(
        &mut self,
        path: &TreePath,
        executable: bool,
        mtime: Option<u64>,
        content: &mut dyn BufRead,
    ) -> io::Result<u64>;

    /// Whether a file has exactly these bytes. May leave some of `content` unread if not.
    fn same(&mut self, path: &TreePath, content: &mut dyn Read) -> io::Result<bool>;

    /// Makes `path` another name of the file `existing`.
    fn link(&mut self, existing: &TreePath, path: &TreePath) -> io::Result<()>;

    /// Removes a file or a directory with all that `node` holds.
    fn remove(&mut self, path: &TreePath, node: &Node) -> io::Result<()>;
}

/// Fills a buffer as far as the source goes.
pub(super) fn read_full(source: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
