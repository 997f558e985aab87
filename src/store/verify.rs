//! Whether the files of a stored tree are still what they were, and what becomes of one whose files
//! are not.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError};

use rustix::fs::fsync;

use super::atomic::{self, is_passing};
use super::durable::Description;
use super::error::OpenError;
use super::gc::{self, DiscardError};
use super::layout::{self, Layout};
use super::records;
use super::sums::{self, Damage, DamageKind, Pace};
use super::trees::{Shared, StoredTree, TreeInfo, is_key};
use crate::observability::chain;
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
pub(super) fn keys(layout: &Layout) -> Result<Vec<String>, OpenError> {
    let key = |name: OsString| {
        let name = name.into_string().ok()?;
        Some(name.strip_suffix(".json").filter(|key| is_key(key))?.to_owned())
    };
    Ok(layout::list(&layout.trees)?.into_iter().filter_map(key).collect())
}

/// Reads all files of a tree. It may be removed meanwhile, by this process or another.
pub(super) fn verify(layout: &Layout, key: &str, pace: Pace<'_>) -> Result<Verdict, VerifyError> {
    let path = layout.trees.join(format!("{key}.json"));
    let described = match part(&path)? {
        Part::Bytes(described) => described,
        Part::Missing => return Ok(Verdict::Gone),
        Part::Unreadable(why) => return Ok(damaged(format!("{key}.json"), why)),
    };
    let verdict = compare(layout, key, &described, pace)?;
    // What went meanwhile, or was made anew, is not damaged.
    let is_same = |part| matches!(part, Part::Bytes(now) if now == described);
    match verdict {
        Verdict::Damaged(_) if !is_same(part(&path)?) => Ok(Verdict::Gone),
        verdict => Ok(verdict),
    }
}

/// A file of the store that belongs to a tree.
enum Part {
    Bytes(Vec<u8>),
    Missing,
    /// And will not be read another time either.
    Unreadable(DamageKind),
}

fn part(path: &Path) -> Result<Part, VerifyError> {
    match atomic::read_file(path) {
        Ok((bytes, _)) => Ok(Part::Bytes(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Part::Missing),
        Err(source) if is_passing(&source) => Err(VerifyError::Read { path: path.into(), source }),
        Err(error) => Ok(Part::Unreadable(DamageKind::Unreadable(error.to_string()))),
    }
}

fn damaged(path: String, kind: DamageKind) -> Verdict {
    Verdict::Damaged(vec![Damage { path, kind }])
}

fn compare(
    layout: &Layout,
    key: &str,
    described: &[u8],
    pace: Pace<'_>,
) -> Result<Verdict, VerifyError> {
    let Ok(description) = serde_json::from_slice::<Description<TreeInfo>>(described) else {
        return Ok(damaged(format!("{key}.json"), DamageKind::Bytes));
    };
    let Some(digest) = description.sums else { return Ok(Verdict::Unlisted) };
    let name = sums::file_name(key);
    let list = match part(&layout.trees.join(&name))? {
        Part::Bytes(list) if Digest::sha256(&list) == digest => list,
        Part::Bytes(_) => return Ok(damaged(name, DamageKind::Bytes)),
        Part::Missing => return Ok(damaged(name, DamageKind::Missing)),
        Part::Unreadable(why) => return Ok(damaged(name, why)),
    };
    let path = layout.trees.join(key);
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::Interrupted => Err(VerifyError::Stopped),
        _ if is_passing(&source) => Err(VerifyError::Read { path: path.clone(), source }),
        io::ErrorKind::NotFound => Ok(damaged(".".into(), DamageKind::Missing)),
        _ => Ok(damaged(".".into(), DamageKind::Unreadable(source.to_string()))),
    };
    let dir = match File::open(&path) {
        Ok(dir) => dir,
        Err(source) => return failed(source),
    };
    match sums::compare(dir.as_fd(), &String::from_utf8_lossy(&list), pace) {
        Ok(Some(damages)) if damages.is_empty() => Ok(Verdict::Whole),
        Ok(Some(damages)) => Ok(Verdict::Damaged(damages)),
        Ok(None) => Ok(damaged(name, DamageKind::Bytes)),
        Err(source) => failed(source),
    }
}

/// Takes a damaged tree out of the store, so that it is pulled again. The files of one that is in
/// use stay below its mounts, by another name, until the last of its volumes is gone. Whether it was
/// in use; nothing if it is not in the store any more.
pub(super) fn condemn(
    shared: &Shared,
    next: &AtomicU64,
    tree: Arc<StoredTree>,
) -> Result<Option<bool>, DiscardError> {
    let key = tree.info.key.clone();
    let path = || shared.layout.trees.join(&key);
    let failed = |source| DiscardError::Move { path: path(), source };
    let (in_use, removal) = {
        let _guard = shared.commit.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(in_use) = shared.index.condemn(&tree) else { return Ok(None) };
        if in_use {
            // First: where there is no description, a directory of that name counts as a leftover.
            match shared.put_aside(&key) {
                Ok(name) => shared.index.put_aside(&key, name),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => {
                    shared.index.insert(tree);
                    return Err(failed(source));
                }
            }
        }
        if let Err(error) = gc::forget(shared, &key) {
            if !in_use {
                shared.index.insert(tree);
            }
            return Err(error.into());
        }
        note(shared, &key);
        // Its directory may be what is missing.
        let is_there = !in_use && path().exists();
        (in_use, is_there.then(|| gc::move_away(shared, next, &key)).transpose()?)
    };
    match removal {
        Some(removal) => removal.finish(shared, &key)?,
        None => fsync(&shared.trees_fd).map_err(|errno| failed(errno.into()))?,
    }
    Ok(Some(in_use))
}

/// Writes it down for the next start. What cannot be written is known until then.
fn note(shared: &Shared, key: &str) {
    for volume_id in shared.index.showing(key) {
        // It may have been published anew meanwhile.
        if shared.index.damaged(&volume_id).as_deref() != Some(key) {
            continue;
        }
        if let Err(error) = records::damaged(shared, &volume_id, key) {
            let error = chain(&error);
            tracing::warn!(volume_id, tree = key, error, "cannot note that files are damaged");
        }
    }
}
