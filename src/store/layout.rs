//! The state directory: where things are, and whether it is ours.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::atomic::{self, Durability, TEMPORARY};
use super::error::OpenError;

/// The version of the layout. An older one would be migrated here; there is none yet.
pub(super) const FORMAT: u64 = 1;

const FORMAT_FILE: &str = "format";
const LOCK_FILE: &str = "lock";

/// The paths below one state directory.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) root: PathBuf,
    pub(super) trees: PathBuf,
    pub(super) manifests: PathBuf,
    pub(super) references: PathBuf,
    pub(super) grants: PathBuf,
    pub(super) records: PathBuf,
    pub(super) staging: PathBuf,
    pub(super) quarantine: PathBuf,
    pub(super) empty: PathBuf,
}

impl Layout {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.into(),
            trees: root.join("trees"),
            manifests: root.join("manifests"),
            references: root.join("references"),
            grants: root.join("grants"),
            records: root.join("volumes"),
            staging: root.join("staging"),
            quarantine: root.join("quarantine"),
            empty: root.join("empty"),
        }
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.root.join(LOCK_FILE)
    }

    /// Makes the root, and refuses one that is not ours before anything in it is touched.
    pub(super) fn claim(&self) -> Result<(), OpenError> {
        let prepare = |source| OpenError::Prepare { path: self.root.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&self.root).map_err(prepare)?;
        self.check_format()?;
        // Tenants' content and who may read it; pods reach it through mounts, not by this path.
        fs::set_permissions(&self.root, Permissions::from_mode(0o700)).map_err(prepare)
    }

    /// With the lock held: makes what is missing and removes what a crash left half-written.
    pub(super) fn prepare(&self) -> Result<(), OpenError> {
        if self.check_format()?.is_none() {
            let text = format!("{FORMAT}\n");
            atomic::write(&self.root, FORMAT_FILE, text.as_bytes(), Durability::Full)?;
        }
        let private = [
            &self.trees,
            &self.manifests,
            &self.references,
            &self.grants,
            &self.records,
            &self.staging,
            &self.quarantine,
        ];
        for (path, mode) in
            private.map(|path| (path, 0o700)).into_iter().chain([(&self.empty, 0o755)])
        {
            make(path, mode).map_err(|source| OpenError::Prepare { path: path.clone(), source })?;
        }
        if let Some(entry) = first_entry(&self.empty)? {
            return Err(OpenError::NotEmpty { path: self.empty.clone(), entry });
        }
        for path in [
            &self.root,
            &self.trees,
            &self.manifests,
            &self.references,
            &self.grants,
            &self.records,
        ] {
            for name in list(path)? {
                if name.to_string_lossy().starts_with(TEMPORARY) {
                    atomic::remove(&path.join(name))?;
                }
            }
        }
        Ok(())
    }

    /// What somebody has removed, or put something else in the place of, since the directory was
    /// opened. `open` are descriptors of then.
    pub(super) fn lost(&self, open: &[(BorrowedFd<'_>, &Path)]) -> Option<PathBuf> {
        let is_same = |(fd, path): &(BorrowedFd<'_>, &Path)| {
            let then = rustix::fs::fstat(fd);
            let now = fs::symlink_metadata(path);
            match (then, now) {
                (Ok(then), Ok(now)) => (then.st_dev, then.st_ino) == (now.dev(), now.ino()),
                // Whether it is there is not known.
                (_, Err(error)) => error.kind() != io::ErrorKind::NotFound,
                (Err(_), Ok(_)) => true,
            }
        };
        let replaced = open.iter().find(|open| !is_same(open)).map(|(_, path)| *path);
        let kept: [&Path; 5] =
            [&self.manifests, &self.references, &self.grants, &self.records, &self.empty];
        let is_gone = |path: &&Path| matches!(path.try_exists(), Ok(false));
        replaced.or_else(|| kept.into_iter().find(is_gone)).map(Into::into)
    }

    /// The version on disk, if it is one that is known; `None` for an empty directory.
    pub(super) fn check_format(&self) -> Result<Option<u64>, OpenError> {
        let path = self.root.join(FORMAT_FILE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return match self.foreign_entry()? {
                    None => Ok(None),
                    Some(entry) => Err(OpenError::NotAStore { path: self.root.clone(), entry }),
                };
            }
            Err(source) => return Err(OpenError::Prepare { path, source }),
        };
        let text = String::from_utf8_lossy(&bytes);
        match text.trim().parse::<u64>() {
            Ok(FORMAT) => Ok(Some(FORMAT)),
            Ok(found) if found > FORMAT => {
                Err(OpenError::FormatNewer { path, found, known: FORMAT })
            }
            _ => {
                Err(OpenError::FormatUnknown { path, text: text.trim().chars().take(40).collect() })
            }
        }
    }

    /// What a start that was cut short before it wrote `format` cannot have left.
    fn foreign_entry(&self) -> Result<Option<String>, OpenError> {
        Ok(list(&self.root)?
            .into_iter()
            .map(|name| name.to_string_lossy().into_owned())
            .find(|name| name != LOCK_FILE && name != "lost+found" && !name.starts_with(TEMPORARY)))
    }
}

fn make(path: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    if !fs::symlink_metadata(path)?.is_dir() {
        return Err(io::Error::other("not a directory"));
    }
    // Whatever the umask, and whoever made it.
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// The names in a directory, sorted.
pub(super) fn list(path: &Path) -> Result<Vec<std::ffi::OsString>, OpenError> {
    let names = || -> io::Result<Vec<_>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            names.push(entry?.file_name());
        }
        names.sort();
        Ok(names)
    };
    names().map_err(|source| OpenError::List { path: path.into(), source })
}

fn first_entry(path: &Path) -> Result<Option<String>, OpenError> {
    Ok(list(path)?.first().map(|name| name.to_string_lossy().into_owned()))
}
