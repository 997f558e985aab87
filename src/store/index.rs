//! Which trees there are, and who uses them.
//!
//! A tree is used by whoever holds its `Arc`, by every volume whose record names it, and by a
//! mount that was found without a record. It leaves the index only when none of these is so, and
//! no use can be missed:
//!
//! * A first `Arc` is cloned from the index's under the read lock; any other is cloned from one
//!   that somebody holds. So a count of one, seen under the write lock, stays one.
//! * A publish holds the `Arc`s of its trees until its record is written, and a record is named
//!   here before it is written. So whoever sees that `Arc` gone sees the name.
//! * An unpublish unmounts before it removes the record, and the name goes after the record.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::records::Record;
use super::trees::StoredTree;
use crate::reference::Digest;

/// A tree and its use, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeUse {
    /// The content key.
    pub key: String,
    /// How much it has.
    pub totals: super::Totals,
    /// When it was used last, in nanoseconds since 1970.
    pub used_at: u64,
    /// Whether anybody uses it now.
    pub in_use: bool,
}

#[derive(Debug, Default)]
struct Inner {
    trees: HashMap<String, Arc<StoredTree>>,
    /// The trees that each volume's record names, or is about to name.
    volumes: HashMap<String, BTreeSet<String>>,
    /// The trees that are mounted by what no record tells of.
    pinned: BTreeSet<String>,
    /// The volumes that show a tree whose files were found damaged, and its key.
    damaged: HashMap<String, String>,
    /// What was put aside for them, and who still shows it.
    orphans: HashMap<String, BTreeSet<String>>,
}

impl Inner {
    fn is_in_use(&self, tree: &Arc<StoredTree>) -> bool {
        let key = &tree.info.key;
        Arc::strong_count(tree) > 1
            || self.pinned.contains(key)
            || self.volumes.values().any(|trees| trees.contains(key))
    }
}

/// The index of whole trees.
#[derive(Debug, Default)]
pub(super) struct Index(RwLock<Inner>);

impl Index {
    /// A tree, to be used.
    pub(super) fn tree(&self, key: &str) -> Option<Arc<StoredTree>> {
        let inner = self.read();
        let tree = inner.trees.get(key)?;
        tree.touch();
        Some(Arc::clone(tree))
    }

    /// A tree, to be looked after: that is no use of it.
    pub(super) fn quietly(&self, key: &str) -> Option<Arc<StoredTree>> {
        self.read().trees.get(key).cloned()
    }

    pub(super) fn insert(&self, tree: Arc<StoredTree>) {
        self.write().trees.insert(tree.info.key.clone(), tree);
    }

    /// All trees.
    pub(super) fn all(&self) -> Vec<TreeUse> {
        let inner = self.read();
        let of = |tree: &Arc<StoredTree>| TreeUse {
            key: tree.info.key.clone(),
            totals: tree.info.totals,
            used_at: tree.used_at(),
            in_use: inner.is_in_use(tree),
        };
        inner.trees.values().map(of).collect()
    }

    /// The keys of the trees that were made of these layers.
    pub(super) fn made_of(&self, layers: &[&Digest]) -> Vec<String> {
        let inner = self.read();
        let fits = |tree: &&Arc<StoredTree>| tree.info.layers.iter().eq(layers.iter().copied());
        inner.trees.values().filter(fits).map(|tree| tree.info.key.clone()).collect()
    }

    pub(super) fn keys(&self) -> Vec<String> {
        self.read().trees.keys().cloned().collect()
    }

    /// How many trees there are, and the bytes of all their files.
    pub(super) fn size(&self) -> (u64, u64) {
        let inner = self.read();
        let bytes = inner.trees.values().map(|tree| tree.info.totals.bytes).sum();
        (inner.trees.len() as u64, bytes)
    }

    /// The keys of the trees that a power cut would cost, sorted.
    pub(super) fn unflushed(&self) -> Vec<String> {
        let inner = self.read();
        let mut keys: Vec<_> =
            inner.trees.values().filter(|t| !t.is_durable()).map(|t| t.info.key.clone()).collect();
        keys.sort();
        keys
    }

    /// Takes a tree out, if nobody uses it or has since `used_at`.
    pub(super) fn take(&self, key: &str, used_at: u64) -> Option<Arc<StoredTree>> {
        let mut inner = self.write();
        let tree = inner.trees.get(key)?;
        if inner.is_in_use(tree) || tree.used_at() != used_at {
            return None;
        }
        inner.trees.remove(key)
    }

