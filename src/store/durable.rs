//! What survives a power cut.
//!
//! A tree is committed without waiting for the disk, because a pod waits for it. It is marked
//! `durable` after a flush. A tree without the mark is whole as long as the boot lasts in which
//! it was written; after that, names may be there without their bytes, so it is dropped.

use std::fs::File;

use serde::{Deserialize, Serialize};

use super::atomic::{self, Durability};
use super::error::{FlushError, OpenError};
use super::trees::{Shared, TreeInfo};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const VERSION: u32 = 1;

/// A tree's description on disk.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Description<T> {
    version: u32,
    boot_id: String,
    durable: bool,
    pub(super) tree: T,
}

impl<T> Description<T> {
    pub(super) fn new(boot_id: &str, durable: bool, tree: T) -> Self {
        Self { version: VERSION, boot_id: boot_id.into(), durable, tree }
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

/// Writes a tree's description.
pub(super) fn describe(
    shared: &Shared,
    info: &TreeInfo,
    durable: bool,
) -> Result<(), super::FileError> {
    let description = Description::new(&shared.boot_id, durable, info);
    // The mark must not be on disk before what it vouches for: its own bytes included.
    let durability = if durable { Durability::Full } else { Durability::Cached };
    atomic::write_json(
        &shared.layout.trees,
        &format!("{}.json", info.key),
        &description,
        durability,
    )
}

/// Brings a tree to the disk and marks it.
pub(super) fn flush(shared: &Shared, key: &str) -> Result<(), FlushError> {
    let tree = shared.index.quietly(key).ok_or_else(|| FlushError::Unknown(key.into()))?;
    if tree.is_durable() {
        return Ok(());
    }
    let sync = File::open(tree.path()).and_then(|dir| Ok(rustix::fs::syncfs(&dir)?));
    sync.map_err(|source| FlushError::Sync { path: tree.path().into(), source })?;
    describe(shared, &tree.info, true)?;
    tree.note_use();
    tree.set_durable();
    Ok(())
}
