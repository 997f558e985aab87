//! Mounts: the seal, the bind, and taking them away again. Nothing outside this module makes a
//! mount system call, and nothing here runs a program.
//!
//! A *seal* is an overlay of lower directories without an upper one: its superblock is read-only,
//! so that a container runtime that remounts the pod's mount read-write (runc 1.2 and later does,
//! when the pod does not say `readOnly`) still gets no way to write. A *bind* is read-only per
//! mount only.
//!
//! All calls block; none of them waits for a network.

mod classic;
mod error;
mod kernel;
mod lower;
mod modern;
mod mountinfo;
mod target;

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

pub use error::MountError;
pub use kernel::{Api, KernelMounter};
pub use mountinfo::{MAX_MOUNTINFO, Mount, MountinfoError, parse as parse_mountinfo};

/// The source that a seal has in `/proc/self/mountinfo` and `findmnt`, for people to know it by.
pub const SOURCE: &str = "skillmount";

/// The fewest lower directories of a seal: the kernel refuses an overlay of one without an upper.
pub const MIN_LOWERS: usize = 2;

/// The most lower directories of a seal (`OVL_MAX_STACK` of the kernel, since 4.19).
pub const MAX_LOWERS: usize = 500;

/// How many mounts on one point [`Mounter::unmount`] takes away before it gives up.
pub const MAX_STACKED: u32 = 64;

/// The mount verbs that volumes are made of.
///
/// A target is a directory that exists; a symbolic link in its place is never followed. A failed
/// [`seal`](Self::seal) or [`bind`](Self::bind) leaves nothing mounted, except as
/// [`MountError::NotUndone`] says.
pub trait Mounter: Send + Sync {
    /// Mounts an overlay of `lowers` (uppermost first, [`MIN_LOWERS`] to [`MAX_LOWERS`]) at
    /// `target`: superblock read-only, the mount `ro,nosuid,nodev` and what `options` adds.
    fn seal(
        &self,
        lowers: &[PathBuf],
        target: &Path,
        options: MountOptions,
    ) -> Result<(), MountError>;

    /// Bind-mounts the directory `source` at `target`, `ro,nosuid,nodev` and what `options` adds;
    /// flags that the source's mount already has (`noexec`, say) stay. Mounts below the source are
    /// not taken along.
    fn bind(&self, source: &Path, target: &Path, options: MountOptions) -> Result<(), MountError>;

    /// Unmounts all that is mounted at `target` and says how many mounts that were. Nothing
    /// mounted, no such path, a symbolic link: 0.
    fn unmount(&self, target: &Path) -> Result<u32, MountError>;

    /// Whether something is mounted at `path` itself. A path that does not exist and a symbolic
    /// link are not mount points; a mount whose server is gone is.
    fn is_mount_point(&self, path: &Path) -> Result<bool, MountError>;

    /// The mounts of this process's mount namespace, as `/proc/self/mountinfo` orders them.
    ///
    /// Before Linux 5.8 the kernel could leave out entries while other mounts went away during the
    /// reading: absence from this list is no proof.
    fn mounts(&self) -> Result<Vec<Mount>, MountError>;
}

/// What a volume may add to `ro,nosuid,nodev`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MountOptions {
    /// Nothing may be executed from the mount.
    pub noexec: bool,
}

/// Device and inode number of what is at `path` (a mounted root, if one is there), without
/// following a symbolic link at its end: tells a mount from the one that came after it.
pub fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = target::plain(path).symlink_metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}