    /// Takes a damaged tree out, of which nobody but the caller has another `Arc` that matters, and
    /// remembers the volumes that show it. Whether it is in use; nothing if it is not in here.
    pub(super) fn condemn(&self, tree: &Arc<StoredTree>) -> Option<bool> {
        let mut inner = self.write();
        let key = &tree.info.key;
        if !Arc::ptr_eq(inner.trees.get(key)?, tree) {
            return None;
        }
        let volumes = inner.volumes.iter().filter(|(_, trees)| trees.contains(key));
        let volumes: Vec<_> = volumes.map(|(volume, _)| (volume.clone(), key.clone())).collect();
        // The index's, and the caller's.
        let in_use = Arc::strong_count(tree) > 2 || inner.pinned.contains(key);
        let in_use = in_use || !volumes.is_empty();
        inner.damaged.extend(volumes);
        inner.trees.remove(key);
        Some(in_use)
    }

    /// A volume's record of before this start.
    pub(super) fn restore(&self, record: &Record) {
        self.names(&record.volume_id, &record.trees);
        if let Some(key) = &record.damaged {
            self.write().damaged.insert(record.volume_id.clone(), key.clone());
        }
    }

    /// The volumes that show the damaged tree `key`.
    pub(super) fn showing(&self, key: &str) -> Vec<String> {
        let inner = self.read();
        let damaged = inner.damaged.iter().filter(|(_, damaged)| *damaged == key);
        damaged.map(|(volume, _)| volume.clone()).collect()
    }

    /// The condemned tree `key` has its files at `name` now.
    pub(super) fn put_aside(&self, key: &str, name: String) {
        let mut inner = self.write();
        let damaged = inner.damaged.iter().filter(|(_, damaged)| *damaged == key);
        let volumes: BTreeSet<_> = damaged.map(|(volume, _)| volume.clone()).collect();
        // Where no volume is known to show it, the next open will know.
        if !volumes.is_empty() {
            inner.orphans.insert(name, volumes);
        }
    }

    /// What nobody shows any more of what was put aside, once the volume `volume_id` is gone.
    pub(super) fn released(&self, volume_id: &str) -> Vec<String> {
        let mut inner = self.write();
        let mut released = Vec::new();
        inner.orphans.retain(|name, volumes| {
            if volumes.remove(volume_id) && volumes.is_empty() {
                released.push(name.clone());
                return false;
            }
            true
        });
        released
    }

    /// The damaged tree that a volume shows.
    pub(super) fn damaged(&self, volume_id: &str) -> Option<String> {
        self.read().damaged.get(volume_id).cloned()
    }

    /// A volume's record is about to name `trees`, besides those that it may name now.
    pub(super) fn will_name(&self, volume_id: &str, trees: &[String]) {
        let mut inner = self.write();
        inner.volumes.entry(volume_id.into()).or_default().extend(trees.iter().cloned());
    }

    /// A volume's record names `trees` and no others; none if there is no record any more.
    pub(super) fn names(&self, volume_id: &str, trees: &[String]) {
        let mut inner = self.write();
        inner.damaged.remove(volume_id);
        let old = match trees {
            [] => inner.volumes.remove(volume_id),
            trees => inner.volumes.insert(volume_id.into(), trees.iter().cloned().collect()),
        };
        // Until now they were in use.
        for tree in old.iter().flatten().filter_map(|key| inner.trees.get(key)) {
            tree.touch();
        }
    }

    /// The trees that a volume's record names.
    pub(super) fn named_by(&self, volume_id: &str) -> Vec<Arc<StoredTree>> {
        let inner = self.read();
        let keys = inner.volumes.get(volume_id).into_iter().flatten();
        keys.filter_map(|key| inner.trees.get(key).cloned()).collect()
    }

    /// Whether a record or a mount names the tree.
    pub(super) fn is_named(&self, key: &str) -> bool {
        let inner = self.read();
        inner.pinned.contains(key) || inner.volumes.values().any(|trees| trees.contains(key))
    }

    pub(super) fn pin(&self, key: &str) {
        self.write().pinned.insert(key.into());
    }

    // The maps stay consistent between statements: a poisoned lock tells of nothing broken.
    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
