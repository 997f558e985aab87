//! Opening directories for mounting without being led elsewhere.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

/// The path without trailing slashes and `.` components. With a slash at its end the kernel
/// follows a symbolic link there, whatever `NOFOLLOW` says.
pub(super) fn plain(path: &Path) -> PathBuf {
    path.components().collect()
}

/// Opens a directory by name only, not through a symbolic link at the end of its path.
///
/// `O_PATH` asks for no permission on the directory and does not touch its file system, and such a
/// descriptor keeps nothing busy that is mounted over it later.
pub(super) fn open(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(plain(path), flags, Mode::empty())?)
}

/// The name by which mount(2), which knows no descriptors, finds exactly what was opened.
pub(super) fn name(descriptor: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", descriptor.as_raw_fd())
}
