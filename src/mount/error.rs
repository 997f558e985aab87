//! Why a mount could not be made or taken away.

use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

use super::{MAX_LOWERS, MAX_STACKED, MIN_LOWERS, MountinfoError};

/// One failed step of a mount verb, with its paths.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// Fewer lower directories than an overlay without an upper one can have.
    #[error("cannot seal {count} directories: an overlay needs at least {MIN_LOWERS}")]
    TooFewLowers {
        /// How many were given.
        count: usize,
    },
    /// More lower directories than the kernel takes.
    #[error("cannot seal {count} directories: the kernel takes at most {MAX_LOWERS} per overlay")]
    TooManyLowers {
        /// How many were given.
        count: usize,
    },
    /// A lower directory is missing, or is not a directory.
    #[error("cannot open {path:?} as a directory to seal")]
    Lower {
        /// The lower directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The directory to bind is missing, or is not a directory.
    #[error("cannot open {path:?} as a directory to bind")]
    Source {
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The target is missing, or is not a directory. A symbolic link is not followed.
    #[error("cannot open the target {path:?} as a directory (a symbolic link is not followed)")]
    Target {
        /// The target.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel makes no overlay here: EPERM, EINVAL, ENODEV (no overlay module) or EOPNOTSUPP.
    /// The one error after which a plain bind may be worth trying.
    #[error(
        "the kernel refused an overlay of {count} directories, uppermost {uppermost:?}{}{}",
        said(.messages, .source), hint(.source)
    )]
    OverlayRefused {
        /// How many lower directories it was to have.
        count: usize,
        /// The uppermost of them.
        uppermost: PathBuf,
        /// The kernel's own words, where it gives any (new mount API only).
        messages: Vec<String>,
        /// What the kernel said.
        source: io::Error,
    },
    /// Making the overlay failed for another reason: out of memory or of file descriptors,
    /// directories inside each other (ELOOP).
    #[error(
        "cannot make an overlay of {count} directories, uppermost {uppermost:?}{}{}",
        said(.messages, .source), hint(.source)
    )]
    Overlay {
        /// How many lower directories it was to have.
        count: usize,
        /// The uppermost of them.
        uppermost: PathBuf,
        /// The kernel's own words, where it gives any.
        messages: Vec<String>,
        /// What the kernel said.
        source: io::Error,
    },
    /// The option string of mount(2) is one page; even with short names the lowers do not fit.
    #[error(
        "cannot seal {count} directories: the mount options are {length} bytes, and mount(2) takes \
         at most {limit}; select fewer skills, or use Linux 6.8 or later"
    )]
    OptionsTooLong {
        /// How many lower directories there are.
        count: usize,
        /// How long the option string would be, in bytes.
        length: usize,
        /// How long it may be, in bytes.
        limit: usize,
    },
    /// The bind mount could not be made.
    #[error("cannot bind {path:?} at {target:?}{}", hint(.source))]
    Bind {
        /// The directory to bind.
        path: PathBuf,
        /// Where to.
        target: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The finished mount could not be attached to the target.
    #[error("cannot attach the mount to {target:?}{}", hint(.source))]
    Attach {
        /// The target.
        target: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The mount could not be made read-only, nosuid and nodev.
    #[error("cannot make the mount for {target:?} read-only{}", hint(.source))]
    Restrict {
        /// The target.
        target: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel accepted the flags, but the mount does not have them.
    #[error("the mount at {target:?} lacks {missing} although the kernel accepted it")]
    NotRestricted {
        /// The target.
        target: PathBuf,
        /// The missing flags, comma-separated.
        missing: String,
    },
    /// A half-made mount could not be taken away: something is still mounted at the target.
    #[error("cannot take away the half-made mount at {target:?} ({undo})")]
    NotUndone {
        /// The target.
        target: PathBuf,
        /// Why it could not be taken away.
        undo: io::Error,
        /// Why it was to be taken away.
        source: Box<MountError>,
    },
    /// umount2 failed.
    #[error("cannot unmount {target:?}{}", hint(.source))]
    Unmount {
        /// The target.
        target: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The mount came from a parent namespace, and the kernel lets only that take it away.
    #[error(
        "cannot unmount {target:?}: it was mounted in a parent mount namespace; unmount it there"
    )]
    Locked {
        /// The target.
        target: PathBuf,
    },
    /// Too many mounts on one point.
    #[error(
        "still mounted after taking {MAX_STACKED} mounts away from {target:?}: is something mounting there in a loop?"
    )]
    Stacked {
        /// The target.
        target: PathBuf,
    },
    /// Whether something is mounted there could not be found out.
    #[error("cannot tell whether {path:?} is a mount point")]
    Inspect {
        /// The path.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The mount table could not be read.
    #[error("cannot read the mounts of this process")]
    Mountinfo(#[source] MountinfoError),
}

impl MountError {
    /// Whether the kernel refused the overlay as such, so that a plain bind may be worth trying.
    pub fn is_overlay_refused(&self) -> bool {
        matches!(self, Self::OverlayRefused { .. })
    }
}

/// What to do about the errors that say little.
fn hint(source: &io::Error) -> &'static str {
    match Errno::from_io_error(source) {
        Some(Errno::PERM) => " (needs CAP_SYS_ADMIN, and a seccomp profile that allows mounts)",
        Some(Errno::ACCESS) => " (a security module, AppArmor or SELinux, may forbid it)",
        Some(Errno::NODEV) => " (does this kernel have the overlay module?)",
        Some(Errno::NOSPC) => " (is fs.mount-max reached?)",
        _ => "",
    }
}

/// The kernel's words. overlayfs writes some of them to the kernel's log alone.
fn said(messages: &[String], source: &io::Error) -> String {
    if !messages.is_empty() {
        format!(", saying {:?}", messages.join("; "))
    } else if Errno::from_io_error(source) == Some(Errno::INVAL) {
        " (the kernel's log says why: look for \"overlayfs:\" in dmesg)".into()
    } else {
        String::new()
    }
}
