//! Domain errors → gRPC codes, each by one exhaustive match.
//!
//! Kubelet divides the codes of NodePublishVolume in two (kubernetes, `isFinalError` in
//! pkg/volume/csi/csi_client.go). *Non-final*: `Canceled`, `DeadlineExceeded`, `Unavailable`,
//! `ResourceExhausted`, `Aborted`; the volume becomes *uncertain*, is tried again, and
//! NodeUnpublishVolume is called when the pod goes away. *Final*: every other code; the try
//! counts as undone, kubelet removes the directory, and NodeUnpublishVolume may never come. So a
//! final code is only given when nothing is left at the target. Both kinds are retried with
//! back-off as long as the pod exists.
//!
//! The text is all that `kubectl describe pod` shows: it is the error's whole source chain.

use std::error::Error;

use tonic::{Code, Status};

use super::request::RequestError;
use crate::observability::chain;
use crate::pull::Blame;
use crate::store::is_full;
use crate::volume::{PublishError, SecretsError, StatsError, UnpublishError};

fn status(code: Code, error: &dyn Error) -> Status {
    Status::new(code, chain(error))
}

impl From<RequestError> for Status {
    fn from(error: RequestError) -> Self {
        let code = match &error {
            RequestError::Missing(_)
            | RequestError::VolumeId(_)
            | RequestError::Path { .. }
            | RequestError::Block
            | RequestError::AccessMode
            | RequestError::Meaningless { .. }
            | RequestError::NotEphemeral
            | RequestError::Attributes(_)
            | RequestError::Tokens(_) => Code::InvalidArgument,
        };
        status(code, &error)
    }
}

impl From<PublishError> for Status {
    fn from(error: PublishError) -> Self {
        let code = match &error {
            // Non-final: nothing is wrong, it is only not done.
            PublishError::Busy(_) | PublishError::InProgress { .. } | PublishError::NoThread => {
                Code::Aborted
            }
            // Non-final: the next driver does it.
            PublishError::Stopping | PublishError::StoppedPull { .. } => Code::Unavailable,
            // The CSI specification's table of second publishes: another path exceeds the
            // volume's capabilities, other settings at the same path contradict the first call.
            PublishError::Elsewhere { .. } => Code::FailedPrecondition,
            PublishError::Incompatible { .. } => Code::AlreadyExists,
            PublishError::Secrets(error) => match error {
                SecretsError::Secret(_) => Code::Unauthenticated,
                SecretsError::NoAccess
                | SecretsError::NoPod
                | SecretsError::NoToken
                | SecretsError::OtherPod { .. } => Code::FailedPrecondition,
            },
            // Non-final: the right login may be readable the next time.
            PublishError::Unread { .. } => Code::Unavailable,
            // A pull that is not tried again gets the code of how it failed, so that what was
            // final stays final.
            PublishError::Pull { source, .. } | PublishError::BackOff { source, .. } => {
                match source.blame() {
                    Blame::Request => Code::InvalidArgument,
                    Blame::Unauthenticated => Code::Unauthenticated,
                    Blame::Forbidden => Code::PermissionDenied,
                    Blame::NotFound => Code::NotFound,
                    Blame::Artifact | Blame::Configuration => Code::FailedPrecondition,
                    Blame::Corrupt => Code::DataLoss,
                    // Non-final: the disk may be emptied, the registry may come back.
                    Blame::Exhausted => Code::ResourceExhausted,
                    Blame::Transient => Code::Unavailable,
                    Blame::Internal => Code::Internal,
                }
            }
            PublishError::Compose(_) => Code::InvalidArgument,
            // Something may still be mounted: non-final, so that Unpublish is called.
            PublishError::Forgotten(_)
            | PublishError::Panicked(_)
            | PublishError::Unknown { .. }
            | PublishError::Occupied(_)
            | PublishError::NotUndone { .. } => Code::Unavailable,
            PublishError::Unsealable(_) | PublishError::UnsealableMany { .. } => {
                Code::FailedPrecondition
            }
            PublishError::BindNeedsReadOnly | PublishError::BindOfMany(_) => Code::InvalidArgument,
            PublishError::Record(source) if source.is_full() => Code::ResourceExhausted,
            PublishError::Target { source, .. } if is_full(source) => Code::ResourceExhausted,
            PublishError::Target { .. }
            | PublishError::Mount(_)
            | PublishError::Record(_)
            | PublishError::State(_) => Code::Internal,
        };
        status(code, &error)
    }
}

impl From<UnpublishError> for Status {
    fn from(error: UnpublishError) -> Self {
        let code = match &error {
            UnpublishError::Busy(_) => Code::Aborted,
            UnpublishError::Clear { .. }
            | UnpublishError::Record { .. }
            | UnpublishError::Panicked(_) => Code::Internal,
        };
        status(code, &error)
    }
}

impl From<StatsError> for Status {
    fn from(error: StatsError) -> Self {
        let code = match &error {
            StatsError::Unknown(_) | StatsError::Elsewhere { .. } => Code::NotFound,
            StatsError::Record { .. } | StatsError::Panicked(_) => Code::Internal,
        };
        status(code, &error)
    }
}
