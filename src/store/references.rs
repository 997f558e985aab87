//! What references resolved to, last time.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::atomic::{self, Durability, now};
use super::error::FileError;
use super::trees::Shared;
use crate::reference::{Digest, Reference};

const VERSION: u32 = 1;

/// What a reference resolved to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferenceRecord {
    /// The digest.
    pub digest: Digest,
    /// When, in seconds since 1970.
    pub resolved_at: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Document {
    version: u32,
    reference: Reference,
    digest: Digest,
    resolved_at: u64,
}

pub(super) fn file_name(reference: &Reference) -> String {
    format!("{}.json", Digest::sha256(reference.to_string().as_bytes()).hex())
}

pub(super) fn put(
    shared: &Shared,
    reference: &Reference,
    digest: &Digest,
) -> Result<(), FileError> {
    let document = Document {
        version: VERSION,
        reference: reference.clone(),
        digest: digest.clone(),
        resolved_at: now(),
    };
    let (directory, name) = (&shared.layout.references, file_name(reference));
    let written = atomic::write_json(directory, &name, &document, Durability::Cached);
    shared.references.forget(&directory.join(name));
    written
}

pub(super) fn get(
    shared: &Shared,
    reference: &Reference,
) -> Result<Option<ReferenceRecord>, FileError> {
    let path = shared.layout.references.join(file_name(reference));
    // Compared as texts: `x` and `x:latest` are one reference.
    let text = reference.to_string();
    let is_ours = |d: &Document| d.version == VERSION && d.reference.to_string() == text;
    let found = shared.references.read(&path, &shared.quarantine, atomic::json(is_ours))?;
    Ok(found.map(|(document, stamp)| {
        atomic::keep(&path, &stamp);
        let Document { digest, resolved_at, .. } = &*document;
        ReferenceRecord { digest: digest.clone(), resolved_at: *resolved_at }
    }))
}

/// What a file's reference resolved to.
pub(super) fn digest_of(shared: &Shared, path: &Path) -> Result<Option<Digest>, FileError> {
    let is_ours = |d: &Document| d.version == VERSION;
    let found = atomic::read(path, &shared.quarantine, atomic::json(is_ours))?;
    Ok(found.map(|document| document.digest))
}
