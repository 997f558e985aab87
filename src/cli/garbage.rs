//! Flags that say when trees go that nobody uses, or that are damaged.

use std::time::Duration;

use clap::Args;

use super::Failure;
use crate::pull::CollectPolicy;

/// When trees go that nobody uses. The first three are kubelet's settings for images.
#[derive(Debug, Args)]
#[command(next_help_heading = "Garbage collection")]
pub(super) struct GarbageArgs {
    /// Percent of the file system's bytes or inodes in use from which on trees go; 100 for never
    #[arg(long, value_name = "PERCENT", default_value_t = 85, env = "SKILLMOUNT_GC_HIGH_THRESHOLD",
          value_parser = clap::value_parser!(u8).range(0..=100))]
    gc_high_threshold: u8,
    /// Percent down to which they go
    #[arg(long, value_name = "PERCENT", default_value_t = 80, env = "SKILLMOUNT_GC_LOW_THRESHOLD",
          value_parser = clap::value_parser!(u8).range(0..=100))]
    gc_low_threshold: u8,
    /// Seconds for which a tree stays after its last use in any case
    #[arg(long, value_name = "SECONDS", default_value_t = 120, env = "SKILLMOUNT_GC_MIN_AGE")]
    gc_min_age: u64,
    /// Seconds after its last use when a tree goes in any case; 0 for never
    #[arg(long, value_name = "SECONDS", default_value_t = 0, env = "SKILLMOUNT_GC_MAX_AGE")]
    gc_max_age: u64,
    /// Bytes that the files of all trees may have, used ones included; 0 for any number
    #[arg(long, value_name = "BYTES", default_value_t = 0, env = "SKILLMOUNT_GC_MAX_BYTES")]
    gc_max_bytes: u64,
}

/// Whether and when stored files are compared with what they were.
#[derive(Debug, Args)]
#[command(next_help_heading = "Verification of stored files")]
pub(super) struct ScrubArgs {
    /// Seconds between two rounds that read all stored files and drop what has changed; 0 for never
    #[arg(long, value_name = "SECONDS", default_value_t = 0, env = "SKILLMOUNT_SCRUB_INTERVAL")]
    scrub_interval: u64,
}

impl ScrubArgs {
    pub(super) fn interval(&self) -> Option<Duration> {
        (self.scrub_interval > 0).then(|| Duration::from_secs(self.scrub_interval))
    }
}

impl GarbageArgs {
    pub(super) fn policy(&self) -> Result<CollectPolicy, Failure> {
        let usage = |text: &str| Err(Failure::Usage(text.into()));
        if self.gc_low_threshold > self.gc_high_threshold {
            return usage("--gc-low-threshold must not be above --gc-high-threshold");
        }
        if self.gc_max_age > 0 && self.gc_max_age < self.gc_min_age {
            return usage("--gc-max-age must be 0 or not below --gc-min-age");
        }
        Ok(CollectPolicy {
            high_threshold: self.gc_high_threshold,
            low_threshold: self.gc_low_threshold,
            min_age: Duration::from_secs(self.gc_min_age),
            max_age: (self.gc_max_age > 0).then(|| Duration::from_secs(self.gc_max_age)),
            max_bytes: (self.gc_max_bytes > 0).then_some(self.gc_max_bytes),
        })
    }
}
