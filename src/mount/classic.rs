//! mount(2), for kernels before 5.12 and for system-call filters that know only it.
//!
//! It takes paths, not descriptors, and one page of options. Both are got round with
//! `/proc/self/fd`: the target is named by its descriptor, and lowers too many or too long for the
//! page by the bare number, relative to that directory.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use rustix::fs::{StatVfsMountFlags, fstatvfs};

use super::lower::{self, Lower};
use super::{MountError, MountOptions, SOURCE, target};
use crate::sys::mount as sys;

/// The longest option string: the kernel copies one page, the last byte of which is NUL. Pages of
/// 4096 bytes are assumed where they may be larger.
const MAX_OPTIONS: usize = 4095;

/// What names the flags on either side: to mount(2), from statvfs(3), to people.
const FLAGS: [(MsFlags, StatVfsMountFlags, &str); 4] = [
    (MsFlags::MS_RDONLY, StatVfsMountFlags::RDONLY, "ro"),
    (MsFlags::MS_NOSUID, StatVfsMountFlags::NOSUID, "nosuid"),
    (MsFlags::MS_NODEV, StatVfsMountFlags::NODEV, "nodev"),
    (MsFlags::MS_NOEXEC, StatVfsMountFlags::NOEXEC, "noexec"),
];

/// One mount by this API at a time, the opening of what is mounted included: a directory that was
/// opened on the passing mount of another's [`bind`] could not be mounted once that is gone.
pub(super) fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn flags(options: MountOptions) -> MsFlags {
    let base = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    if options.noexec { base | MsFlags::MS_NOEXEC } else { base }
}

/// Mounts the overlay in one call, which sets the flags of superblock and mount alike: it is never
/// writable.
pub(super) fn seal(
    lowers: &[Lower],
    opened: &OwnedFd,
    target: &Path,
    options: MountOptions,
) -> Result<(), MountError> {
    let at = target::name(opened);
    let flags = flags(options);
    let made = match by_path(lowers) {
        Some(data) => overlay(&at, flags, &data),
        None => {
            let data = by_number(lowers);
            if data.len() > MAX_OPTIONS {
                let (count, length) = (lowers.len(), data.len());
                return Err(MountError::OptionsTooLong { count, length, limit: MAX_OPTIONS });
            }
            elsewhere(|| overlay(&at, flags, &data))
        }
    };
    made.map_err(|error| lower::failure(lowers, error, Vec::new()))?;
    verify(target, flags).map_err(|error| undo(target, error))
}

fn overlay(at: &str, flags: MsFlags, data: &[u8]) -> io::Result<()> {
    Ok(mount(Some(SOURCE), at, Some("overlay"), flags, Some(data))?)
}

/// The options with the lowers by path, which mountinfo then shows; if all are plain and fit.
fn by_path(lowers: &[Lower]) -> Option<Vec<u8>> {
    let paths: Option<Vec<&[u8]>> = lowers.iter().map(Lower::plain_path).collect();
    Some(joined(&paths?)).filter(|data| data.len() <= MAX_OPTIONS)
}

/// The options with the lowers by descriptor number: at most 4 bytes each below descriptor 1000.
fn by_number(lowers: &[Lower]) -> Vec<u8> {
    let numbers: Vec<String> =
        lowers.iter().map(|lower| lower.descriptor.as_raw_fd().to_string()).collect();
    joined(&numbers)
}

fn joined(names: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut data = Vec::new();
    for (key, value) in lower::OPTIONS {
        data.extend_from_slice(format!("{key}={value},").as_bytes());
    }
    data.extend_from_slice(b"lowerdir=");
    for (position, name) in names.iter().enumerate() {
        if position > 0 {
            data.push(b':');
        }
        data.extend_from_slice(name.as_ref());
    }
    data
}

/// Runs `call` in a thread whose working directory, and no other's, is `/proc/self/fd`.
fn elsewhere(call: impl FnOnce() -> io::Result<()> + Send) -> io::Result<()> {
    thread::scope(|scope| {
        thread::Builder::new()
            .name("mount".into())
            .spawn_scoped(scope, || {
                sys::unshare_working_directory()?;
                // Not /proc/thread-self: threads share descriptors, and lookups in the directory
                // of a process are allowed to all of them.
                rustix::process::chdir("/proc/self/fd")?;
                call()
            })?
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the mounting thread panicked")))
    })
}

