//! Recursive removal that cannot leave its tree.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, StatxAttributes, StatxFlags, fstat, openat, renameat,
    statat, statx, unlinkat,
};
use rustix::io::Errno;

/// Removes `name` in `dir`, with all that is below it. Absent is success.
///
/// Works on descriptors, follows no link, and refuses (`EXDEV`) to enter a directory that is on
/// another file system than `dir` or is the root of a mount, a bind of the same file system
/// included (Linux 5.8 tells). Depth costs neither stack nor descriptors: what lies deeper is
/// first moved up, so a refusal leaves a partly removed and flattened tree.
pub fn remove_tree(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    let device = fstat(dir)?.st_dev;
    let root = match open(dir, name, device) {
        Ok(root) => root,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if is_no_directory(&error) => {
            return Ok(unlinkat(dir, name, AtFlags::empty())?);
        }
        Err(error) => return Err(error),
    };
    let mut next = 0;
    loop {
        let below = remove_files(root.as_fd())?;
        if below.is_empty() {
            break;
        }
        for name in below {
            remove_level(root.as_fd(), &name, device, &mut next)?;
        }
    }
    drop(root);
    Ok(unlinkat(dir, name, AtFlags::REMOVEDIR)?)
}

/// Removes the directory `name` in `root`, after moving its own directories up into `root`.
fn remove_level(
    root: BorrowedFd<'_>,
    name: &CStr,
    device: rustix::fs::Dev,
    next: &mut u64,
) -> io::Result<()> {
    match unlinkat(root, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOTEMPTY | Errno::EXIST) => {}
        done => return Ok(done?),
    }
    let level = open(root, name, device)?;
    for below in remove_files(level.as_fd())? {
        loop {
            let up = format!(".{next}");
            *next += 1;
            match renameat(&level, &below, root, &up) {
                // The name is taken. (Taking an empty directory's place is fine: it goes too.)
                Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
                done => break done?,
            }
        }
    }
    drop(level);
    Ok(unlinkat(root, name, AtFlags::REMOVEDIR)?)
}

fn open<P: rustix::path::Arg>(
    dir: BorrowedFd<'_>,
    name: P,
    device: rustix::fs::Dev,
) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = openat(dir, name, flags, Mode::empty())?;
    if fstat(&fd)?.st_dev != device || is_mount_root(fd.as_fd()) {
        return Err(Errno::XDEV.into());
    }
    Ok(fd)
}

/// Before Linux 5.8 nobody can tell; then only the comparison of devices protects.
fn is_mount_root(fd: BorrowedFd<'_>) -> bool {
    statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::empty())
        .is_ok_and(|stat| stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Unlinks all that is no directory, and returns the directories.
fn remove_files(dir: BorrowedFd<'_>) -> io::Result<Vec<CString>> {
    let mut entries = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            entries.push((entry.file_name().to_owned(), entry.file_type()));
        }
    }
    let mut directories = Vec::new();
    for (name, kind) in entries {
        let kind = match kind {
            FileType::Unknown => {
                FileType::from_raw_mode(statat(dir, &name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode)
            }
            known => known,
        };
        match kind {
            FileType::Directory => directories.push(name),
            _ => unlinkat(dir, &name, AtFlags::empty())?,
        }
    }
    Ok(directories)
}

fn is_no_directory(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOTDIR | libc::ELOOP))
}

#[cfg(test)]
mod tests;
