//! Why a publish failed.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::mount::MountError;
use crate::pull::{PullError, Source};
use crate::store::FileError;
use crate::volume::ClearError;
use crate::volume::compose::ComposeError;
use crate::volume::secrets::SecretsError;

/// A failed step of a publish.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Another call for this volume is at work.
    #[error("another operation for volume {0} is in progress; kubelet tries again")]
    Busy(String),
    /// The volume is published, but at another path. A volume of ours has one.
    #[error("volume {volume_id} is already published at {}, not at {}", target.display(), asked.display())]
    Elsewhere {
        /// The volume.
        volume_id: String,
        /// Where it is published.
        target: PathBuf,
        /// Where the call asks for it.
        asked: PathBuf,
    },
    /// The volume is published, but as something else.
    #[error(
        "volume {volume_id} is already published at {} {difference}: delete the pod and make it anew",
        target.display()
    )]
    Incompatible {
        /// The volume.
        volume_id: String,
        /// Where it is published.
        target: PathBuf,
        /// What differs.
        difference: String,
    },
    /// The Secrets of the volume or of its pod are not what they should be.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// The pull goes on; the caller's time is up.
    #[error("still pulling {reference}: {progress}; the pull goes on and the next try finds it")]
    InProgress {
        /// The reference.
        reference: Source,
        /// How far it has come.
        progress: String,
    },
    /// The driver stops before the pull has ended.
    #[error("the driver is stopping while it pulls {reference}: {progress}; kubelet tries again")]
    StoppedPull {
        /// The reference.
        reference: Source,
        /// How far it has come.
        progress: String,
    },
    /// The driver stops before anything was done.
    #[error("the driver is stopping; kubelet tries again")]
    Stopping,
    /// The caller's time was up before there was a thread for the volume.
    #[error("this node is busy with other volumes; kubelet tries again")]
    NoThread,
    /// The pull failed.
    #[error("cannot pull {reference}{}", note.as_deref().unwrap_or_default())]
    Pull {
        /// The reference.
        reference: Source,
        /// What there was to log in with, in brackets.
        note: Option<String>,
        /// Why.
        source: Arc<PullError>,
    },
    /// The caller was turned down, and may have a login that could not be read just now.
    #[error("cannot pull {reference} with the logins that could be read{note}")]
    Unread {
        /// The reference.
        reference: Source,
        /// What there was to log in with, and why not more, in brackets.
        note: String,
        /// Why.
        source: Arc<PullError>,
    },
    /// The pull failed a short while ago and is not tried again yet. The words are kubelet's.
    #[error("Back-off pulling \"{reference}\"{}", note.as_deref().unwrap_or_default())]
    BackOff {
        /// The reference.
        reference: Source,
        /// What there was to log in with, in brackets.
        note: Option<String>,
        /// How it failed last.
        source: Arc<PullError>,
    },
    /// What was pulled does not fit the attributes.
    #[error("cannot lay out the volume")]
    Compose(#[from] ComposeError),
    /// The target directory cannot be made.
    #[error("cannot make the target directory {}", target.display())]
    Target {
        /// The target.
        target: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Whether the volume is published cannot be told.
    #[error("cannot read what is known of the volume")]
    Forgotten(#[source] FileError),
    /// What is at the target of a published volume cannot be told.
    #[error("cannot tell what is mounted at {}", target.display())]
    Unknown {
        /// The target.
        target: PathBuf,
        /// Why.
        source: MountError,
    },
    /// Something is at the target that cannot be cleared away.
    #[error("the target is not free")]
    Occupied(#[source] ClearError),
    /// The kernel refuses the overlay, and the volume does not allow anything less.
    #[error(
        "this kernel refuses a sealed (overlay) mount, and a plain bind mount could be made \
         writable by a container: set readOnly: true on the pod's csi volume to accept one"
    )]
    Unsealable(#[source] MountError),
    /// The kernel refuses the overlay, and a bind cannot show what the volume has.
    #[error(
        "this kernel refuses a sealed (overlay) mount, and a plain bind mount shows one directory, \
         but this volume has {count} skills: use one volume per skill"
    )]
    UnsealableMany {
        /// How many skills the volume has.
        count: usize,
        /// Why the overlay was refused.
        source: MountError,
    },
    /// `seal: bind` without `readOnly: true`.
    #[error(
        "attribute seal \"bind\" needs readOnly: true on the pod's csi volume: without it a \
         container could remount the files writable"
    )]
    BindNeedsReadOnly,
    /// A bind mount shows one directory.
    #[error(
        "a bind mount shows one directory, but this volume has {0} skills: use one volume per \
         skill, or the overlay seal"
    )]
    BindOfMany(usize),
    /// The mount failed.
    #[error("cannot mount the skill")]
    Mount(#[source] MountError),
    /// A step failed after the mount, and so did undoing it.
    #[error("{failed}; and what was done cannot be undone")]
    NotUndone {
        /// What failed first, with its causes.
        failed: String,
        /// Why it stays.
        source: ClearError,
    },
    /// The volume could not be remembered.
    #[error("cannot record the volume")]
    Record(#[from] FileError),
    /// The state directory failed.
    #[error("using the state directory")]
    State(#[source] io::Error),
    /// A defect of ours; this call is lost, the driver is not.
    #[error("the operation ended unexpectedly: {0}")]
    Panicked(String),
}
