//! What is remembered of artifacts that nobody asks for any more goes: manifests, references and
//! grants, which are small but would grow without end.
//!
//! A file is old if it was neither written nor read for the retention; reading is noted once a
//! day. Of more files than [`MAX_REMEMBERED`] of a kind the oldest count as old, too: tags that move
//! all the time would fill the disk's inodes sooner. What a volume's record leads to is never old.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::Path;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use super::error::FileError;
use super::trees::Shared;
use super::{atomic, grants, manifests, records, references};
use crate::artifact::document::Document;
use crate::reference::Digest;

/// How many manifests, references and grants there may be, of each.
const MAX_REMEMBERED: usize = 10_000;

/// Drops what is older than `retention` at `now`, and what is of no use without what was dropped.
/// How many files.
///
/// `writing` is held for reading by whoever writes such a file; here each is looked at again and
/// removed with nobody writing, so that nothing new is taken for old.
pub(super) fn sweep(
    shared: &Shared,
    writing: &RwLock<()>,
    retention: Duration,
    now: SystemTime,
) -> Result<u64, FileError> {
    sweep_to(shared, writing, retention, MAX_REMEMBERED, now)
}

/// The same with another number.
pub(super) fn sweep_to(
    shared: &Shared,
    writing: &RwLock<()>,
    retention: Duration,
    most: usize,
    now: SystemTime,
) -> Result<u64, FileError> {
    let sweep = Sweep { shared, writing, retention, most, now, kept: kept(shared)? };
    let layout = &shared.layout;
    let kept: HashSet<OsString> =
        sweep.kept.iter().map(|digest| manifests::file_name(digest).into()).collect();
    let old = sweep.old(&layout.manifests)?;
    let mut dropped = sweep.drop(&layout.manifests, |path| {
        let is_kept = path.file_name().is_some_and(|name| kept.contains(name));
        Ok(!is_kept && old.has(path))
    })?;
    let old = sweep.old(&layout.references)?;
    dropped += sweep.drop(&layout.references, |path| {
        let Some(digest) = references::digest_of(shared, path)? else { return Ok(false) };
        let is_kept = sweep.kept.contains(&digest);
        Ok(!sweep.has_manifest(&digest) || (!is_kept && old.has(path)))
    })?;
    let old = sweep.old(&layout.grants)?;
    let trees: HashSet<_> = shared.index.keys().iter().map(|key| grants::of_tree(key)).collect();
    dropped += sweep.drop(&layout.grants, |path| {
        let Some(digest) = grants::digest_of(shared, path)? else { return Ok(false) };
        if sweep.has_manifest(&digest) {
            return Ok(!sweep.kept.contains(&digest) && old.has(path));
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
    most: usize,
    now: SystemTime,
    /// The digests of what volumes show, and of what that names.
    kept: HashSet<Digest>,
}

impl Sweep<'_> {
    fn drop(
        &self,
        dir: &Path,
        is_useless: impl Fn(&Path) -> Result<bool, FileError>,
    ) -> Result<u64, FileError> {
        let failed = |source| FileError::Read { path: dir.into(), source };
        let mut dropped = 0;
        for entry in std::fs::read_dir(dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            // One that is being written, or will be removed by the next open.
            if entry.file_name().to_string_lossy().starts_with('.') || !is_useless(&entry.path())? {
                continue;
            }
            let _nobody_writes = self.writing.write().unwrap_or_else(PoisonError::into_inner);
            if is_useless(&entry.path())? {
                tracing::debug!(path = %entry.path().display(), "dropped what is of no use");
                atomic::remove(&entry.path())?;
                dropped += 1;
            }
        }
        Ok(dropped)
    }

    /// Which files of a directory are old.
    fn old(&self, dir: &Path) -> Result<Old, FileError> {
        let failed = |source| FileError::Read { path: dir.into(), source };
        let mut written = Vec::new();
        for entry in std::fs::read_dir(dir).map_err(failed)? {
            // What cannot be looked at is not old.
            written.extend(entry.map_err(failed)?.metadata().and_then(|found| found.modified()));
        }
        written.sort_unstable();
        let excess = written.len().saturating_sub(self.most);
        let limit = self.now.checked_sub(self.retention).unwrap_or(SystemTime::UNIX_EPOCH);
        // The oldest that stays.
        let first = written.get(excess).filter(|_| excess > 0);
        Ok(Old { before: first.map_or(limit, |first| limit.max(*first)) })
    }

    fn has_manifest(&self, digest: &Digest) -> bool {
        // One that cannot be looked at counts as there.
        let path = self.shared.layout.manifests.join(manifests::file_name(digest));
        path.try_exists().unwrap_or(true)
    }
}

/// What was written or read last before a time is old.
struct Old {
    before: SystemTime,
}

impl Old {
    fn has(&self, path: &Path) -> bool {
        let written = std::fs::metadata(path).and_then(|metadata| metadata.modified());
        written.is_ok_and(|at| at < self.before)
    }
}

fn kept(shared: &Shared) -> Result<HashSet<Digest>, FileError> {
    let mut kept = HashSet::new();
    let records = records::list(shared)?;
    let mut left: Vec<Digest> =
        records.into_iter().flat_map(|r| r.references).map(|found| found.digest).collect();
    while let Some(digest) = left.pop() {
        if !kept.insert(digest.clone()) {
            continue;
        }
        let body = manifests::get(shared, &digest)?;
        match body.and_then(|body| Document::parse(&body, None).ok()) {
            Some(Document::Index(index)) => {
                left.extend(index.manifests.into_iter().map(|m| m.digest))
            }
            Some(Document::Manifest(manifest)) => left.extend(manifest.config.map(|c| c.digest)),
            None => {}
        }
    }
    Ok(kept)
}
