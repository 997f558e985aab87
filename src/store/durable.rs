//! What survives a power cut.
//!
//! A tree is committed without waiting for the disk, because a pod waits for it. It is marked
//! `durable` after a flush. A tree without the mark is whole as long as the boot lasts in which
//! it was written; after that, names may be there without their bytes, so it is dropped.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::PoisonError;

use serde::{Deserialize, Serialize};

use super::atomic::{self, Durability};
use super::error::{FileError, FlushError, OpenError};
use super::sums;
use super::trees::{Shared, TreeInfo};
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

/// Brings a tree to the disk, with the list of what its files are now, and marks it.
pub(super) fn flush(shared: &Shared, key: &str) -> Result<(), FlushError> {
    let tree = shared.index.quietly(key).ok_or_else(|| FlushError::Unknown(key.into()))?;
    if tree.is_durable() {
        return Ok(());
    }
    // One after the other: a list is held in memory.
    let _turn = shared.flush.lock().unwrap_or_else(PoisonError::into_inner);
    let path = tree.path();
    let dir = File::open(path).map_err(|source| FlushError::Sync { path: path.into(), source })?;
    let sums = list(shared, key, &dir, path)?;
    rustix::fs::syncfs(&dir)
        .map_err(|errno| FlushError::Sync { path: path.into(), source: errno.into() })?;
    // The mark must not be on disk before what it vouches for: its own bytes included.
    let durable = true;
    let description =
        Description { durable, sums, ..Description::new(&shared.boot_id, &tree.info) };
    write(shared, &description, Durability::Full)?;
    tree.note_use();
    tree.set_durable();
    Ok(())
}

/// Writes the list of a tree's files. Its digest; none if it is too long.
fn list(shared: &Shared, key: &str, dir: &File, path: &Path) -> Result<Option<Digest>, FlushError> {
    let list =
        sums::list(dir.as_fd()).map_err(|source| FlushError::List { path: path.into(), source })?;
    let Some(list) = list else { return Ok(None) };
    let name = sums::file_name(key);
    atomic::write(&shared.layout.trees, &name, list.as_bytes(), Durability::Cached)?;
    Ok(Some(Digest::sha256(list.as_bytes())))
}
