//! A layout that is a directory.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, open, openat};
use rustix::io::Errno;

use super::{LayoutError, Piece};

/// An open directory. What is in it is opened component by component, following no link.
#[derive(Debug)]
pub(super) struct Directory {
    root: OwnedFd,
}

impl Directory {
    pub(super) fn open(path: &Path) -> Result<Self, LayoutError> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        match open(path, flags, Mode::empty()) {
            Ok(root) => Ok(Self { root }),
            Err(Errno::NOTDIR) => Err(LayoutError::NoLayout {
                path: path.into(),
                reason: "it is no directory (oci-archive: reads a tar of one)".into(),
            }),
            Err(errno) => Err(LayoutError::Open { path: path.into(), source: errno.into() }),
        }
    }

    pub(super) fn blob(&self, algorithm: &str, hex: &str) -> Result<Option<Piece>, LayoutError> {
        let mut dir = None;
        for name in ["blobs", algorithm] {
            let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let parent = dir.as_ref().unwrap_or(&self.root);
            match openat(parent, name, flags, Mode::empty()) {
                Ok(fd) => dir = Some(fd),
                Err(Errno::NOENT) => return Ok(None),
                Err(errno) => return Err(refused(errno, format!("blobs/{algorithm}"))),
            }
        }
        let dir = dir.as_ref().unwrap_or(&self.root);
        regular(dir, hex, || format!("blobs/{algorithm}/{hex}"))
    }

    pub(super) fn file(&self, name: &str) -> Result<Option<Piece>, LayoutError> {
        regular(&self.root, name, || name.to_owned())
    }
}

fn regular(
    dir: impl AsFd,
    name: &str,
    shown: impl Fn() -> String,
) -> Result<Option<Piece>, LayoutError> {
    // A fifo would block its reader for ever.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = match openat(dir, name, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(refused(errno, shown())),
    };
    let file = File::from(fd);
    let status = file.metadata().map_err(LayoutError::Read)?;
    if !status.is_file() {
        return Err(LayoutError::NoFile { name: shown() });
    }
    Ok(Some(Piece { file: Arc::new(file), at: 0, end: status.len() }))
}

fn refused(errno: Errno, name: String) -> LayoutError {
    match errno {
        // What NOFOLLOW, DIRECTORY and a socket give.
        Errno::LOOP | Errno::NOTDIR | Errno::NXIO => LayoutError::NoFile { name },
        errno => LayoutError::Read(errno.into()),
    }
}
