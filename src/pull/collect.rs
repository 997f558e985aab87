//! Which trees go, and when: as kubelet's image garbage collection decides it, least recently
//! used first, and never one that is in use.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::progress::HumanBytes;
use super::{NoSpace, PullError, Puller, blocking};
use crate::observability::chain;
use crate::store::{Disk, Store, Totals, TreeUse, nanoseconds};

/// How often the driver looks; kubelet's period.
pub const PERIOD: Duration = Duration::from_secs(300);

/// How long manifests, references and grants stay without being read.
const RETENTION: Duration = Duration::from_secs(30 * 24 * 3600);

/// What an inode takes besides its file's bytes: itself, and the rest of the last block. An
/// estimate, and rather too much: too few trees go then, and the rest the next time.
const INODE_BYTES: u64 = 4096;

/// When trees that nobody uses go. The defaults are kubelet's for images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CollectPolicy {
    /// From how many percent of the file system's bytes or inodes on trees go; 100 for never.
    pub high_threshold: u8,
    /// Down to how many percent.
    pub low_threshold: u8,
    /// How long a tree stays after its last use in any case.
    pub min_age: Duration,
    /// How long a tree stays after its last use at most.
    pub max_age: Option<Duration>,
    /// How many bytes the files of all trees may have, used ones included.
    pub max_bytes: Option<u64>,
}

impl Default for CollectPolicy {
    fn default() -> Self {
        Self {
            high_threshold: 85,
            low_threshold: 80,
            min_age: Duration::from_secs(120),
            max_age: None,
            max_bytes: None,
        }
    }
}

impl CollectPolicy {
    /// What removes every tree that nobody uses.
    pub fn everything() -> Self {
        let none = Duration::ZERO;
        Self { min_age: none, max_age: Some(none), ..Self::default() }
    }
}

/// What asks for a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// The time has come, or somebody wants it.
    Regular,
    /// A pull has met a full disk or a used-up quota.
    FullDisk,
    /// A pull needs so many bytes, and fewer are free.
    Claimed(u64),
}

impl Occasion {
    /// That of a pull's error; none if it is for another reason.
    pub(super) fn of(error: &PullError) -> Option<Self> {
        match error {
            PullError::NoSpace(NoSpace { needs, .. }) => Some(Self::Claimed(*needs)),
            PullError::Member { source, .. } => Self::of(source),
            error => error.is_disk_full().then_some(Self::FullDisk),
        }
    }
}

/// What a collection did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// Trees that were removed.
    pub trees: u64,
    /// The bytes of their files.
    pub bytes: u64,
    /// What could not be removed.
    pub failed: u64,
    /// Manifests, references and grants that were dropped.
    pub files: u64,
}

/// What is to go, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The trees, least recently used first.
    pub trees: Vec<TreeUse>,
    /// What is exceeded; empty if nothing is.
    pub why: Vec<String>,
    /// Whether that is not enough: what else there is, is in use or too young.
    pub short: bool,
}

/// Chooses the trees that go at `now`, in nanoseconds since 1970. Without `disk` its thresholds
/// do not count.
pub fn choose(
    policy: &CollectPolicy,
    occasion: Occasion,
    disk: Option<Disk>,
    mut all: Vec<TreeUse>,
    now: u64,
) -> Choice {
    let mut why = Vec::new();
    let (mut bytes, mut inodes) =
        disk.map_or((0, 0), |disk| excess(policy, occasion, disk, &mut why));
    let budget = policy.max_bytes.unwrap_or(u64::MAX);
    let mut total = all.iter().fold(0_u64, |sum, tree| sum.saturating_add(tree.totals.bytes));
    if total > budget {
        why.push(format!(
            "{} of trees, with a budget of {}",
            HumanBytes(total),
            HumanBytes(budget)
        ));
    }
    all.retain(|tree| !tree.in_use && age(tree, now) >= policy.min_age);
    all.sort_by(|a, b| (a.used_at, &a.key).cmp(&(b.used_at, &b.key)));
    let mut old = 0_u64;
    all.retain(|tree| {
        let is_old = policy.max_age.is_some_and(|max| age(tree, now) >= max);
        let goes = is_old || bytes > 0 || inodes > 0 || total > budget;
        if goes {
            let Totals { bytes: held, inodes: nodes, .. } = tree.totals;
            bytes = bytes.saturating_sub(held.saturating_add(nodes.saturating_mul(INODE_BYTES)));
            inodes = inodes.saturating_sub(nodes);
            total = total.saturating_sub(held);
            old += u64::from(is_old);
        }
        goes
    });
    if matches!(occasion, Occasion::Claimed(_)) && bytes > 0 {
        // A claim costs nothing: for one that does not fit in any case, nothing goes.
        all.clear();
    }
    if old > 0 {
        why.push(format!("unused for too long: {old}"));
    }
    Choice { trees: all, why, short: bytes > 0 || inodes > 0 || total > budget }
}

fn age(tree: &TreeUse, now: u64) -> Duration {
    Duration::from_nanos(now.saturating_sub(tree.used_at))
}

