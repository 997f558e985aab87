//! What each file of a tree was when the tree came to the disk, so that bytes that have changed since
//! can be told.
//!
//! A list lies beside its tree, in the form of sha256sum(1), so that `sha256sum -c` reads it too:
//! digest, two characters, path. The second character is an asterisk for what may be executed. The
//! tree's description has the digest of the list.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ffi::{CStr, CString};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RawMode, openat, statat};

use super::atomic::is_passing;
use crate::reference::{Algorithm, Hasher};

/// How much of a file is read at a time, in bytes.
const BUFFER: usize = 128 << 10;

/// Deeper than any tree that was unpacked: a path of an artifact has at most 4096 bytes.
const MAX_DEPTH: usize = 2048;

/// The longest list, in bytes: it is held in memory, and a tenant says how long its paths are.
const MAX_LIST: usize = 8 << 20;

/// What opening a file counts for, in bytes.
const PER_FILE: usize = 4096;

/// How many findings about one tree are told.
const MAX_DAMAGES: usize = 100;

/// Called for each file and each piece of one, with a number of bytes. The error `Interrupted` ends
/// the walk.
pub(super) type Pace<'a> = &'a mut dyn FnMut(usize) -> io::Result<()>;

/// Called with the path of all that is no directory: with what it is, or nothing for what is no
/// file. An error ends the walk.
type Each<'a> = &'a mut dyn FnMut(&str, io::Result<Option<Sum>>) -> io::Result<()>;

/// What is wrong with a file of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Its path, from the tree's directory on.
    pub path: String,
    /// What is wrong.
    pub kind: DamageKind,
}

/// What can be wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DamageKind {
    /// It is not there.
    Missing,
    /// It has other bytes.
    Bytes,
    /// It may be executed and could not be, or the other way round.
    Mode,
    /// It was not there when the tree was made, or was something else than a file.
    Unknown,
    /// It cannot be read.
    Unreadable(String),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match &self.kind {
            DamageKind::Missing => write!(f, "{path:?} is missing"),
            DamageKind::Bytes => write!(f, "{path:?} has other bytes"),
            DamageKind::Mode => write!(f, "{path:?} has another mode"),
            DamageKind::Unknown => write!(f, "{path:?} was not there"),
            DamageKind::Unreadable(why) => write!(f, "{path:?} cannot be read: {why}"),
        }
    }
}

/// A file as it is, or should be.
#[derive(Debug, PartialEq, Eq)]
struct Sum {
    hex: String,
    executable: bool,
}

/// The name of a tree's list, beside it.
pub(super) fn file_name(key: &str) -> String {
    format!("{key}.sha256")
}

/// The list of a tree's files as they are now; none if it would be longer than [`MAX_LIST`].
pub(super) fn list(tree: BorrowedFd<'_>) -> io::Result<Option<String>> {
    let (mut text, mut fits) = (String::new(), true);
    let mut each = |path: &str, found: io::Result<Option<Sum>>| {
        let not_a_file = || io::Error::other(format!("{path:?} is not a file"));
        let sum = found?.ok_or_else(not_a_file)?;
        fits &= text.len() + path.len() < MAX_LIST;
        if fits {
            text.push_str(&line(path, &sum));
        }
        Ok(())
    };
    walk(tree, &mut |_| Ok(()), &mut each)?;
    Ok(fits.then_some(text))
}

/// What differs between a tree and its list, at most 100 findings; none for a list that makes no
/// sense.
pub(super) fn compare(
    tree: BorrowedFd<'_>,
    list: &str,
    pace: Pace<'_>,
) -> io::Result<Option<Vec<Damage>>> {
    let mut damages = Vec::new();
    let mut tell = |path: &str, kind| {
        if damages.len() < MAX_DAMAGES {
            damages.push(Damage { path: path.into(), kind });
        }
    };
    if !list.lines().all(|line| parse(line).is_some()) {
        return Ok(None);
    }
    // In the order of the walk.
    let mut expected = list.lines().filter_map(parse).peekable();
    let mut each = |path: &str, found: io::Result<Option<Sum>>| {
        while let Some((gone, _)) = expected.next_if(|(next, _)| order(next, path).is_lt()) {
            tell(&gone, DamageKind::Missing);
        }
        let then = expected.next_if(|(next, _)| next == path).map(|(_, sum)| sum);
        match (then, found) {
            (_, Err(error)) if is_passing(&error) => return Err(error),
            (_, Err(error)) => tell(path, DamageKind::Unreadable(error.to_string())),
            (None, Ok(_)) | (_, Ok(None)) => tell(path, DamageKind::Unknown),
            (Some(then), Ok(Some(now))) if then.hex != now.hex => tell(path, DamageKind::Bytes),
            (Some(then), Ok(Some(now))) if then != now => tell(path, DamageKind::Mode),
            (Some(_), Ok(Some(_))) => {}
        }
        Ok(())
    };
    walk(tree, pace, &mut each)?;
    expected.for_each(|(path, _)| tell(&path, DamageKind::Missing));
    Ok(Some(damages))
}

