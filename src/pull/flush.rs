//! Bringing trees to the disk, when no pod waits for it any more.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Puller;
use crate::observability::{chain, task};
use crate::store::FlushError;
use crate::sys::memory;

/// How long a tree waits for others, which are brought to the disk with it: for each the disk would
/// write everything that anybody has written. And for its volume, whose mount is made meanwhile.
const TOGETHER: Duration = Duration::from_millis(100);

/// The keys of trees that wait.
#[derive(Debug, Default)]
pub(super) struct Unflushed {
    waiting: Mutex<BTreeSet<String>>,
    /// Held while some are brought to the disk, until it is known that none of them was lost: the
    /// kernel tells that once, and the next ones would pass.
    turn: tokio::sync::Mutex<()>,
}

impl Unflushed {
    /// Whether it is the first to wait.
    fn add(&self, keys: impl IntoIterator<Item = String>) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = waiting.is_empty();
        waiting.extend(keys);
        is_first && !waiting.is_empty()
    }

    fn take(&self) -> Vec<String> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *waiting).into_iter().collect()
    }
}

impl Puller {
    /// Brings to the disk what an earlier run of the driver left in memory, and what could not be
    /// brought there before.
    pub(super) fn flush_leftovers(self: &Arc<Self>) {
        self.flush(self.store.unflushed());
    }

    /// Soon brings trees to the disk.
    pub(super) fn flush(self: &Arc<Self>, keys: impl IntoIterator<Item = String>) {
        if !self.unflushed.add(keys) {
            return;
        }
        let puller = self.clone();
        task::spawn(async move {
            tokio::time::sleep(TOGETHER).await;
            let _turn = puller.unflushed.turn.lock().await;
            let (keys, puller) = (puller.unflushed.take(), puller.clone());
            if let Err(error) = task::spawn_blocking(move || puller.flush_now(&keys)).await {
                tracing::error!(%error, "flushing trees ended unexpectedly");
            }
            // A node pulls seldom, and what a pull needed is nothing to keep until then.
            memory::release();
        });
    }

    fn flush_now(&self, keys: &[String]) {
        let mut lost = false;
        for (tree, error) in self.store.flush(keys) {
            let text = chain(&error);
            match error {
                // It has been collected already.
                FlushError::Unknown(_) => continue,
                FlushError::Sync { .. } => lost = true,
                FlushError::List { .. } | FlushError::Mark(_) => {}
            }
            tracing::warn!(
                tree,
                error = text,
                "cannot flush a tree; it is tried again, and after a power cut pulled"
            );
        }
        if lost {
            let unsure = self.store.unflushed();
            for tree in unsure.iter().filter_map(|key| self.store.hold(key)) {
                self.condemn(tree, vec!["the disk could not take all that was written".into()]);
            }
        }
    }
}