/// How many bytes and inodes are to be freed.
fn excess(
    policy: &CollectPolicy,
    occasion: Occasion,
    disk: Disk,
    why: &mut Vec<String>,
) -> (u64, u64) {
    if let Occasion::Claimed(claimed) = occasion {
        why.push(format!("a pull needs {}", HumanBytes(claimed)));
        // If as much is free by now, one tree goes, or the pull would not be tried again.
        return (claimed.saturating_sub(disk.free_bytes).max(1), 0);
    }
    let mut of = |what: &str, size: u64, free: u64| {
        let part =
            |percent: u8| u128::from(size) * u128::from(100_u8.saturating_sub(percent)) / 100;
        let used = 100 - u128::from(free) * 100 / u128::from(size.max(1));
        let is_high = policy.high_threshold < 100 && used >= u128::from(policy.high_threshold);
        // A file system that counts no inodes has none too few.
        if size == 0 || !(is_high || occasion == Occasion::FullDisk) {
            return 0;
        }
        if is_high {
            why.push(format!("{used}% of {what} used"));
        }
        u64::try_from(part(policy.low_threshold)).unwrap_or(u64::MAX).saturating_sub(free)
    };
    let bytes = of("bytes", disk.bytes, disk.free_bytes);
    let inodes = of("inodes", disk.inodes, disk.free_inodes);
    if occasion == Occasion::FullDisk {
        why.push("the disk is full".into());
        if (bytes, inodes) == (0, 0) {
            // Something has gone since, or it is a quota, of which nothing more is known: the tree
            // that was not used for longest.
            return (1, 1);
        }
    }
    (bytes, inodes)
}

/// What is free of a file system.
fn free(disk: Disk) -> String {
    let bytes = format!("{} of {}", HumanBytes(disk.free_bytes), HumanBytes(disk.bytes));
    match disk.inodes {
        0 => format!("{bytes} are free"),
        inodes => format!("{bytes} and {} of {inodes} inodes are free", disk.free_inodes),
    }
}

/// Removes what the policy wants gone, and tells the log. To be called by one at a time, lest two
/// free the same space twice.
pub fn collect(store: &Store, policy: &CollectPolicy, occasion: Occasion) -> Collected {
    let disk = store.disk().inspect_err(
        |error| tracing::warn!(%error, "cannot tell how full the state directory's disk is"),
    );
    let choice = choose(policy, occasion, disk.ok(), store.trees(), nanoseconds(SystemTime::now()));
    let mut done = Collected::default();
    for tree in &choice.trees {
        match store.discard(&tree.key, tree.used_at) {
            Ok(true) => {
                tracing::debug!(tree = tree.key, bytes = tree.totals.bytes, "removed a tree");
                done.trees += 1;
                done.bytes += tree.totals.bytes;
            }
            Ok(false) => tracing::debug!(tree = tree.key, "a tree is in use again"),
            Err(error) => {
                done.failed += 1;
                tracing::warn!(tree = tree.key, error = chain(&error), "cannot remove a tree");
            }
        }
    }
    if occasion == Occasion::Regular {
        match store.sweep(RETENTION) {
            Ok(files) => done.files = files,
            Err(error) => {
                done.failed += 1;
                tracing::warn!(error = chain(&error), "cannot drop what is remembered and useless");
            }
        }
    }
    let why = choice.why.join(", ");
    if done.trees > 0 || done.files > 0 {
        let Collected { trees, bytes, failed, files } = done;
        tracing::info!(trees, bytes, failed, files, why, "collected garbage");
    }
    if choice.short {
        tracing::warn!(why, "too few trees are unused and old enough to free what should be free");
    }
    done
}

impl Puller {
    /// Collects garbage, after whoever is at it now.
    pub async fn collect(self: &Arc<Self>, occasion: Occasion) -> Result<Collected, PullError> {
        let _turn = self.collecting.lock().await;
        self.collect_in_turn(occasion).await
    }

    async fn collect_in_turn(self: &Arc<Self>, occasion: Occasion) -> Result<Collected, PullError> {
        let puller = self.clone();
        let collected =
            blocking(move || collect(&puller.store, &puller.config.collect, occasion)).await?;
        self.freed.fetch_add(collected.trees, std::sync::atomic::Ordering::Relaxed);
        Ok(collected)
    }

    /// Collects garbage now and every [`PERIOD`], until `stop`, and flushes what is left then. To be
    /// called when it is known what volumes show: a flush that fails costs trees, but none of those.
    pub async fn collect_regularly(self: Arc<Self>, stop: impl Future<Output = ()>) {
        let mut period = tokio::time::interval(PERIOD);
        period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut stop = std::pin::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => return,
                _ = period.tick() => {}
            }
            let collected = tokio::select! {
                () = &mut stop => return,
                collected = self.collect(Occasion::Regular) => collected,
            };
            if let Err(error) = collected {
                tracing::warn!(error = chain(&error), "cannot collect garbage");
            }
            self.flush_leftovers();
        }
    }

    /// Whether trees have gone for a pull that had no space, since `freed` was what
    /// [`freed`](Self::freed) said: then there may be space for it now.
    pub(super) async fn made_space(self: &Arc<Self>, freed: u64, occasion: Occasion) -> bool {
        let _turn = self.collecting.lock().await;
        if self.freed() != freed {
            // Another pull that met the full disk has seen to it.
            return true;
        }
        if let Err(error) = self.collect_in_turn(occasion).await {
            tracing::warn!(error = chain(&error), "cannot collect garbage");
        }
        self.freed() != freed
    }

    /// A full disk's error, with how full it is now that the pull's files are gone again. The kernel
    /// says the same of a lack of bytes and of inodes.
    pub(super) async fn measured(self: &Arc<Self>, error: PullError) -> PullError {
        let puller = self.clone();
        match blocking(move || puller.store.disk()).await {
            Ok(Ok(disk)) => PullError::DiskFull { free: free(disk), source: error.into() },
            Ok(Err(_)) | Err(_) => error,
        }
    }

    /// How many trees have been collected.
    pub(super) fn freed(&self) -> u64 {
        self.freed.load(std::sync::atomic::Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
