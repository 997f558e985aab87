//! The use cases: publish, unpublish and the statistics of volumes. Nothing here knows gRPC,
//! HTTP or a mount system call.

pub mod attributes;
pub mod compose;
pub mod guard;
mod logins;
mod patience;
pub mod publish;
pub mod recover;
mod secrets;
pub mod stats;
mod telling;
pub mod tokens;
pub mod unpublish;

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use attributes::Attributes;
use guard::Guard;
pub use logins::Sources;
use patience::{Late, Patience};
pub use publish::PublishError;
pub use secrets::{PodSecrets, SecretsError};
pub use stats::{Stats, StatsError};
use telling::Teller;
use tokens::ServiceAccountTokens;
pub use unpublish::UnpublishError;

use crate::events::Events;
use crate::mount::{MountError, Mounter};
use crate::observability::task;
use crate::pull::Puller;
use crate::store::{Pod, Record, Store};

/// More than one, since some wait for the disk.
const THREADS_PER_PROCESSOR: usize = 4;

/// What to publish, and for whom.
pub struct PublishRequest {
    /// The orchestrator's name of the volume.
    pub volume_id: String,
    /// Where the volume is to appear.
    pub target: PathBuf,
    /// `readOnly` of the pod's volume.
    pub read_only: bool,
    /// The typed volume attributes.
    pub attributes: Attributes,
    /// The pod, as kubelet describes it.
    pub pod: Pod,
    /// The data of the Secret that `nodePublishSecretRef` names; empty if there is none.
    pub secrets: BTreeMap<String, Vec<u8>>,
    /// Tokens of the pod's service account.
    pub tokens: ServiceAccountTokens,
}

impl std::fmt::Debug for PublishRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PublishRequest")
            .field("volume_id", &self.volume_id)
            .field("target", &self.target)
            .field("read_only", &self.read_only)
            .field("attributes", &self.attributes)
            .field("pod", &self.pod)
            .field("secret_keys", &self.secrets.keys())
            .field("token_audiences", &self.tokens)
            .finish()
    }
}

/// What to unpublish.
#[derive(Debug)]
pub struct UnpublishRequest {
    /// The orchestrator's name of the volume.
    pub volume_id: String,
    /// Where the volume appeared.
    pub target: PathBuf,
}

/// The volumes of this node.
pub struct Volumes {
    store: Arc<Store>,
    mounter: Arc<dyn Mounter>,
    puller: Arc<Puller>,
    guard: Arc<Guard>,
    sources: Sources,
    /// How many publishes mount at a time: the kernel takes mounts one after the other, and more
    /// threads than processors only wait for each other.
    threads: Arc<Semaphore>,
    /// Who tells pods what becomes of their skills, where that is wanted.
    teller: Option<Teller>,
    /// Raised when calls are not to wait any more.
    given_up: watch::Sender<bool>,
}

impl std::fmt::Debug for Volumes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Volumes").finish_non_exhaustive()
    }
}

impl Volumes {
    /// The volumes that `store` remembers, mounted by `mounter`, pulled by `puller`.
    pub fn new(store: Arc<Store>, mounter: Arc<dyn Mounter>, puller: Arc<Puller>) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self {
            store,
            mounter,
            puller,
            guard: Arc::default(),
            sources: Sources::default(),
            threads: Arc::new(Semaphore::new(THREADS_PER_PROCESSOR * processors)),
            teller: None,
            given_up: watch::Sender::new(false),
        }
    }

    /// The same with more places to look for logins.
    pub fn with_sources(self, sources: Sources) -> Self {
        Self { sources, ..self }
    }

    /// The same that tells pods what becomes of their skills.
    pub fn with_events(self, events: Option<Events>) -> Self {
        Self { teller: events.map(Teller::new), ..self }
    }

    /// Lets no publish wait any more: whatever is not ready fails with a code that is not final.
    /// For the end of the time that the driver has to stop.
    pub fn give_up(&self) {
        self.given_up.send_replace(true);
    }

    /// Runs a part of a publish that blocks, when a thread is free for it. Once it has begun, it runs
    /// to its end even if this is dropped.
    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        patience: &Patience,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, PublishError> {
        let turn = patience.within(self.threads.clone().acquire_owned()).await;
        // It is never closed, so there always is one.
        let turn = turn.map_err(|late| match late {
            Late::Deadline => PublishError::NoThread,
            Late::Stopping => PublishError::Stopping,
        })?;
        let volumes = self.clone();
        let done = task::spawn_blocking(move || {
            let _turn = turn;
            work(&volumes)
        });
        done.await.map_err(|error| PublishError::Panicked(error.to_string()))
    }

    /// Whether the target shows what the record says: the same mount, not merely some mount.
    fn is_mounted(&self, record: &Record) -> Result<bool, MountError> {
        let Some(expected) = &record.mount else { return Ok(false) };
        if *expected.boot_id != *self.store.boot_id()
            || !self.mounter.is_mount_point(&record.target)?
        {
            return Ok(false);
        }
        let path = &record.target;
        let found = crate::mount::identity(path)
            .map_err(|source| MountError::Inspect { path: path.clone(), source })?;
        Ok(found == (expected.dev, expected.ino))
    }

    /// Whether the mount of a record shows nothing although it should: somebody has removed the
    /// files below it. What cannot be listed counts as there.
    fn is_hollow(&self, record: &Record) -> bool {
        let is_empty = |mut entries: std::fs::ReadDir| entries.next().is_none();
        record.totals.files > 0 && std::fs::read_dir(&record.target).is_ok_and(is_empty)
    }

    /// Undoes what a publish may have left at a target: every mount on it, then the directory.
    /// Never recursive: a directory that still holds something is not ours to empty.
    fn clear(&self, target: &Path) -> Result<(), ClearError> {
        self.mounter
            .unmount(target)
            .map_err(|source| ClearError::Unmount { target: target.into(), source })?;
        match std::fs::remove_dir(target) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(ClearError::Remove { target: target.into(), source }),
        }
    }
}

/// Why a target could not be cleared.
#[derive(Debug, thiserror::Error)]
pub enum ClearError {
    /// A mount stays.
    #[error("cannot unmount {}", target.display())]
    Unmount {
        /// The target.
        target: PathBuf,
        /// Why.
        source: crate::mount::MountError,
    },
    /// The directory stays.
    #[error("cannot remove the target directory {}", target.display())]
    Remove {
        /// The target.
        target: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}