/// How a walk meets two paths.
fn order(a: &str, b: &str) -> Ordering {
    a.split('/').cmp(b.split('/'))
}

/// As sha256sum(1) writes it: a backslash in a name is doubled, and announced by one before the
/// digest. No name of a tree has a line feed.
fn line(path: &str, sum: &Sum) -> String {
    let (mark, path) = match path.contains('\\') {
        true => ("\\", path.replace('\\', "\\\\")),
        false => ("", path.to_owned()),
    };
    let kind = if sum.executable { '*' } else { ' ' };
    format!("{mark}{} {kind}{path}\n", sum.hex)
}

fn parse(line: &str) -> Option<(Cow<'_, str>, Sum)> {
    let (is_escaped, line) = match line.strip_prefix('\\') {
        Some(line) => (true, line),
        None => (false, line),
    };
    let (hex, rest) = line.split_at_checked(64)?;
    let (executable, path) = match rest.strip_prefix(" *") {
        Some(path) => (true, path),
        None => (false, rest.strip_prefix("  ")?),
    };
    let path = match is_escaped {
        true => path.replace("\\\\", "\\").into(),
        false => path.into(),
    };
    Some((path, Sum { hex: hex.into(), executable }))
}

fn walk(tree: BorrowedFd<'_>, pace: Pace<'_>, each: Each<'_>) -> io::Result<()> {
    Walk { pace, each, buffer: vec![0; BUFFER] }.dir(tree, "")
}

/// A walk over a tree.
struct Walk<'a> {
    pace: Pace<'a>,
    each: Each<'a>,
    buffer: Vec<u8>,
}

const OPEN: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

impl Walk<'_> {
    /// Goes in the order of the names, and follows no link.
    fn dir(&mut self, dir: BorrowedFd<'_>, below: &str) -> io::Result<()> {
        if below.matches('/').count() > MAX_DEPTH {
            return (self.each)(below, Ok(None));
        }
        let names = match names(dir) {
            Ok(names) => names,
            Err(error) => return (self.each)(below, Err(error)),
        };
        for name in names {
            let path = format!("{below}{}", name.to_string_lossy());
            match self.entry(dir, &name) {
                Ok(Entry::Dir(fd)) => self.dir(fd.as_fd(), &format!("{path}/"))?,
                Ok(Entry::File(sum)) => (self.each)(&path, Ok(Some(sum)))?,
                Ok(Entry::Other) => (self.each)(&path, Ok(None))?,
                Err(error) => (self.each)(&path, Err(error))?,
            }
        }
        Ok(())
    }

    fn entry(&mut self, dir: BorrowedFd<'_>, name: &CStr) -> io::Result<Entry> {
        let mode = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode;
        match FileType::from_raw_mode(mode) {
            FileType::Directory => {
                Ok(Entry::Dir(openat(dir, name, OPEN | OFlags::DIRECTORY, Mode::empty())?))
            }
            FileType::RegularFile => {
                let file = File::from(openat(dir, name, OPEN, Mode::empty())?);
                Ok(Entry::File(self.sum(file, mode)?))
            }
            _ => Ok(Entry::Other),
        }
    }

    fn sum(&mut self, mut file: File, mode: RawMode) -> io::Result<Sum> {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        (self.pace)(PER_FILE)?;
        loop {
            match file.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(count) => {
                    hasher.update(&self.buffer[..count]);
                    (self.pace)(count)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Sum { hex: hasher.finish().hex().to_owned(), executable: mode & 0o111 != 0 })
    }
}

enum Entry {
    Dir(OwnedFd),
    File(Sum),
    Other,
}

/// The names in a directory, sorted.
fn names(dir: BorrowedFd<'_>) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let name = entry?.file_name().to_owned();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}
