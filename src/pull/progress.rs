//! How far a pull has come: counters that the pull writes and anybody may read.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::SetOnce;

/// The steps of a pull, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It is not its turn: other pulls of this node are at work.
    Waiting,
    /// The registry is asked what the reference is.
    Resolving,
    /// Other pulls have reserved the space in staging that it needs.
    Reserving,
    /// Layers are downloaded, verified and unpacked, all at once.
    Pulling,
    /// The tree is put into the store.
    Storing,
}

/// The progress of one pull.
#[derive(Debug, Default)]
pub struct Progress {
    step: AtomicU8,
    done: AtomicU64,
    total: AtomicU64,
    /// When a registry was to be asked, and the pull began to wait for its turn.
    asked: SetOnce<Instant>,
    /// When it had its turn.
    turn: OnceLock<Instant>,
    /// When it was done.
    ended: OnceLock<Instant>,
}

/// How long a pull took that asked a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Took {
    /// From its turn on.
    pub pull: Duration,
    /// With the wait for its turn.
    pub all: Duration,
}

impl Progress {
    pub(super) fn enter(&self, step: Step) {
        self.step.store(step as u8, Ordering::Relaxed);
    }

    pub(super) fn expect(&self, bytes: u64) {
        self.total.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn advance(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn asks(&self, now: Instant) {
        // It asks once.
        drop(self.asked.set(now));
    }

    pub(super) fn begins(&self, now: Instant) {
        self.turn.get_or_init(|| now);
    }

    pub(super) fn ends(&self, now: Instant) {
        self.ended.get_or_init(|| now);
    }

    /// Resolves when a registry is about to be asked, or was; for what the store answers, never.
    pub async fn asked(&self) {
        self.asked.wait().await;
    }

    /// Whether a registry was asked, or is about to be.
    pub fn has_asked(&self) -> bool {
        self.asked.initialized()
    }

    /// How long it took, or takes until now; none unless it has its turn to ask a registry.
    pub fn took(&self) -> Option<Took> {
        let (asked, turn) = (self.asked.get()?, self.turn.get()?);
        // What it brought can be seen a moment before it ends.
        let ended = self.ended.get().copied().unwrap_or_else(Instant::now);
        Some(Took { pull: ended - *turn, all: ended - *asked })
    }

    /// The step the pull is in.
    pub fn step(&self) -> Step {
        match self.step.load(Ordering::Relaxed) {
            0 => Step::Waiting,
            1 => Step::Resolving,
            2 => Step::Reserving,
            3 => Step::Pulling,
            _ => Step::Storing,
        }
    }

    /// Bytes downloaded so far.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Bytes to download, as the manifests claim; 0 while that is not known.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.step() {
            Step::Waiting => f.write_str("waiting for other pulls on this node"),
            Step::Resolving => f.write_str("resolving the reference"),
            Step::Reserving => f.write_str("waiting for space that other pulls have reserved"),
            Step::Pulling => write!(
                f,
                "downloading and unpacking, {} of {}",
                HumanBytes(self.done()),
                HumanBytes(self.total())
            ),
            Step::Storing => f.write_str("storing"),
        }
    }
}

/// A number of bytes for people, in decimal units.
#[derive(Debug, Clone, Copy)]
pub struct HumanBytes(pub u64);

impl fmt::Display for HumanBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
        if self.0 < 1000 {
            return write!(f, "{} B", self.0);
        }
        let mut value = self.0 as f64 / 1000.0;
        let mut unit = 0;
        while value >= 999.95 && unit + 1 < UNITS.len() {
            value /= 1000.0;
            unit += 1;
        }
        write!(f, "{value:.1} {}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_for_people() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (999_949, "999.9 kB"),
            (999_950, "1.0 MB"),
            (3 << 30, "3.2 GB"),
            (u64::MAX, "18446744.1 TB"),
        ] {
            assert_eq!(HumanBytes(bytes).to_string(), text);
        }
    }
}
