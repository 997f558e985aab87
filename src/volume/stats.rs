//! What a volume uses, and whether it is well.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Volumes;
use crate::observability::{chain, task};
use crate::store::{FileError, Record, RecordState, Totals};

/// The statistics of a volume. It is full by nature: nothing can be added to it, so total and
/// used are the same and nothing is available.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// Bytes of the files that it shows.
    pub bytes: u64,
    /// Files and directories that it shows.
    pub inodes: u64,
    /// What is wrong with it; none if it is well.
    pub abnormal: Option<String>,
}

/// Why there are no statistics.
#[derive(Debug, thiserror::Error)]
pub enum StatsError {
    /// No such volume is published here.
    #[error("volume {0} is not published on this node")]
    Unknown(String),
    /// It is published elsewhere.
    #[error("volume {volume_id} is published at {}, not at {}", target.display(), path.display())]
    Elsewhere {
        /// The volume.
        volume_id: String,
        /// Where it is.
        target: PathBuf,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The record cannot be read.
    #[error("cannot read the record of volume {volume_id}")]
    Record {
        /// The volume.
        volume_id: String,
        /// Why.
        source: FileError,
    },
    /// A defect of ours.
    #[error("the operation ended unexpectedly: {0}")]
    Panicked(String),
}

impl Volumes {
    /// The statistics of the volume at `path`. Reads no file of the volume: the sizes are those
    /// that were counted when it was unpacked.
    pub async fn stats(
        self: Arc<Self>,
        volume_id: String,
        path: PathBuf,
    ) -> Result<Stats, StatsError> {
        task::spawn_blocking(move || self.measure(volume_id, &path))
            .await
            .map_err(|error| StatsError::Panicked(error.to_string()))?
    }

    fn measure(&self, volume_id: String, path: &Path) -> Result<Stats, StatsError> {
        let record = match self.store.record(&volume_id) {
            Ok(Some(record)) => record,
            Ok(None) => return Err(StatsError::Unknown(volume_id)),
            Err(source) => return Err(StatsError::Record { volume_id, source }),
        };
        if record.target != path {
            let target = record.target;
            return Err(StatsError::Elsewhere { volume_id, target, path: path.into() });
        }
        let Totals { bytes, inodes, .. } = record.totals;
        let abnormal = self.condition(&record);
        if let Some(teller) = &self.teller {
            teller.condition(&record, abnormal.as_deref());
        }
        Ok(Stats { bytes, inodes, abnormal })
    }

    fn condition(&self, record: &Record) -> Option<String> {
        if record.state != RecordState::Published {
            return Some("its publish did not finish".into());
        }
        let target = record.target.display();
        match self.is_mounted(record) {
            Ok(true) => {}
            Ok(false) => return Some(format!("it is not mounted at {target} any more")),
            Err(error) => return Some(chain(&error)),
        }
        if self.is_hollow(record) {
            return Some("its files were removed from the node; a new pod gets them anew".into());
        }
        if let Some(key) = self.store.damaged(&record.volume_id) {
            return Some(format!(
                "files of its stored tree {key} are damaged; a new pod gets them anew"
            ));
        }
        let gone = record.trees.iter().find(|key| self.store.tree(key).is_none());
        gone.map(|key| format!("its stored tree {key} is gone"))
    }
}
