//! What is remembered of artifacts that nobody asks for any more goes: manifests, references and
//! grants, which are small but would grow without end.
//!
//! A file is old if it was neither written nor read for the retention; reading is noted once a
//! day. What a volume's record leads to is never old.

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
    let sweep = Sweep { shared, writing, retention, now, kept: kept(shared)? };
    let layout = &shared.layout;
    let kept: HashSet<OsString> =
        sweep.kept.iter().map(|digest| manifests::file_name(digest).into()).collect();
    let mut dropped = sweep.drop(&layout.manifests, |path| {
        let is_kept = path.file_name().is_some_and(|name| kept.contains(name));
        Ok(!is_kept && sweep.is_old(path))
    })?;
    dropped += sweep.drop(&layout.references, |path| {
        let Some(digest) = references::digest_of(shared, path)? else { return Ok(false) };
        let is_kept = sweep.kept.contains(&digest);
        Ok(!sweep.has_manifest(&digest) || (!is_kept && sweep.is_old(path)))
    })?;
    let trees: HashSet<_> = shared.index.keys().iter().map(|key| grants::of_tree(key)).collect();
    dropped += sweep.drop(&layout.grants, |path| {
        let Some(digest) = grants::digest_of(shared, path)? else { return Ok(false) };
        if sweep.has_manifest(&digest) {
            return Ok(!sweep.kept.contains(&digest) && sweep.is_old(path));
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

    fn is_old(&self, path: &Path) -> bool {
        let written = std::fs::metadata(path).and_then(|metadata| metadata.modified());
        written.is_ok_and(|at| self.now.duration_since(at).is_ok_and(|age| age > self.retention))
    }

    fn has_manifest(&self, digest: &Digest) -> bool {
        // One that cannot be looked at counts as there.
        let path = self.shared.layout.manifests.join(manifests::file_name(digest));
        path.try_exists().unwrap_or(true)
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
