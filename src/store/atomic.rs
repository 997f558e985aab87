//! Small files that are whole or absent: written beside their place and renamed into it. What
//! cannot be understood is put aside, so that one bad file never stops the driver.

use std::fmt::Display;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{
    AtFlags, CWD, RenameFlags, Timespec, Timestamps, UTIME_OMIT, renameat_with, utimensat,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::FileError;
use crate::stamp::Stamp;

/// Temporary files start so; no name that the store makes does.
pub(super) const TEMPORARY: &str = ".tmp-";

/// The largest file that is read, in bytes. The description of a tree of 10,000 skills with the
/// longest allowed descriptions stays below it.
const MAX_FILE: u64 = 64 << 20;

/// Why a document that can be read is put aside.
pub(super) const NOT_OURS: &str = "its version or its name is not what it should be";

/// How much survives a power cut. A crash of the driver alone loses nothing in either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Durability {
    /// Left to the kernel: a file whose loss costs a request or a pull.
    Cached,
    /// The content and the name are on disk on return.
    Full,
}

/// The time as files of the store hold it: seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

/// Writes `dir/name`, replacing what is there in one step.
pub(super) fn write(
    dir: &Path,
    name: &str,
    bytes: &[u8],
    durability: Durability,
) -> Result<(), FileError> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let temporary = dir.join(format!("{TEMPORARY}{}-{number}", std::process::id()));
    let path = dir.join(name);
    let written = write_file(&temporary, bytes, durability).and_then(|()| match durability {
        Durability::Full => {
            fs::rename(&temporary, &path)?;
            File::open(dir)?.sync_all()
        }
        Durability::Cached => replace(&temporary, &path),
    });
    written.map_err(|source| {
        // Gone already if the rename was done; else the next open removes it.
        drop(fs::remove_file(&temporary));
        FileError::Write { path, source }
    })
}

/// Gives `from` the name `to`, in one step. A rename over another file makes ext4 write the new one
/// to the disk at once (`auto_da_alloc`), for which a publish would wait; an exchange does not, and
/// [`Durability::Cached`] asks for nothing of the kind.
fn replace(from: &Path, to: &Path) -> io::Result<()> {
    if renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE).is_ok() {
        return Ok(());
    }
    // An exchange would also put a directory aside, of which a rename says that it is in the way.
    let is_file = fs::symlink_metadata(to).is_ok_and(|there| there.is_file());
    if is_file && renameat_with(CWD, from, CWD, to, RenameFlags::EXCHANGE).is_ok() {
        // What is there now is the old file; the next open removes what a crash leaves here.
        return fs::remove_file(from);
    }
    // The file system can do neither.
    fs::rename(from, to)
}

fn write_file(path: &Path, bytes: &[u8], durability: Durability) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)?;
    file.write_all(bytes)?;
    match durability {
        Durability::Cached => Ok(()),
        Durability::Full => file.sync_all(),
    }
}

/// Writes `dir/name` as JSON.
pub(super) fn write_json(
    dir: &Path,
    name: &str,
    value: &impl Serialize,
    durability: Durability,
) -> Result<(), FileError> {
    write(dir, name, &line(&dir.join(name), value)?, durability)
}

/// Writes `path` as a line of JSON, if nothing is there: the file, for [`append_json`]. A crash may
/// leave the beginning of the line; an error leaves nothing, if that can be had.
pub(super) fn create_json(path: &Path, value: &impl Serialize) -> Result<Option<File>, FileError> {
    let bytes = line(path, value)?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    let written = match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
        Err(error) => Err(error),
        Ok(mut file) => {
            let written = file.write_all(&bytes).map(|()| Some(file));
            written.inspect_err(|_| drop(fs::remove_file(path)))
        }
    };
    written.map_err(|source| FileError::Write { path: path.into(), source })
}

/// A line of JSON, for the file `path`.
fn line(path: &Path, value: &impl Serialize) -> Result<Vec<u8>, FileError> {
    let mut bytes = serde_json::to_vec(value)
        .map_err(|source| FileError::Encode { path: path.into(), source })?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Adds a line of JSON to a file that is there, and that may be open at its end. A crash may leave the
/// beginning of the line; an error leaves nothing, if that can be had.
pub(super) fn append_json(
    path: &Path,
    file: Option<File>,
    value: &impl Serialize,
) -> Result<(), FileError> {
    let bytes = line(path, value)?;
    let open = || OpenOptions::new().append(true).custom_flags(libc::O_NOFOLLOW).open(path);
    let file = file.map_or_else(open, Ok);
    let append = |mut file: File| {
        let length = file.metadata()?.len();
        // The next line would be joined to the beginning of this one.
        file.write_all(&bytes).inspect_err(|_| drop(file.set_len(length)))
    };
    file.and_then(append).map_err(|source| FileError::Write { path: path.into(), source })
}

/// Removes a file; that it is gone already is success.
pub(super) fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(FileError::Remove { path: path.into(), source })
        }
        _ => Ok(()),
    }
}

