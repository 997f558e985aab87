//! Stored trees are read again from time to time: a disk may lose or change what was written to it,
//! and so may whoever is root on the node.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::setpriority_process;
use rustix::thread::gettid;
use tokio::sync::oneshot;

use super::Puller;
use crate::observability::chain;
use crate::store::{StoredTree, Verdict, VerifyError};

/// How much is read in a second, in bytes: pods on the node read from the same disk.
const RATE: u64 = 32 << 20;

/// How far a round may fall behind and then catch up.
const MAX_LAG: Duration = Duration::from_secs(1);

/// The least of all priorities (`nice(1)`).
const NICE: i32 = 19;

/// How many findings about one tree go to the log.
const MAX_LOGGED: usize = 10;

impl Puller {
    /// Verifies all stored trees every `interval`, beginning after the first, until `stop`. A
    /// damaged one leaves the store. Never, without an interval.
    pub async fn scrub_regularly(
        self: Arc<Self>,
        interval: Option<Duration>,
        stop: impl Future<Output = ()>,
    ) {
        let mut stop = std::pin::pin!(stop);
        let Some(interval) = interval else { return stop.await };
        loop {
            tokio::select! {
                () = &mut stop => return,
                () = tokio::time::sleep(interval) => {}
            }
            // Dropped, it ends the round.
            let (_running, stopped) = channel();
            let (done, mut round) = oneshot::channel();
            let puller = self.clone();
            // A thread of its own: its priority cannot be raised again.
            let thread = std::thread::Builder::new().name("scrub".into());
            let started = thread.spawn(move || {
                if let Err(error) = be_nice() {
                    tracing::debug!(%error, "trees are verified with the usual priority");
                }
                puller.scrub(&stopped);
                done.send(()).ok();
            });
            if let Err(error) = started {
                tracing::warn!(%error, "cannot verify the stored trees");
                continue;
            }
            tokio::select! {
                () = &mut stop => return,
                _ = &mut round => {}
            }
        }
    }

    /// One round over all trees, as slow as [`RATE`] wants it. It ends when the other end of
    /// `stopped` is dropped.
    fn scrub(&self, stopped: &Receiver<()>) {
        let (mut whole, mut damaged, mut unlisted) = (0_u64, 0_u64, 0_u64);
        let (mut start, mut read) = (Instant::now(), 0_u64);
        let mut pace = |count: usize| {
            read = read.saturating_add(count as u64);
            let due = Duration::from_secs_f64(read as f64 / RATE as f64);
            // What a slow disk has lost is not made up for.
            if start.elapsed() > due + MAX_LAG {
                (start, read) = (Instant::now(), 0);
            }
            match stopped.recv_timeout(due.saturating_sub(start.elapsed())) {
                Err(RecvTimeoutError::Timeout) => Ok(()),
                _ => Err(io::ErrorKind::Interrupted.into()),
            }
        };
        let mut keys: Vec<_> = self.store.trees().into_iter().map(|tree| tree.key).collect();
        keys.sort();
        for key in keys {
            // Held, it stays the tree that is judged.
            let Some(tree) = self.store.hold(&key) else { continue };
            match self.store.verify(&key, &mut pace) {
                Ok(Verdict::Whole) => whole += 1,
                Ok(Verdict::Unlisted) => unlisted += 1,
                Ok(Verdict::Gone) => {}
                Ok(Verdict::Damaged(damages)) => {
                    damaged += 1;
                    self.condemn(tree, damages.iter().map(ToString::to_string).collect());
                }
                Err(VerifyError::Stopped) => return,
                Err(error) => {
                    tracing::warn!(tree = key, error = chain(&error), "cannot verify a tree");
                }
            }
        }
        tracing::info!(whole, damaged, unlisted, "verified the stored trees");
    }

    /// Takes a tree out of the store whose files are not what they were, or may not be.
    pub(super) fn condemn(&self, tree: Arc<StoredTree>, mut damages: Vec<String>) {
        self.config.metrics.tree_damaged();
        damages.truncate(MAX_LOGGED);
        let (key, damages) = (tree.info.key.clone(), damages.join(", "));
        match self.store.condemn(tree) {
            Ok(Some(false)) => tracing::warn!(tree = key, damages, "removed a damaged tree"),
            Ok(_) => tracing::error!(
                tree = key,
                damages,
                "files of a tree are damaged and volumes show them; new pods get it anew"
            ),
            Err(error) => tracing::error!(
                tree = key,
                damages,
                error = chain(&error),
                "files of a tree are damaged and it cannot be removed"
            ),
        }
    }
}

/// Gives way to all else. On Linux a priority is a thread's.
fn be_nice() -> io::Result<()> {
    Ok(setpriority_process(Some(gettid()), NICE)?)
}
