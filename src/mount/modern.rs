//! The new mount API: a mount is made detached, restricted, and only then attached.
//!
//! Linux 5.2 has fsopen, fsconfig, fsmount, open_tree and move_mount; 5.12 has mount_setattr; 6.5
//! brought overlayfs to fsconfig, 6.8 gave it `lowerdir+`, one lower per call.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

use super::lower::{self, Lower};
use super::{MountError, MountOptions, SOURCE, target};
use crate::sys::mount as sys;

/// The longest value that fsconfig takes as a string, without its NUL (`strndup_user(…, 256)`).
const MAX_VALUE: usize = 255;

/// How many of the kernel's messages about one failure are kept.
const MAX_MESSAGES: usize = 8;

fn attributes(options: MountOptions) -> MountAttrFlags {
    let base = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV;
    if options.noexec { base | MountAttrFlags::MOUNT_ATTR_NOEXEC } else { base }
}

/// A detached overlay, or `Err(refusal)`.
pub(super) fn overlay(lowers: &[Lower], options: MountOptions) -> Result<OwnedFd, MountError> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)
        .map_err(|error| lower::failure(lowers, error.into(), Vec::new()))?;
    configure(&context, lowers)
        .and_then(|()| fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes(options)))
        .map_err(|error| lower::failure(lowers, error.into(), messages(&context)))
}

fn configure(context: &OwnedFd, lowers: &[Lower]) -> Result<(), Errno> {
    fsconfig_set_string(context, "source", SOURCE)?;
    fsconfig_set_flag(context, "ro")?;
    for (key, value) in lower::OPTIONS {
        fsconfig_set_string(context, key, value)?;
    }
    for lower in lowers {
        match lower.plain_path().filter(|path| path.len() <= MAX_VALUE) {
            Some(path) => fsconfig_set_string(context, "lowerdir+", path)?,
            None => fsconfig_set_string(context, "lowerdir+", target::name(&lower.descriptor))?,
        }
    }
    fsconfig_create(context)
}

/// What the kernel wrote about a failure, one message per read: `e overlay: …`.
fn messages(context: &OwnedFd) -> Vec<String> {
    let mut found = Vec::new();
    let mut buffer = [0_u8; 512];
    while found.len() < MAX_MESSAGES {
        match rustix::io::read(context, &mut buffer) {
            Ok(length) if length > 0 => {
                let text = String::from_utf8_lossy(&buffer[..length]);
                let text = text.trim_end();
                found.push(text.get(2..).unwrap_or(text).to_owned());
            }
            _ => break,
        }
    }
    found
}

/// A detached, restricted clone of the mount that `source` is on, with `source` as its root.
///
/// Only adds flags, so flags that a user namespace has locked on the source are no obstacle.
pub(super) fn clone(
    source: &OwnedFd,
    options: MountOptions,
) -> Result<OwnedFd, (CloneStep, io::Error)> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = open_tree(source, c"", flags)
        .map_err(|error| (CloneStep::Clone, io::Error::from(error)))?;
    sys::mount_setattr(tree.as_fd(), attributes(options))
        .map_err(|error| (CloneStep::Restrict, error))?;
    Ok(tree)
}

/// Which step of [`clone`] failed.
#[derive(Debug)]
pub(super) enum CloneStep {
    Clone,
    Restrict,
}

/// Attaches a detached mount over the opened target: never through a path that may have changed.
pub(super) fn attach(mount: &OwnedFd, opened: &OwnedFd, target: &Path) -> Result<(), MountError> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, c"", opened, c"", flags)
        .map_err(|error| MountError::Attach { target: target.to_owned(), source: error.into() })
}

/// Whether the kernel, and what filters system calls above it, has the whole API for this process.
///
/// Each call is made with flags that no kernel knows: a kernel that has the call and lets this
/// process mount answers EINVAL and does nothing. ENOSYS is an old kernel or a filter; EPERM is a
/// filter or a lack of CAP_SYS_ADMIN, and then the classic API fails with words of its own.
pub(super) fn is_available() -> bool {
    let unknown = 1 << 30;
    let calls = [
        fsopen("overlay", FsOpenFlags::from_bits_retain(unknown)).err(),
        fsmount(CWD, FsMountFlags::from_bits_retain(unknown), MountAttrFlags::empty()).err(),
        open_tree(CWD, c"", OpenTreeFlags::from_bits_retain(unknown)).err(),
        move_mount(CWD, c"", CWD, c"", MoveMountFlags::from_bits_retain(unknown)).err(),
    ];
    calls.iter().all(|answer| *answer == Some(Errno::INVAL)) && sys::has_mount_setattr()
}
