//! How a tree that nobody uses goes. Which ones, and when, is for others to say.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{RenameFlags, fsync, renameat_with, statvfs};
use rustix::io::Errno;

use super::atomic;
use super::error::FileError;
use super::remove::remove_tree;
use super::sums;
use super::trees::Shared;
use crate::observability::chain;

/// The file system below the state directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Its size in bytes.
    pub bytes: u64,
    /// How many of them can still be written.
    pub free_bytes: u64,
    /// How many inodes it can have; 0 where there is no such number.
    pub inodes: u64,
    /// How many of them are left.
    pub free_inodes: u64,
}

/// A tree could not be removed. It is not in the store any more, or wholly there.
#[derive(Debug, thiserror::Error)]
pub enum DiscardError {
    /// Its description could not be removed; it stays as it is.
    #[error(transparent)]
    Describe(#[from] FileError),
    /// Its directory could not be moved away, or the move not be made to last. The next open
    /// removes it.
    #[error("cannot move {} away", path.display())]
    Move {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its files could not all be removed. The next open removes the rest.
    #[error("cannot remove the files of tree {key}")]
    Remove {
        /// The tree's key.
        key: String,
        /// Why.
        source: io::Error,
    },
}

pub(super) fn disk(shared: &Shared) -> io::Result<Disk> {
    let found = statvfs(&shared.layout.root)?;
    Ok(Disk {
        bytes: found.f_blocks.saturating_mul(found.f_frsize),
        free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
        inodes: found.f_files,
        free_inodes: found.f_favail,
    })
}

/// Removes a tree, unless somebody uses it or has since `used_at`. Whether it did.
///
/// A crash after any step leaves what the next open removes: a directory or a list without a
/// description, or something in staging.
pub(super) fn discard(
    shared: &Shared,
    next: &AtomicU64,
    key: &str,
    used_at: u64,
) -> Result<bool, DiscardError> {
    let removal = {
        // A pull that misses the tree from here on makes it anew, under the same name, and
        // commits it after this.
        let _guard = shared.commit.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(tree) = shared.index.take(key, used_at) else { return Ok(false) };
        if let Err(error) = forget(shared, key) {
            shared.index.insert(tree);
            return Err(error.into());
        }
        move_away(shared, next, key)?
    };
    removal.finish(shared, key)?;
    Ok(true)
}

/// Removes what makes a tree's directory a tree.
pub(super) fn forget(shared: &Shared, key: &str) -> Result<(), FileError> {
    atomic::remove(&shared.layout.trees.join(format!("{key}.json")))?;
    // Without the description it means nothing.
    let list = shared.layout.trees.join(sums::file_name(key));
    if let Err(error) = atomic::remove(&list) {
        tracing::debug!(tree = key, error = chain(&error), "a list of digests stays behind");
    }
    Ok(())
}

/// A tree's directory in staging, to be removed.
pub(super) struct Removal {
    name: String,
}

/// Moves the directory of a tree that is forgotten into staging.
pub(super) fn move_away(
    shared: &Shared,
    next: &AtomicU64,
    key: &str,
) -> Result<Removal, DiscardError> {
    loop {
        let name = next.fetch_add(1, Ordering::Relaxed).to_string();
        let (trees, staging) = (&shared.trees_fd, &shared.staging_fd);
        match renameat_with(trees, key, staging, &name, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(Removal { name }),
            // Left by an earlier run and not removable then.
            Err(Errno::EXIST) => {}
            Err(errno) => {
                let path = shared.layout.trees.join(key);
                return Err(DiscardError::Move { path, source: errno.into() });
            }
        }
    }
}

impl Removal {
    /// Removes the files, once nothing on the disk says any more that they are a tree.
    pub(super) fn finish(self, shared: &Shared, key: &str) -> Result<(), DiscardError> {
        fsync(&shared.trees_fd).map_err(|errno| DiscardError::Move {
            path: shared.layout.trees.join(key),
            source: errno.into(),
        })?;
        remove_tree(shared.staging_fd.as_fd(), OsStr::new(&self.name))
            .map_err(|source| DiscardError::Remove { key: key.into(), source })
    }
}
