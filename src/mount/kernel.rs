//! The mounter of a real kernel.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
use rustix::io::Errno;

use super::classic::Unmounted;
use super::lower::Lower;
use super::modern::{self, CloneStep};
use super::{MAX_STACKED, Mount, MountError, MountOptions, Mounter, classic, mountinfo, target};

/// Which mount system calls are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// fsopen, open_tree, mount_setattr, move_mount: Linux 5.12. A mount is restricted before
    /// anybody can see it.
    New,
    /// mount(2). One mount at a time.
    Classic,
}

/// Mounts by system calls. Needs CAP_SYS_ADMIN over its mount namespace, and `/proc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelMounter {
    api: Api,
}

impl KernelMounter {
    /// Uses the new API if this kernel, and the system-call filter above it, has all of it.
    pub fn detect() -> Self {
        Self::with_api(if modern::is_available() { Api::New } else { Api::Classic })
    }

    /// Uses the API that it is told.
    pub fn with_api(api: Api) -> Self {
        Self { api }
    }

    /// The API in use.
    pub fn api(&self) -> Api {
        self.api
    }
}

impl Mounter for KernelMounter {
    fn seal(
        &self,
        lowers: &[PathBuf],
        target: &Path,
        options: MountOptions,
    ) -> Result<(), MountError> {
        let _turn = (self.api == Api::Classic).then(classic::turn);
        let lowers = Lower::open(lowers)?;
        let opened = open_target(target)?;
        if self.api == Api::Classic {
            return classic::seal(&lowers, &opened, target, options);
        }
        match modern::overlay(&lowers, options) {
            Ok(mount) => modern::attach(&mount, &opened, target),
            // Before 6.8 there is no `lowerdir+`, and fsconfig takes no more than 255 bytes of
            // `lowerdir`; mount(2) does as well there. If it is refused too, the words of the first
            // refusal tell more.
            Err(refusal) if is_invalid(&refusal) => {
                match classic::seal(&lowers, &opened, target, options) {
                    Err(MountError::OverlayRefused { .. }) => Err(refusal),
                    result => result,
                }
            }
            Err(error) => Err(error),
        }
    }

    fn bind(&self, source: &Path, target: &Path, options: MountOptions) -> Result<(), MountError> {
        let _turn = (self.api == Api::Classic).then(classic::turn);
        let from = target::open(source)
            .map_err(|error| MountError::Source { path: source.into(), source: error })?;
        let opened = open_target(target)?;
        if self.api == Api::Classic {
            return classic::bind((&from, source), &opened, target, options);
        }
        let mount = modern::clone(&from, options).map_err(|(step, error)| match step {
            CloneStep::Clone => {
                MountError::Bind { path: source.into(), target: target.into(), source: error }
            }
            CloneStep::Restrict => MountError::Restrict { target: target.into(), source: error },
        })?;
        modern::attach(&mount, &opened, target)
    }

    fn unmount(&self, target: &Path) -> Result<u32, MountError> {
        let target = &target::plain(target);
        let failed = |source| MountError::Unmount { target: target.clone(), source };
        for count in 0..MAX_STACKED {
            match classic::unmount(target).map_err(failed)? {
                Unmounted::Absent => return Ok(count),
                // Mostly it was the only one, which is cheaper to see than to be told.
                Unmounted::One if !self.is_mount_point(target)? => return Ok(count + 1),
                Unmounted::One => {}
                Unmounted::Refused if self.is_mount_point(target)? => {
                    return Err(MountError::Locked { target: target.clone() });
                }
                Unmounted::Refused => return Ok(count),
            }
        }
        Err(MountError::Stacked { target: target.clone() })
    }

    fn is_mount_point(&self, path: &Path) -> Result<bool, MountError> {
        let failed = |source| MountError::Inspect { path: path.into(), source };
        let plain = target::plain(path);
        let flags = AtFlags::NO_AUTOMOUNT | AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_DONT_SYNC;
        match statx(CWD, &plain, flags, StatxFlags::empty()) {
            // STATX_ATTR_MOUNT_ROOT is of Linux 5.8; the mask says whether the kernel knows it.
            Ok(found) if found.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT) => {
                Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
            }
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
            // The server of a network or FUSE mount is gone, the mount is not.
            Err(Errno::STALE | Errno::NOTCONN | Errno::HOSTDOWN) => Ok(true),
            // An old kernel, or a filter older than statx, which answers EPERM.
            Ok(_) | Err(Errno::NOSYS | Errno::PERM) => is_listed(&plain),
            Err(error) => Err(failed(error.into())),
        }
    }

    fn mounts(&self) -> Result<Vec<Mount>, MountError> {
        mountinfo::read().map_err(MountError::Mountinfo)
    }
}

fn open_target(path: &Path) -> Result<std::os::fd::OwnedFd, MountError> {
    target::open(path).map_err(|source| MountError::Target { path: path.into(), source })
}

fn is_invalid(error: &MountError) -> bool {
    matches!(error, MountError::OverlayRefused { source, .. }
        if Errno::from_io_error(source) == Some(Errno::INVAL))
}

/// Whether mountinfo has a mount at the path.
fn is_listed(path: &Path) -> Result<bool, MountError> {
    let real =
        canonical(path).map_err(|source| MountError::Inspect { path: path.into(), source })?;
    let Some(real) = real else { return Ok(false) };
    let mounts = mountinfo::read().map_err(MountError::Mountinfo)?;
    Ok(mounts.iter().any(|mount| mount.mount_point == real))
}

/// The path as mountinfo has it, its last component unresolved; none if its parent does not exist.
fn canonical(path: &Path) -> io::Result<Option<PathBuf>> {
    let (parent, name) = match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) if parent.as_os_str().is_empty() => (Path::new("."), name),
        (Some(parent), Some(name)) => (parent, name),
        _ => return path.canonicalize().map(Some),
    };
    match parent.canonicalize() {
        Ok(parent) => Ok(Some(parent.join(name))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mountinfo_name_of_a_path_resolves_all_but_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("a")).unwrap();
        std::os::unix::fs::symlink("a", root.join("link")).unwrap();
        for (path, expected) in [
            (root.join("link/x"), Some(root.join("a/x"))),
            (root.join("link"), Some(root.join("link"))),
            (root.join("missing/x"), None),
            (PathBuf::from("/"), Some(PathBuf::from("/"))),
        ] {
            assert_eq!(canonical(&path).unwrap(), expected, "{path:?}");
        }
    }

    #[test]
    fn the_mount_table_and_statx_agree() {
        let mounter = KernelMounter::with_api(Api::Classic);
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/proc", directory.path().join("link")).unwrap();
        for (path, expected) in [
            (PathBuf::from("/"), true),
            ("/proc".into(), true),
            ("/proc/self".into(), false),
            (directory.path().into(), false),
            (directory.path().join("link"), false),
            (directory.path().join("missing/x"), false),
        ] {
            assert_eq!(is_listed(&path).unwrap(), expected, "{path:?}");
            assert_eq!(mounter.is_mount_point(&path).unwrap(), expected, "{path:?}");
        }
    }
}
