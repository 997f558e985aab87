//! What an open does to the small things of a state directory.

use std::ffi::OsStr;
use std::os::fd::AsFd;

use super::atomic::{self, Durability};
use super::error::OpenError;
use super::layout;
use super::remove::remove_tree;
use super::trees::Shared;
use crate::credentials::Salt;

const SALT_FILE: &str = "salt";

/// How many unreadable files are kept for people to look at.
pub(super) const MAX_QUARANTINE: usize = 100;

/// Reads the salt or draws a new one. A lost salt only makes grants worthless.
pub(super) fn salt(shared: &Shared) -> Result<Salt, OpenError> {
    let root = &shared.layout.root;
    let read = atomic::read(&root.join(SALT_FILE), &shared.quarantine, |bytes| {
        <[u8; 32]>::try_from(bytes).map_err(|_| "it does not have 32 bytes".to_owned())
    })?;
    if let Some(bytes) = read {
        return Ok(Salt::new(&bytes));
    }
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| OpenError::Random)?;
    atomic::write(root, SALT_FILE, &bytes, Durability::Full)?;
    Ok(Salt::new(&bytes))
}

/// What cannot be removed stays, and its number is not used again.
pub(super) fn empty_staging(shared: &Shared) -> Result<(), OpenError> {
    for name in layout::list(&shared.layout.staging)? {
        if let Err(error) = remove_tree(shared.staging_fd.as_fd(), &name) {
            tracing::warn!(staging = ?name, %error, "cannot remove an old staging directory");
        }
    }
    Ok(())
}

/// Removes the oldest unreadable files.
pub(super) fn prune_quarantine(shared: &Shared) -> Result<(), OpenError> {
    let path = &shared.layout.quarantine;
    let names = layout::list(path)?;
    let dir = std::fs::File::open(path)
        .map_err(|source| OpenError::List { path: path.clone(), source })?;
    for name in names.iter().take(names.len().saturating_sub(MAX_QUARANTINE)) {
        if let Err(error) = remove_tree(dir.as_fd(), OsStr::new(name)) {
            tracing::warn!(?name, %error, "cannot remove a file from the quarantine");
        }
    }
    Ok(())
}