/// Reads a file that may be absent and gives its bytes to `parse`. What cannot be read or parsed
/// is moved to the quarantine and counts as absent.
pub(super) fn read<T>(
    path: &Path,
    quarantine: &Quarantine,
    parse: impl FnOnce(Vec<u8>) -> Result<T, String>,
) -> Result<Option<T>, FileError> {
    Ok(read_dated(path, quarantine, parse)?.map(|(value, _)| value))
}

/// [`read`], and what the file was, for [`keep`].
pub(super) fn read_dated<T>(
    path: &Path,
    quarantine: &Quarantine,
    parse: impl FnOnce(Vec<u8>) -> Result<T, String>,
) -> Result<Option<(T, Stamp)>, FileError> {
    match read_file(path) {
        Ok((bytes, stamp)) => match parse(bytes) {
            Ok(value) => Ok(Some((value, stamp))),
            Err(why) => {
                quarantine.take(path, &why);
                Ok(None)
            }
        },
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        // The file may be good.
        Err(source) if is_passing(&source) => Err(FileError::Read { path: path.into(), source }),
        Err(source) => {
            quarantine.take(path, &source);
            Ok(None)
        }
    }
}

/// Whether an error tells of this process or this moment, not of the file.
pub(super) fn is_passing(error: &io::Error) -> bool {
    let is_of_the_process = matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::EACCES | libc::EPERM)
    );
    is_of_the_process || error.kind() == io::ErrorKind::Interrupted
}

/// What [`read`] parses: a JSON document that `check` accepts.
pub(super) fn json<T: DeserializeOwned>(
    check: impl FnOnce(&T) -> bool,
) -> impl FnOnce(Vec<u8>) -> Result<T, String> {
    |bytes| {
        let value = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
        match check(&value) {
            true => Ok(value),
            false => Err(NOT_OURS.into()),
        }
    }
}

/// A file and what it was when it was read.
pub(super) fn read_file(path: &Path) -> io::Result<(Vec<u8>, Stamp)> {
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    if metadata.len() > MAX_FILE {
        return Err(io::Error::other("larger than any file of the store"));
    }
    // What is appended meanwhile is not read: its file was whole before.
    let mut bytes = vec![0; metadata.len() as usize];
    file.read_exact(&mut bytes)?;
    Ok((bytes, Stamp::of(&metadata)))
}

/// How often it is written down that a file was read.
const READ_NOTED: Duration = Duration::from_secs(24 * 3600);

/// Makes a file that was written long ago and is used now young again, once a day.
pub(super) fn keep(path: &Path, stamp: &Stamp) {
    let now = SystemTime::now();
    if now.duration_since(stamp.modified()).is_ok_and(|age| age <= READ_NOTED) {
        return;
    }
    if let Err(error) = set_modified(path, now) {
        tracing::debug!(path = %path.display(), %error, "cannot note that a file was read");
    }
}

/// Sets a file's modification time, following no link.
pub(super) fn set_modified(path: &Path, at: SystemTime) -> io::Result<()> {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec {
            tv_sec: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: since.subsec_nanos().into(),
        },
    };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Where unreadable files go, for a person to look at.
#[derive(Debug)]
pub(super) struct Quarantine {
    dir: PathBuf,
    next: AtomicU64,
}

impl Quarantine {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir, next: AtomicU64::new(0) }
    }

    /// Moves `path` away. Names sort by time.
    pub(super) fn take(&self, path: &Path, why: &dyn Display) {
        let name = path.file_name().unwrap_or_default();
        let mut to = std::ffi::OsString::from(format!(
            "{:012}-{:06}-",
            now(),
            self.next.fetch_add(1, Ordering::Relaxed)
        ));
        to.push(name);
        let to = self.dir.join(to);
        match fs::rename(path, &to) {
            Ok(()) => tracing::warn!(
                path = %path.display(), moved_to = %to.display(), reason = %why,
                "put an unreadable file aside"
            ),
            Err(error) => tracing::warn!(
                path = %path.display(), reason = %why, %error,
                "an unreadable file could not be put aside; it is ignored"
            ),
        }
    }
}