/// Binds the source over itself, restricts that, binds *it* to the target, and takes the first
/// bind away again.
///
/// The usual way, to bind into place and to remount there, is not enough: kubelet's directory is
/// shared with the node, a mount there is copied to the node at once, and a remount changes only
/// the mount that it names. The node's copy, which is the one that containers get, would stay
/// writable. A bind of a restricted mount is restricted from the start, and so are its copies.
///
/// What is seen at the source meanwhile is the source, but on a mount that soon goes: callers hold
/// [`turn`], from before they open the source. A driver that is killed in between leaves the mount
/// over the source in its own mount namespace, with which it goes.
pub(super) fn bind(
    source: (&OwnedFd, &Path),
    opened: &OwnedFd,
    target: &Path,
    options: MountOptions,
) -> Result<(), MountError> {
    let failed = |error: io::Error| MountError::Bind {
        path: source.1.into(),
        target: target.into(),
        source: error,
    };
    let from = target::name(source.0);
    bind_once(&from, &from).map_err(failed)?;
    let bound = restrict(source.1, target, flags(options)).and_then(|(restricted, all)| {
        bind_once(&target::name(&restricted), &target::name(opened)).map_err(failed)?;
        verify(target, all).map_err(|error| undo(target, error))
    });
    match (bound, detach(source.1)) {
        (bound, Ok(())) => bound,
        (Err(error), Err(undo)) => Err(not_undone(source.1, undo, error)),
        (Ok(()), Err(error)) => {
            let error = MountError::Unmount { target: source.1.into(), source: error };
            Err(undo(target, error))
        }
    }
}

fn bind_once(from: &str, at: &str) -> io::Result<()> {
    Ok(mount(Some(from), at, None::<&str>, MsFlags::MS_BIND, None::<&str>)?)
}

/// Sets the flags of the mount at `path`; returns that mount and all the flags it should have now.
fn restrict(path: &Path, target: &Path, wanted: MsFlags) -> Result<(OwnedFd, MsFlags), MountError> {
    let failed = |source: io::Error| MountError::Restrict { target: target.into(), source };
    // Opened anew: the descriptor that was there before is of the directory underneath.
    let opened = target::open(path).map_err(failed)?;
    let present = fstatvfs(&opened).map_err(|error| failed(error.into()))?.f_flag;
    // A remount replaces all flags. Those that the source's mount had stay: a user namespace may
    // have locked them, and then leaving one out is EPERM. Access-time flags stay by themselves.
    let kept = FLAGS.iter().filter(|flag| present.contains(flag.1));
    let all = kept.fold(wanted, |all, flag| all | flag.0);
    let how = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | all;
    let none = None::<&str>;
    mount(none, target::name(&opened).as_str(), none, how, none)
        .map_err(|error| failed(error.into()))?;
    Ok((opened, all))
}

/// Linux before 2.6.26 ignored flags of bind mounts, and a filter may lie: trust what is there.
fn verify(target: &Path, wanted: MsFlags) -> Result<(), MountError> {
    let found = target::open(target)
        .and_then(|opened| Ok(fstatvfs(&opened)?.f_flag))
        .map_err(|source| MountError::Restrict { target: target.into(), source })?;
    let missing: Vec<&str> = FLAGS
        .iter()
        .filter(|(flag, present, _)| wanted.contains(*flag) && !found.contains(*present))
        .map(|(_, _, name)| *name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(MountError::NotRestricted { target: target.into(), missing: missing.join(",") })
}

/// Takes the newest mount at `target` away because of `error`, which it returns.
fn undo(target: &Path, error: MountError) -> MountError {
    match detach(target) {
        Ok(()) => error,
        Err(undo) => not_undone(target, undo, error),
    }
}

fn not_undone(target: &Path, undo: io::Error, error: MountError) -> MountError {
    MountError::NotUndone { target: target.into(), undo, source: Box::new(error) }
}

/// Unmounts lazily: what is half made must go even if something looks at it.
fn detach(path: &Path) -> io::Result<()> {
    Ok(umount2(&target::plain(path), MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)?)
}

/// What umount2 did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unmounted {
    /// It took away one mount.
    One,
    /// There is no such path.
    Absent,
    /// It sees no mount there. One that is locked in this namespace is told in the same way.
    Refused,
}

/// Unmounts the topmost mount at `target`.
///
/// A busy mount is detached instead. A container runtime or a process of the pod that is not quite
/// gone may hold it; the name is free at once, the rest goes with its last user, and a read-only
/// mount harms nobody meanwhile. The alternative is a pod that hangs in Terminating.
pub(super) fn unmount(target: &Path) -> io::Result<Unmounted> {
    let once = |flags| umount2(target, flags);
    let done = match once(MntFlags::UMOUNT_NOFOLLOW) {
        Err(Errno::EBUSY) => once(MntFlags::UMOUNT_NOFOLLOW | MntFlags::MNT_DETACH),
        done => done,
    };
    match done {
        Ok(()) => Ok(Unmounted::One),
        Err(Errno::EINVAL) => Ok(Unmounted::Refused),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(Unmounted::Absent),
        Err(error) => Err(error.into()),
    }
}
