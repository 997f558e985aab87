//! Unpublish: needs nothing but the kernel and the record; unknown, unmounted and absent are
//! all fine. It must work with the registry, the API server and the store's trees gone.

use std::path::PathBuf;
use std::sync::Arc;

use super::{ClearError, UnpublishRequest, Volumes};
use crate::observability::task;
use crate::store::FileError;

/// A failed step of an unpublish.
#[derive(Debug, thiserror::Error)]
pub enum UnpublishError {
    /// Another call for this volume is at work.
    #[error("another operation for volume {0} is in progress; kubelet tries again")]
    Busy(String),
    /// The target could not be cleared.
    #[error("cannot unpublish volume {volume_id}")]
    Clear {
        /// The volume.
        volume_id: String,
        /// Why.
        source: ClearError,
    },
    /// The record could not be removed.
    #[error("cannot forget volume {volume_id}")]
    Record {
        /// The volume.
        volume_id: String,
        /// Why.
        source: FileError,
    },
    /// A defect of ours; this call is lost, the driver is not.
    #[error("the operation ended unexpectedly: {0}")]
    Panicked(String),
}

impl Volumes {
    /// Unmounts everything at the target, removes the directory and forgets the volume.
    pub async fn unpublish(
        self: Arc<Self>,
        request: UnpublishRequest,
    ) -> Result<(), UnpublishError> {
        let held = self
            .guard
            .take(&request.volume_id)
            .ok_or_else(|| UnpublishError::Busy(request.volume_id.clone()))?;
        task::spawn_blocking(move || {
            let _held = held;
            self.release(&request)
        })
        .await
        .map_err(|error| UnpublishError::Panicked(error.to_string()))?
    }

    fn release(&self, request: &UnpublishRequest) -> Result<(), UnpublishError> {
        let volume_id = || request.volume_id.clone();
        if let Some(teller) = &self.teller {
            teller.forget(&request.volume_id);
        }
        let mut targets: Vec<PathBuf> = vec![request.target.clone()];
        match self.store.record(&request.volume_id) {
            // Where we mounted counts, whatever the caller says.
            Ok(Some(record)) if record.target != request.target => targets.push(record.target),
            Ok(_) => {}
            // The kernel's view is enough: a broken record must not keep a pod terminating.
            Err(error) => {
                let error = crate::observability::chain(&error);
                tracing::warn!(volume_id = request.volume_id, error, "unreadable record");
            }
        }
        for target in targets {
            self.clear(&target)
                .map_err(|source| UnpublishError::Clear { volume_id: volume_id(), source })?;
        }
        self.store
            .remove_record(&request.volume_id)
            .map_err(|source| UnpublishError::Record { volume_id: volume_id(), source })
    }
}
