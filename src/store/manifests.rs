//! Manifest bodies by digest.

use super::atomic::{self, Durability};
use super::error::FileError;
use super::trees::Shared;
use crate::reference::{Digest, Hasher};

pub(super) fn file_name(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm().name(), digest.hex())
}

pub(super) fn put(shared: &Shared, digest: &Digest, body: &[u8]) -> Result<(), FileError> {
    atomic::write(&shared.layout.manifests, &file_name(digest), body, Durability::Cached)
}

/// Verified, so that neither a bit flip nor a half-written file passes for content.
pub(super) fn get(shared: &Shared, digest: &Digest) -> Result<Option<Vec<u8>>, FileError> {
    let path = shared.layout.manifests.join(file_name(digest));
    atomic::read_used(&path, &shared.quarantine, |body| {
        let mut hasher = Hasher::new(digest.algorithm());
        hasher.update(&body);
        match hasher.finish() == *digest {
            true => Ok(body),
            false => Err("its content does not have the digest of its name".into()),
        }
    })
}
