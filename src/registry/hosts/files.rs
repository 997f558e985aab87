//! Files that are read at each pull, but only if they changed.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::error::HostsError;
use crate::stamp::Stamp;

/// The longest file that is read, in bytes.
pub(super) const MAX_FILE: u64 = 1 << 20;

/// The most files of one directory that are looked at.
const MAX_ENTRIES: usize = 256;

/// How many results are kept.
const MAX_KEPT: usize = 64;

/// A file that changed more lately than this may change again within the same tick of the clock,
/// with the same length: what it says is not kept.
const SETTLED: Duration = Duration::from_secs(2);

/// Reads files and remembers which, and which were not there.
#[derive(Debug, Default)]
pub(super) struct Reader {
    seen: Vec<(PathBuf, Option<Stamp>)>,
    unsettled: bool,
}

impl Reader {
    /// The file or directory, if it is there. Links are followed: Kubernetes makes them.
    fn look(&mut self, path: &Path) -> Result<Option<Metadata>, HostsError> {
        let found = metadata(path)?;
        if let Some(modified) = found.as_ref().and_then(|found| found.modified().ok()) {
            let age = SystemTime::now().duration_since(modified);
            self.unsettled |= age.is_ok_and(|age| age < SETTLED);
        }
        self.seen.push((path.into(), found.as_ref().map(Stamp::of)));
        Ok(found)
    }

    pub(super) fn exists(&mut self, path: &Path) -> Result<bool, HostsError> {
        Ok(self.look(path)?.is_some())
    }

    /// What the file holds, if it is there.
    pub(super) fn read(&mut self, path: &Path) -> Result<Option<Vec<u8>>, HostsError> {
        let failed = |source| HostsError::Read { path: path.into(), source };
        // Before it is opened: a pipe would block, and no device is a configuration.
        match self.look(path)? {
            None => return Ok(None),
            Some(found) if !found.is_file() => {
                return Err(failed(io::Error::other("it is not a regular file")));
            }
            Some(_) => {}
        }
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(failed)?;
        file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(HostsError::TooLarge { path: path.into(), limit: MAX_FILE });
        }
        Ok(Some(bytes))
    }

    /// A file that another one names, so that it must be there.
    pub(super) fn read_named(&mut self, path: &Path) -> Result<Vec<u8>, HostsError> {
        let absent = || io::Error::from(io::ErrorKind::NotFound);
        let found = self.read(path)?;
        found.ok_or_else(|| HostsError::Read { path: path.into(), source: absent() })
    }

    /// The files in a directory whose names end so, sorted; none if there is no directory.
    pub(super) fn list(
        &mut self,
        directory: &Path,
        endings: &[&str],
    ) -> Result<Vec<PathBuf>, HostsError> {
        let failed = |source| HostsError::Read { path: directory.into(), source };
        if !self.look(directory)?.is_some_and(|found| found.is_dir()) {
            return Ok(Vec::new());
        }
        let mut paths = Vec::new();
        for entry in fs::read_dir(directory).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            if endings.iter().any(|ending| name.to_string_lossy().ends_with(ending)) {
                paths.push(directory.join(name));
            }
            if paths.len() > MAX_ENTRIES {
                return Err(failed(io::Error::other("it has more than 256 such files")));
            }
        }
        paths.sort();
        Ok(paths)
    }
}

fn metadata(path: &Path) -> Result<Option<Metadata>, HostsError> {
    match fs::metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(source) => Err(HostsError::Read { path: path.into(), source }),
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// What was made of files, as long as they are what they were.
#[derive(Debug)]
pub(super) struct Kept<T>(Mutex<HashMap<String, Entry<T>>>);

#[derive(Debug)]
struct Entry<T> {
    seen: Vec<(PathBuf, Option<Stamp>)>,
    made: Arc<T>,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Kept<T> {
    /// What `make` makes of the files that it reads for `key`; or what it made before, if all of
    /// those are unchanged, which costs a look at each.
    pub(super) fn get(
        &self,
        key: &str,
        make: impl FnOnce(&mut Reader) -> Result<T, HostsError>,
    ) -> Result<Arc<T>, HostsError> {
        let kept = {
            let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            entries.get(key).map(|entry| (entry.seen.clone(), entry.made.clone()))
        };
        if let Some((seen, made)) = kept {
            let same = |(path, stamp): &(PathBuf, Option<Stamp>)| {
                metadata(path).is_ok_and(|found| found.as_ref().map(Stamp::of) == *stamp)
            };
            if seen.iter().all(same) {
                return Ok(made);
            }
        }
        let mut reader = Reader::default();
        let made = Arc::new(make(&mut reader)?);
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= MAX_KEPT {
            entries.clear();
        }
        if reader.unsettled {
            entries.remove(key);
        } else {
            let entry = Entry { seen: reader.seen, made: made.clone() };
            entries.insert(key.into(), entry);
        }
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn settle(path: &Path) {
        let before = SystemTime::now() - Duration::from_secs(3600);
        File::open(path).unwrap().set_modified(before).unwrap();
    }

    #[test]
    fn files_are_read_again_only_if_they_changed() {
        let root = tempfile::tempdir().unwrap();
        let (file, absent) = (root.path().join("a"), root.path().join("b"));
        let (kept, reads) = (Kept::default(), Cell::new(0));
        let get = || {
            let made = kept.get("key", |reader| {
                reads.set(reads.get() + 1);
                let missing = !reader.exists(&absent)?;
                Ok((reader.read(&file)?, missing))
            });
            ((*made.unwrap()).clone(), reads.get())
        };
        fs::write(&file, "one").unwrap();
        assert_eq!(get(), ((Some(b"one".to_vec()), true), 1));
        assert_eq!(get().1, 2, "it may change again in the same instant");
        settle(&file);
        assert_eq!((get().1, get().1, get().1), (3, 3, 3));
        fs::write(&file, "two").unwrap();
        settle(&file);
        assert_eq!(get(), ((Some(b"two".to_vec()), true), 4));
        fs::write(&absent, "").unwrap();
        settle(&absent);
        assert_eq!(get(), ((Some(b"two".to_vec()), false), 5));
        fs::remove_file(&file).unwrap();
        assert_eq!(get(), ((None, false), 6));
    }

    #[test]
    fn what_is_no_file_or_too_long_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let mut reader = Reader::default();
        let error = reader.read(root.path()).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot read {:?}", root.path()));
        let long = root.path().join("long");
        fs::write(&long, vec![b'#'; MAX_FILE as usize + 1]).unwrap();
        let error = reader.read(&long).unwrap_err();
        assert_eq!(error.to_string(), format!("{long:?} has more than 1048576 bytes"));
        let error = reader.read_named(&root.path().join("none")).unwrap_err();
        assert!(matches!(error, HostsError::Read { .. }));
    }
}
