//! Whether the files of a stored tree are still what they were, and what becomes of one whose files
//! are not.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;

use super::atomic;
use super::durable::Description;
use super::gc::{self, DiscardError};
use super::layout::Layout;
use super::sums::{self, Damage, DamageKind, Pace};
use super::trees::{Shared, TreeInfo, is_key};
use crate::reference::Digest;

/// What was found about a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All its files are what they were.
    Whole,
    /// Some are not.
    Damaged(Vec<Damage>),
    /// Nobody knows what its files were: it has not come to the disk yet, or an older version made
    /// it.
    Unlisted,
    /// It is not there, or not any more.
    Gone,
}

/// A tree could not be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Its description or list cannot be read, for a reason that says nothing about them.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Whoever asked wants it no more.
    #[error("stopped while it was verified")]
    Stopped,
}

/// Keys of the trees that have a description, sorted.
pub(super) fn keys(layout: &Layout) -> io::Result<Vec<String>> {
    let mut keys = Vec::new();
    for entry in std::fs::read_dir(&layout.trees)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        keys.extend(name.strip_suffix(".json").filter(|key| is_key(key)).map(str::to_owned));
    }
    keys.sort();
    Ok(keys)
}

/// Reads all files of a tree. It may be removed meanwhile, by this process or another.
pub(super) fn verify(layout: &Layout, key: &str, pace: Pace<'_>) -> Result<Verdict, VerifyError> {
    let path = layout.trees.join(format!("{key}.json"));
    let read = || match atomic::read_file(&path) {
        Ok((bytes, _)) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(VerifyError::Read { path: path.clone(), source }),
    };
    let Some(described) = read()? else { return Ok(Verdict::Gone) };
    let verdict = compare(layout, key, &described, pace)?;
    // What went meanwhile, or was made anew, is not damaged.
    match verdict {
        Verdict::Damaged(_) if read()?.as_ref() != Some(&described) => Ok(Verdict::Gone),
        verdict => Ok(verdict),
    }
}

fn compare(
    layout: &Layout,
    key: &str,
    described: &[u8],
    pace: Pace<'_>,
) -> Result<Verdict, VerifyError> {
    let damaged = |path: String, kind| Ok(Verdict::Damaged(vec![Damage { path, kind }]));
    let Ok(description) = serde_json::from_slice::<Description<TreeInfo>>(described) else {
        return damaged(format!("{key}.json"), DamageKind::Bytes);
    };
    let Some(digest) = description.sums else { return Ok(Verdict::Unlisted) };
    let name = sums::file_name(key);
    let path = layout.trees.join(&name);
    let list = match atomic::read_file(&path) {
        Ok((list, _)) if Digest::sha256(&list) == digest => list,
        Ok(_) => return damaged(name, DamageKind::Bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return damaged(name, DamageKind::Missing);
        }
        Err(source) => return Err(VerifyError::Read { path, source }),
    };
    let path = layout.trees.join(key);
    let dir = match File::open(&path) {
        Ok(dir) => dir,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return damaged(".".into(), DamageKind::Missing);
        }
        Err(source) => return Err(VerifyError::Read { path, source }),
    };
    match sums::compare(dir.as_fd(), &String::from_utf8_lossy(&list), pace) {
        Ok(Some(damages)) if damages.is_empty() => Ok(Verdict::Whole),
        Ok(Some(damages)) => Ok(Verdict::Damaged(damages)),
        Ok(None) => damaged(name, DamageKind::Bytes),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(VerifyError::Stopped),
        Err(source) => Err(VerifyError::Read { path, source }),
    }
}

/// Takes a damaged tree out of the store, so that it is pulled again. The files of one that is in
/// use stay below its mounts, by another name, until they are unused at an open; its volumes are
/// remembered as damaged. Whether it was in use; nothing if it is not in the store.
pub(super) fn condemn(
    shared: &Shared,
    next: &AtomicU64,
    key: &str,
) -> Result<Option<bool>, DiscardError> {
    let removal = {
        let _guard = shared.commit.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((tree, in_use)) = shared.index.condemn(key) else { return Ok(None) };
        if let Err(error) = gc::forget(shared, key) {
            shared.index.insert(tree);
            return Err(error.into());
        }
        if in_use {
            let moved = shared.put_aside(key);
            let path = shared.layout.trees.join(key);
            return moved
                .map(|()| Some(true))
                .map_err(|source| DiscardError::Move { path, source });
        }
        gc::move_away(shared, next, key)?
    };
    removal.finish(shared, key)?;
    Ok(Some(false))
}
