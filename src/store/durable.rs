//! What survives a power cut.
//!
//! A tree is committed without waiting for the disk, because a pod waits for it. It is marked
//! `durable` after a flush. A tree without the mark is whole as long as the boot lasts in which
//! it was written; after that, names may be there without their bytes, so it is dropped.

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::{Arc, PoisonError};

use serde::{Deserialize, Serialize};

use super::atomic::{self, Durability};
use super::error::{FileError, FlushError, OpenError};
use super::sums;
use super::trees::{Shared, StoredTree, TreeInfo, Unwritten};
use crate::reference::Digest;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const VERSION: u32 = 1;

/// A tree's description on disk.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Description<T> {
    version: u32,
    boot_id: String,
    durable: bool,
    /// The digest of the list of digests ([`super::sums`]). Trees of older versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sums: Option<Digest>,
    pub(super) tree: T,
}

impl<T> Description<T> {
    /// A tree that has not come to the disk yet.
    fn new(boot_id: &str, tree: T) -> Self {
        Self { version: VERSION, boot_id: boot_id.into(), durable: false, sums: None, tree }
    }

    pub(super) fn is_known(&self) -> bool {
        self.version == VERSION
    }

    pub(super) fn is_durable(&self) -> bool {
        self.durable
    }

    /// Whether all its bytes can be counted on.
    pub(super) fn is_whole(&self, boot_id: &str) -> bool {
        self.durable || self.boot_id == boot_id
    }
}

/// The kernel's name for this boot.
pub(super) fn boot_id() -> Result<String, OpenError> {
    std::fs::read_to_string(BOOT_ID)
        .map(|text| text.trim().to_owned())
        .map_err(|source| OpenError::BootId { path: BOOT_ID.into(), source })
}

/// Describes a tree that was just made, without waiting for the disk.
pub(super) fn describe(shared: &Shared, info: &TreeInfo) -> Result<(), FileError> {
    write(shared, &Description::new(&shared.boot_id, info), Durability::Cached)
}

fn write(
    shared: &Shared,
    description: &Description<&TreeInfo>,
    durability: Durability,
) -> Result<(), FileError> {
    let name = format!("{}.json", description.tree.key);
    atomic::write_json(&shared.layout.trees, &name, description, durability)
}

/// Brings trees to the disk, with the lists of what their files are now, and marks them. What
/// failed, of which tree.
pub(super) fn flush(shared: &Shared, keys: &[String]) -> Vec<(String, FlushError)> {
    // One after the other: a list is held in memory.
    let _turn = shared.flush.lock().unwrap_or_else(PoisonError::into_inner);
    let (mut listed, mut failed) = (Vec::new(), Vec::new());
    for key in keys {
        match list(shared, key) {
            Ok(found) => listed.extend(found),
            Err(error) => failed.push((key.clone(), error)),
        }
    }
    if listed.is_empty() {
        return failed;
    }
    // All of them at once: it waits for everything that anybody wrote to the file system.
    let synced = rustix::fs::syncfs(&shared.trees_fd);
    if let Err(errno) = synced {
        // Whatever is committed before this is among the trees that are not flushed, and nothing
        // that was begun before is committed after it.
        let _guard = shared.commit.lock().unwrap_or_else(PoisonError::into_inner);
        let mut unwritten = shared.unwritten.lock().unwrap_or_else(PoisonError::into_inner);
        *unwritten = Unwritten { times: unwritten.times + 1, errno };
    }
    for (tree, sums) in listed {
        let path = || tree.path().into();
        let marked = synced
            .map_err(|errno| FlushError::Sync { path: path(), source: errno.into() })
            .and_then(|()| mark(shared, &tree, sums));
        if let Err(error) = marked {
            failed.push((tree.info.key.clone(), error));
        }
    }
    failed
}

/// What is to be brought to the disk: a tree, and the digest of its list if it is not too long.
type Listed = (Arc<StoredTree>, Option<Digest>);

/// Writes the list of a tree's files; nothing for a tree that is on the disk.
fn list(shared: &Shared, key: &str) -> Result<Option<Listed>, FlushError> {
    let tree = shared.index.quietly(key).ok_or_else(|| FlushError::Unknown(key.into()))?;
    if tree.is_durable() {
        return Ok(None);
    }
    let path = tree.path();
    let failed = |source| FlushError::List { path: path.into(), source };
    let list = sums::list(File::open(path).map_err(failed)?.as_fd()).map_err(failed)?;
    let Some(list) = list else { return Ok(Some((tree, None))) };
    let name = sums::file_name(key);
    atomic::write(&shared.layout.trees, &name, list.as_bytes(), Durability::Cached)?;
    Ok(Some((tree, Some(Digest::sha256(list.as_bytes())))))
}

/// The mark must not be on disk before what it vouches for: its own bytes included.
fn mark(shared: &Shared, tree: &Arc<StoredTree>, sums: Option<Digest>) -> Result<(), FlushError> {
    let key = &tree.info.key;
    if !shared.index.quietly(key).is_some_and(|found| Arc::ptr_eq(&found, tree)) {
        return Err(FlushError::Unknown(key.clone()));
    }
    let durable = true;
    let description =
        Description { durable, sums, ..Description::new(&shared.boot_id, &tree.info) };
    write(shared, &description, Durability::Full)?;
    tree.note_use();
    tree.set_durable();
    Ok(())
}
