//! `skillmount prune`: removes what no volume uses from the state directory of a driver that does
//! not run.

use std::path::PathBuf;

use clap::Args;

use super::{Failure, print};
use crate::mount::KernelMounter;
use crate::observability::logging::{self, LogFormat};
use crate::observability::trace::Traces;
use crate::pull::HumanBytes;
use crate::pull::collect::{CollectPolicy, Occasion, collect};
use crate::store::{Store, TreeUse, peek_records};
use crate::volume::recover::keep_mounted;

#[derive(Debug, Args)]
pub(super) struct PruneArgs {
    /// Directory for trees and records
    #[arg(long, env = "SKILLMOUNT_STATE_DIR", default_value = "/var/lib/skillmount")]
    state_dir: PathBuf,
    /// Only say what would go
    #[arg(long)]
    dry_run: bool,
}

impl PruneArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        logging::init(LogFormat::Text, "warn", &Traces::default())
            .map_err(|e| Failure::usage(&e))?;
        // Opening would make what is not there.
        peek_records(&self.state_dir).map_err(|e| Failure::failed(&e))?;
        let store = Store::open(&self.state_dir).map_err(|e| Failure::failed(&e))?;
        keep_mounted(&store, &KernelMounter::detect());
        let (used, unused): (Vec<_>, Vec<_>) = store.trees().into_iter().partition(|t| t.in_use);
        let kept = used.len();
        if self.dry_run {
            let bytes = sum(&unused);
            return print(&format!(
                "trees to remove: {}, {}; in use: {kept}\n",
                unused.len(),
                HumanBytes(bytes)
            ));
        }
        let done = collect(&store, &CollectPolicy::everything(), Occasion::Regular);
        print(&format!(
            "trees removed: {}, {}; in use: {kept}\n",
            done.trees,
            HumanBytes(done.bytes)
        ))?;
        match done.failed {
            0 => Ok(()),
            failed => Err(Failure::Failed(format!("{failed} could not be removed"))),
        }
    }
}

fn sum(trees: &[TreeUse]) -> u64 {
    trees.iter().map(|tree| tree.totals.bytes).sum()
}
