//! Manifest bodies by digest.

use super::atomic::{self, Durability};
use super::error::FileError;
use super::trees::Shared;
use crate::reference::{Digest, Hasher};
use crate::stamp::Stamp;

pub(super) fn file_name(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm().name(), digest.hex())
}

pub(super) fn put(shared: &Shared, digest: &Digest, body: &[u8]) -> Result<(), FileError> {
    atomic::write(&shared.layout.manifests, &file_name(digest), body, Durability::Cached)
}

/// Verified, so that neither a bit flip nor a half-written file passes for content.
pub(super) fn get(shared: &Shared, digest: &Digest) -> Result<Option<Vec<u8>>, FileError> {
    Ok(read(shared, digest)?.map(|(body, _)| body))
}

/// [`get`], and what the file was.
pub(super) fn read(
    shared: &Shared,
    digest: &Digest,
) -> Result<Option<(Vec<u8>, Stamp)>, FileError> {
    let path = shared.layout.manifests.join(file_name(digest));
    let found = atomic::read_dated(&path, &shared.quarantine, |body| {
        let mut hasher = Hasher::new(digest.algorithm());
        hasher.update(&body);
        match hasher.finish() == *digest {
            true => Ok(body),
            false => Err("its content does not have the digest of its name".into()),
        }
    })?;
    if let Some((_, stamp)) = &found {
        atomic::keep(&path, stamp);
    }
    Ok(found)
}

/// Whether a body's file is what it was when it was read: so are its bytes then.
pub(super) fn is_as_read(shared: &Shared, digest: &Digest, stamp: &Stamp) -> bool {
    let path = shared.layout.manifests.join(file_name(digest));
    let same = std::fs::symlink_metadata(&path).is_ok_and(|found| Stamp::of(&found) == *stamp);
    if same {
        atomic::keep(&path, stamp);
    }
    same
}
