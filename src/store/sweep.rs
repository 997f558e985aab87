//! What is remembered of artifacts that nobody asks for any more goes: manifests, references and
//! grants, which are small but would grow without end.
//!
//! A file is old if it was neither written nor read for the retention; reading is noted once a
//! day. What a volume's record leads to is never old. And of each kind only so many stay, the
//! youngest: who may name references could otherwise fill the disk with them in less time than the
//! retention. Then only what volumes asked for themselves is spared, not what leads to the same.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::Path;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use super::error::FileError;
use super::trees::Shared;
use super::{atomic, grants, manifests, records, references};
use crate::artifact::document::Document;
use crate::reference::{Digest, Repository};

/// How much of one kind is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Most {
    pub(super) files: usize,
    pub(super) bytes: u64,
}

impl Default for Most {
    /// Of some hundred pods, with some skills each, many generations.
    fn default() -> Self {
        Self { files: 10_000, bytes: 256 << 20 }
    }
}

/// Drops what is older than `retention` at `now`, and what is of no use without what was dropped.
/// How many files.
///
/// `writing` is held for reading by whoever writes such a file; here each is looked at again and
/// removed with nobody writing, so that nothing new is taken for old.
pub(super) fn sweep(
    shared: &Shared,
    writing: &RwLock<()>,
    (retention, most): (Duration, Most),
    now: SystemTime,
) -> Result<u64, FileError> {
    let sweep = Sweep { shared, writing, retention, most, now, kept: Kept::of(shared)? };
    let layout = &shared.layout;
    let mut dropped = sweep.drop(&layout.manifests, |path, excess| {
        Ok(!sweep.kept.asks_for(path) && (excess || sweep.is_old(path)))
    })?;
    dropped += sweep.drop(&layout.references, |path, excess| {
        let Some(digest) = references::digest_of(shared, path)? else { return Ok(false) };
        let is_kept = sweep.kept.digests.contains(&digest);
        Ok(!sweep.has_manifest(&digest)
            || (excess && !sweep.kept.asks_for(path))
            || (!is_kept && sweep.is_old(path)))
    })?;
    let trees: HashSet<_> = shared.index.keys().iter().map(|key| grants::of_tree(key)).collect();
    dropped += sweep.drop(&layout.grants, |path, excess| {
        let Some(digest) = grants::digest_of(shared, path)? else { return Ok(false) };
        if excess && !sweep.kept.asks_for(path) {
            return Ok(true);
        }
        if sweep.has_manifest(&digest) {
            return Ok(!sweep.kept.digests.contains(&digest) && sweep.is_old(path));
        }
        // A tree's goes with it. One that has come since is looked for by its key.
        Ok(!trees.contains(&digest)
            && !shared.index.keys().iter().any(|key| grants::of_tree(key) == digest))
    })?;
    Ok(dropped)
}

struct Sweep<'a> {
    shared: &'a Shared,
    writing: &'a RwLock<()>,
    retention: Duration,
    most: Most,
    now: SystemTime,
    kept: Kept,
}

impl Sweep<'_> {
    fn drop(
        &self,
        dir: &Path,
        is_useless: impl Fn(&Path, bool) -> Result<bool, FileError>,
    ) -> Result<u64, FileError> {
        let failed = |source| FileError::Read { path: dir.into(), source };
        let mut files = Vec::new();
        for entry in std::fs::read_dir(dir).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let is_new =
                path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            // One that is being written, or will be removed by the next open; one that has gone.
            let Some((at, length)) = written(&path).filter(|_| !is_new) else { continue };
            files.push((at, length, path));
        }
        files.sort_by(|a, b| b.cmp(a));
        let (mut bytes, mut dropped) = (0_u64, 0);
        for (index, (at, length, path)) in files.into_iter().enumerate() {
            bytes = bytes.saturating_add(length);
            // What has been written or read since is young.
            let excess = || {
                let exceeds = index >= self.most.files || bytes > self.most.bytes;
                exceeds && written(&path).is_none_or(|(now, _)| now == at)
            };
            if !is_useless(&path, excess())? {
                continue;
            }
            let _nobody_writes = self.writing.write().unwrap_or_else(PoisonError::into_inner);
            if is_useless(&path, excess())? {
                tracing::debug!(path = %path.display(), "dropped what is of no use");
                atomic::remove(&path)?;
                dropped += 1;
            }
        }
        Ok(dropped)
    }

    fn is_old(&self, path: &Path) -> bool {
        let age = |at| self.now.duration_since(at).is_ok_and(|age| age > self.retention);
        written(path).is_some_and(|(at, _)| age(at))
    }

    fn has_manifest(&self, digest: &Digest) -> bool {
        // One that cannot be looked at counts as there.
        let path = self.shared.layout.manifests.join(manifests::file_name(digest));
        path.try_exists().unwrap_or(true)
    }
}

/// When a file was written or read, and its length; nothing if it has gone.
fn written(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// What volumes depend on.
#[derive(Default)]
struct Kept {
    /// The digests of what they show, and of what that names.
    digests: HashSet<Digest>,
    /// The files' names of these manifests, and of the references and grants by which they came.
    files: HashSet<OsString>,
}

impl Kept {
    fn of(shared: &Shared) -> Result<Self, FileError> {
        let mut kept = Self::default();
        for record in records::list(shared)? {
            for found in &record.references {
                let repository = found.reference.repository();
                kept.files.insert(references::file_name(&found.reference).into());
                let trees = record.trees.iter().map(|key| grants::of_tree(key));
                kept.files.extend(trees.map(|tree| grants::file_name(repository, &tree).into()));
                kept.follow(shared, repository, &found.digest)?;
            }
        }
        Ok(kept)
    }

    /// What a manifest leads to.
    fn follow(
        &mut self,
        shared: &Shared,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<(), FileError> {
        let mut left = vec![digest.clone()];
        while let Some(digest) = left.pop() {
            // Of each repository once.
            if !self.files.insert(grants::file_name(repository, &digest).into()) {
                continue;
            }
            self.files.insert(manifests::file_name(&digest).into());
            let body = manifests::get(shared, &digest)?;
            match body.and_then(|body| Document::parse(&body, None).ok()) {
                Some(Document::Index(index)) => {
                    left.extend(index.manifests.into_iter().map(|m| m.digest))
                }
                Some(Document::Manifest(manifest)) => {
                    left.extend(manifest.config.map(|c| c.digest))
                }
                None => {}
            }
            self.digests.insert(digest);
        }
        Ok(())
    }

    /// Whether a file is one that a volume would ask for again, as it did.
    fn asks_for(&self, path: &Path) -> bool {
        path.file_name().is_some_and(|name| self.files.contains(name))
    }
}
