//! What small files say, so that a file that is as it was need not be read again. The disk stays the
//! truth: each look at a file is one stat(2).

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::atomic::{self, Quarantine};
use super::error::FileError;
use crate::stamp::Stamp;

/// How many files are remembered: those of a node's pods, several times over. The largest are grants,
/// of 7 KiB at most.
const MOST: usize = 1024;

/// Files of one kind, and what they say.
#[derive(Debug)]
pub(super) struct Memory<T>(Mutex<HashMap<PathBuf, (Stamp, Arc<T>)>>);

impl<T> Default for Memory<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Memory<T> {
    /// [`atomic::read_dated`], or what it gave before if the file is as it was then.
    pub(super) fn read(
        &self,
        path: &Path,
        quarantine: &Quarantine,
        parse: impl FnOnce(Vec<u8>) -> Result<T, String>,
    ) -> Result<Option<(Arc<T>, Stamp)>, FileError> {
        match std::fs::symlink_metadata(path) {
            Ok(found) => {
                let files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                let known = files.get(path).filter(|(stamp, _)| *stamp == Stamp::of(&found));
                if let Some((stamp, value)) = known {
                    return Ok(Some((value.clone(), stamp.clone())));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.forget(path);
                return Ok(None);
            }
            // Reading it tells what this means.
            Err(_) => {}
        }
        let Some((value, stamp)) = atomic::read_dated(path, quarantine, parse)? else {
            self.forget(path);
            return Ok(None);
        };
        let value = Arc::new(value);
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if files.len() >= MOST {
            files.clear();
        }
        files.insert(path.into(), (stamp.clone(), value.clone()));
        Ok(Some((value, stamp)))
    }

    /// To be called by whoever writes a file, when it is written.
    pub(super) fn forget(&self, path: &Path) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::fs;

    #[test]
    fn a_file_is_read_again_only_if_it_is_another() {
        let directory = tempfile::tempdir().unwrap();
        let (path, other) = (directory.path().join("a"), directory.path().join("b"));
        let quarantine = Quarantine::new(directory.path().join("quarantine"));
        fs::create_dir(directory.path().join("quarantine")).unwrap();
        let (memory, reads) = (Memory::default(), Cell::new(0));
        let read = || {
            let parse = |bytes: Vec<u8>| {
                reads.set(reads.get() + 1);
                String::from_utf8(bytes).map_err(|error| error.to_string())
            };
            let found = memory.read(&path, &quarantine, parse).unwrap();
            (found.map(|(value, _)| value.to_string()), reads.get())
        };
        assert_eq!(read(), (None, 0));
        fs::write(&path, "one").unwrap();
        assert_eq!(read(), (Some("one".into()), 1));
        assert_eq!(read(), (Some("one".into()), 1));
        fs::write(&other, "two").unwrap();
        fs::rename(&other, &path).unwrap();
        assert_eq!(read(), (Some("two".into()), 2));
        memory.forget(&path);
        assert_eq!(read(), (Some("two".into()), 3));
        fs::remove_file(&path).unwrap();
        assert_eq!(read(), (None, 3));
        // What cannot be understood is put aside, however often it was understood before.
        fs::write(&path, [0xff]).unwrap();
        assert_eq!(read(), (None, 4));
        assert!(!path.exists());
        assert_eq!(fs::read_dir(directory.path().join("quarantine")).unwrap().count(), 1);
    }

    #[test]
    fn no_more_files_are_remembered_than_there_is_room_for() {
        let directory = tempfile::tempdir().unwrap();
        let quarantine = Quarantine::new(directory.path().into());
        let memory = Memory::default();
        for number in 0..=MOST {
            let path = directory.path().join(number.to_string());
            fs::write(&path, "").unwrap();
            memory.read(&path, &quarantine, Ok).unwrap().unwrap();
            assert!(memory.0.lock().unwrap().len() <= MOST);
        }
    }
}
