//! What tells that a file is as it was, without reading it.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

/// The state of a file: a stat(2) that differs in none of this is one of the same content, but for
/// what was written into the same file, at the same length, within one tick of the kernel's clock.
/// A file that is replaced by a rename has another inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// When the file was written. One of before 1970 counts as of then.
    pub(crate) fn modified(&self) -> SystemTime {
        let (seconds, nanoseconds) = self.modified;
        let since = match (u64::try_from(seconds), u32::try_from(nanoseconds)) {
            (Ok(seconds), Ok(nanoseconds)) => Duration::new(seconds, nanoseconds),
            _ => Duration::ZERO,
        };
        SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_stamp_tells_files_apart_and_times_as_the_file_system_does() {
        let directory = tempfile::tempdir().unwrap();
        let (file, other) = (directory.path().join("a"), directory.path().join("b"));
        fs::write(&file, "1").unwrap();
        fs::write(&other, "2").unwrap();
        let stamp = || Stamp::of(&fs::metadata(&file).unwrap());
        let first = stamp();
        assert_eq!(first, stamp());
        assert_eq!(first.modified(), fs::metadata(&file).unwrap().modified().unwrap());
        fs::rename(&other, &file).unwrap();
        assert_ne!(first, stamp());
    }
}
