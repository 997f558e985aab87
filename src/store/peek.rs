//! What can be seen in a state directory without its lock: a driver may be using it.

use std::path::{Path, PathBuf};

use super::error::OpenError;
use super::layout::Layout;
use super::records::{self, Record};
use super::verify::{self, Verdict, VerifyError};

/// The records of the state directory `root`, in a stable order, and the files among them that
/// are not understood. Changes nothing and needs no lock: another process may be using it.
pub fn peek_records(root: &Path) -> Result<(Vec<Record>, Vec<PathBuf>), OpenError> {
    let layout = Layout::new(root);
    layout.check_format()?;
    records::peek(&layout.records)
        .map_err(|source| OpenError::List { path: layout.records.clone(), source })
}

/// Keys of the trees in the state directory `root`, sorted. As [`peek_records`].
pub fn peek_trees(root: &Path) -> Result<Vec<String>, OpenError> {
    let layout = Layout::new(root);
    layout.check_format()?;
    verify::keys(&layout)
}

/// [`Store::verify`](super::Store::verify) of a tree in the state directory `root`. As
/// [`peek_records`].
pub fn peek_verify(root: &Path, key: &str) -> Result<Verdict, VerifyError> {
    verify::verify(&Layout::new(root), key, &mut |_| Ok(()))
}
