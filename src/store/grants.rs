//! Grants: who has read a repository at a digest, and which trees a repository has delivered.
//!
//! Content is shared by digest, permission is not. A grant that cannot be read is no grant: its
//! loss costs one request to the registry.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::atomic::{self, Durability};
use super::error::FileError;
use super::trees::Shared;
use crate::credentials::Identity;
use crate::reference::{Digest, Repository};
use crate::stamp::Stamp;

const VERSION: u32 = 1;

/// The most identities that one grant names; kubelet's records have the same limit.
pub(super) const MAX_IDENTITIES: usize = 100;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Document {
    version: u32,
    repository: Repository,
    digest: Digest,
    /// It was read without a credential, so anybody may.
    everyone: bool,
    /// Keyed hashes of logins, oldest first.
    identities: Vec<String>,
}

/// What stands for a tree in the place of a manifest's digest. No manifest has such a body.
pub(super) fn of_tree(key: &str) -> Digest {
    Digest::sha256(format!("tree {key}").as_bytes())
}

pub(super) fn file_name(repository: &Repository, digest: &Digest) -> String {
    format!("{}.json", Digest::sha256(format!("{repository}@{digest}").as_bytes()).hex())
}

fn path(shared: &Shared, repository: &Repository, digest: &Digest) -> PathBuf {
    shared.layout.grants.join(file_name(repository, digest))
}

/// With what its file is: it was written, or last good for something, when that was modified.
fn load(
    shared: &Shared,
    repository: &Repository,
    digest: &Digest,
) -> Result<Option<(Arc<Document>, Stamp)>, FileError> {
    let is_ours = |document: &Document| {
        document.version == VERSION
            && document.repository == *repository
            && document.digest == *digest
    };
    let path = path(shared, repository, digest);
    shared.grants.read(&path, &shared.quarantine, atomic::json(is_ours))
}

/// The caller holds the lock on grants: this reads, changes and writes.
pub(super) fn add(
    shared: &Shared,
    repository: &Repository,
    digest: &Digest,
    identities: &[Identity],
) -> Result<(), FileError> {
    let new = || Document {
        version: VERSION,
        repository: repository.clone(),
        digest: digest.clone(),
        everyone: false,
        identities: Vec::new(),
    };
    let (mut document, stamp) = match load(shared, repository, digest)? {
        Some((document, stamp)) => (Arc::unwrap_or_clone(document), Some(stamp)),
        None => (new(), None),
    };
    let path = path(shared, repository, digest);
    let keep = || {
        if let Some(stamp) = &stamp {
            atomic::keep(&path, stamp);
        }
    };
    if document.everyone {
        keep();
        return Ok(());
    }
    let known = document.identities.len();
    for identity in identities {
        match identity {
            Identity::Anonymous => document.everyone = true,
            Identity::Login(hash) if document.identities.contains(hash) => {}
            Identity::Login(hash) => document.identities.push(hash.clone()),
        }
    }
    if document.everyone {
        document.identities.clear();
    } else if document.identities.len() == known {
        keep();
        return Ok(());
    }
    let excess = document.identities.len().saturating_sub(MAX_IDENTITIES);
    document.identities.drain(..excess);
    let name = file_name(repository, digest);
    let written = atomic::write_json(&shared.layout.grants, &name, &document, Durability::Cached);
    shared.grants.forget(&path);
    written
}

pub(super) fn covers(
    shared: &Shared,
    repository: &Repository,
    digest: &Digest,
    identities: &[Identity],
) -> Result<bool, FileError> {
    let Some((document, stamp)) = load(shared, repository, digest)? else {
        return Ok(false);
    };
    let is_covered = document.everyone
        || identities.iter().any(|identity| match identity {
            Identity::Anonymous => false,
            Identity::Login(hash) => document.identities.contains(hash),
        });
    // Who is refused keeps nothing.
    if is_covered {
        atomic::keep(&path(shared, repository, digest), &stamp);
    }
    Ok(is_covered)
}

/// What a file of grants is for.
pub(super) fn digest_of(shared: &Shared, path: &Path) -> Result<Option<Digest>, FileError> {
    let is_ours = |d: &Document| d.version == VERSION;
    let found = atomic::read(path, &shared.quarantine, atomic::json(is_ours))?;
    Ok(found.map(|document| document.digest))
}

pub(super) fn exists(
    shared: &Shared,
    repository: &Repository,
    digest: &Digest,
) -> Result<bool, FileError> {
    let Some((_, stamp)) = load(shared, repository, digest)? else { return Ok(false) };
    atomic::keep(&path(shared, repository, digest), &stamp);
    Ok(true)
}
