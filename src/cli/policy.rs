//! Flags of the driver alone: what pods may expect of pulls.

use std::time::Duration;

use clap::Args;

use crate::pull::{MAX_PAUSE, PullConfig};

#[derive(Debug, Args)]
#[command(next_help_heading = "Policy")]
pub(super) struct PolicyArgs {
    /// Seconds for which a pull that failed is not tried again; doubles with each failure, up to
    /// 300; 0 for not at all
    #[arg(long, value_name = "SECONDS", default_value_t = 10, env = "SKILLMOUNT_PULL_BACKOFF",
          value_parser = clap::value_parser!(u64).range(0..=MAX_PAUSE.as_secs()))]
    pull_backoff: u64,
}

impl PolicyArgs {
    /// The limits with the policies added.
    pub(super) fn config(&self, limits: PullConfig) -> PullConfig {
        PullConfig { backoff: Duration::from_secs(self.pull_backoff), ..limits }
    }
}
