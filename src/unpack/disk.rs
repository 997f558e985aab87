//! A sink that writes below a directory, and cannot write anywhere else.

use std::fs::File;
use std::io::{self, BufRead, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RawMode, Timespec, Timestamps, UTIME_OMIT, fchmod, fstat,
    futimens, linkat, mkdirat, openat, statat, unlinkat,
};

use crate::artifact::contents::Contents;
use crate::artifact::path::TreePath;
use crate::artifact::tree::Node;

use super::sink::{Sink, read_full};

/// How much of two files is compared at once, in bytes.
const BUFFER: usize = 128 << 10;

/// Writes below a private directory.
///
/// Nothing here trusts what the unpacker has checked: each component of a path is opened below
/// the one before, as a directory and through no link, and what is made must not exist. So no
/// path can lead out, whatever stands in the directory. Modes are set by `fchmod` and do not
/// depend on the umask; nothing but directories, files and hard links is ever made.
#[derive(Debug)]
pub struct DiskSink {
    root: OwnedFd,
    /// The directory that was used last: archives name files of one directory in a row.
    parent: Option<(TreePath, OwnedFd)>,
}

const DIR: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// Without NONBLOCK, opening a fifo would wait.
const READ: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);
const CREATE: OFlags = OFlags::WRONLY
    .union(OFlags::CREATE)
    .union(OFlags::EXCL)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

impl DiskSink {
    /// Writes below the directory `root`, which is empty and nobody else's.
    pub fn new(root: OwnedFd) -> Self {
        Self { root, parent: None }
    }

    /// The directory.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Opens a directory of the tree.
    pub(super) fn open_dir(&self, path: &TreePath) -> io::Result<OwnedFd> {
        descend(self.root.as_fd(), path.components())
    }

    /// Forgets directories that are about to move.
    pub(super) fn forget(&mut self) {
        self.parent = None;
    }

    /// The directory that holds `path`, and the name of `path` in it.
    fn parent<'a>(&mut self, path: &'a TreePath) -> io::Result<(BorrowedFd<'_>, &'a str)> {
        let Some((name, parents)) = path.components().split_last() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the root has no parent"));
        };
        if parents.is_empty() {
            return Ok((self.root.as_fd(), name));
        }
        let known = self.parent.take().filter(|(known, _)| known.components() == parents);
        let parent = match known {
            Some(parent) => parent,
            None => {
                let fd = descend(self.root.as_fd(), parents)?;
                (path.parent().unwrap_or_default(), fd)
            }
        };
        Ok((self.parent.insert(parent).1.as_fd(), name))
    }

    fn open(&mut self, path: &TreePath) -> io::Result<File> {
        let (parent, name) = self.parent(path)?;
        let file = openat(parent, name, READ, Mode::empty())?;
        match FileType::from_raw_mode(fstat(&file)?.st_mode) {
            FileType::RegularFile => Ok(File::from(file)),
            _ => Err(io::Error::other("it is not a regular file")),
        }
    }
}

fn descend(root: BorrowedFd<'_>, components: &[String]) -> io::Result<OwnedFd> {
    let Some((first, rest)) = components.split_first() else {
        return root.try_clone_to_owned();
    };
    let mut dir = openat(root, first.as_str(), DIR, Mode::empty())?;
    for component in rest {
        dir = openat(&dir, component.as_str(), DIR, Mode::empty())?;
    }
    Ok(dir)
}

/// Makes the directory `name` in `parent`, with mode 0755 whatever the umask.
pub(super) fn make_dir(parent: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    mkdirat(parent, name, Mode::from_raw_mode(0o700))?;
    let dir = openat(parent, name, DIR, Mode::empty())?;
    fchmod(&dir, Mode::from_raw_mode(0o755))?;
    Ok(dir)
}

fn remove_below(parent: BorrowedFd<'_>, name: &str, node: &Node) -> io::Result<()> {
    match node {
        Node::Symlink(_) => Ok(()),
        Node::File(_) => Ok(unlinkat(parent, name, AtFlags::empty())?),
        Node::Dir(dir) => {
            let fd = openat(parent, name, DIR, Mode::empty())?;
            for (name, node) in &dir.entries {
                remove_below(fd.as_fd(), name, node)?;
            }
            Ok(unlinkat(parent, name, AtFlags::REMOVEDIR)?)
        }
    }
}

impl Contents for DiskSink {
    fn read(&mut self, path: &TreePath, max: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open(path)?.take(max).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

impl Sink for DiskSink {
    fn dir(&mut self, path: &TreePath) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        let dir = make_dir(parent, name)?;
        self.parent = Some((path.clone(), dir));
        Ok(())
    }

    fn file(
        &mut self,
        path: &TreePath,
        executable: bool,
        mtime: Option<u64>,
        content: &mut dyn BufRead,
    ) -> io::Result<u64> {
        let (parent, name) = self.parent(path)?;
        let mut file = File::from(openat(parent, name, CREATE, Mode::from_raw_mode(0o600))?);
        let mut size = 0;
        loop {
            let piece = content.fill_buf()?;
            if piece.is_empty() {
                break;
            }
            file.write_all(piece)?;
            let count = piece.len();
            content.consume(count);
            size += count as u64;
        }
        let mode: RawMode = if executable { 0o755 } else { 0o644 };
        fchmod(&file, Mode::from_raw_mode(mode))?;
        // A time that no kernel can hold is left out, as one that is missing.
        if let Some(seconds) = mtime.and_then(|seconds| i64::try_from(seconds).ok()) {
            let times = Timestamps {
                last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
                last_modification: Timespec { tv_sec: seconds, tv_nsec: 0 },
            };
            futimens(&file, &times)?;
        }
        Ok(size)
    }

    fn same(&mut self, path: &TreePath, content: &mut dyn Read) -> io::Result<bool> {
        let mut file = self.open(path)?;
        let (mut ours, mut theirs) = (vec![0; BUFFER], vec![0; BUFFER]);
        loop {
            let length = read_full(&mut file, &mut ours)?;
            let count = read_full(content, &mut theirs)?;
            if ours[..length] != theirs[..count] {
                return Ok(false);
            }
            if count == 0 {
                return Ok(true);
            }
        }
    }

    fn link(&mut self, existing: &TreePath, path: &TreePath) -> io::Result<()> {
        let directory = existing.parent().unwrap_or_default();
        let name = existing.name().unwrap_or_default();
        let directory = self.open_dir(&directory)?;
        let stat = statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("the link's target is not a regular file"));
        }
        let (parent, link) = self.parent(path)?;
        Ok(linkat(&directory, name, parent, link, AtFlags::empty())?)
    }

    fn remove(&mut self, path: &TreePath, node: &Node) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        let removed = remove_below(parent, name, node);
        self.forget();
        removed
    }
}
