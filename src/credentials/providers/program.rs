//! Which programs may be executed: those that the administrator has put into one directory, and
//! that nobody else can replace. They run with the driver's rights.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Write permission of group and others.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Any execute permission.
const EXECUTABLE: u32 = 0o111;

/// Why a program, or the directory, is not to be used.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It cannot be looked at.
    #[error("it cannot be inspected")]
    Inspect(#[from] io::Error),
    /// It is a link or something else that is not a file itself.
    #[error("it is not a regular file")]
    NotAFile,
    /// It is not a directory.
    #[error("it is not a directory")]
    NotADirectory,
    /// Somebody else owns it.
    #[error("it belongs to user {0}: chown it to root")]
    Owner(u32),
    /// Somebody else can change it.
    #[error("its mode is {0:03o}: its group or others can write to it (chmod go-w)")]
    Writable(u32),
    /// Nobody can execute it.
    #[error("its mode is {0:03o}: it is not executable (chmod a+x)")]
    NotExecutable(u32),
}

/// Whether only the administrator can put programs into a directory. Reads from disk.
pub(super) fn check_directory(path: &Path) -> Result<(), ProgramError> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_dir() {
        return Err(ProgramError::NotADirectory);
    }
    check_rights(&metadata)
}

/// Whether a path is a program that only the administrator can change. Reads from disk.
pub(super) fn check(path: &Path) -> Result<(), ProgramError> {
    let metadata = std::fs::symlink_metadata(path)?;
    if !metadata.is_file() {
        return Err(ProgramError::NotAFile);
    }
    check_rights(&metadata)?;
    match metadata.mode() & 0o7777 {
        mode if mode & EXECUTABLE == 0 => Err(ProgramError::NotExecutable(mode)),
        _ => Ok(()),
    }
}

fn check_rights(metadata: &Metadata) -> Result<(), ProgramError> {
    let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return Err(ProgramError::Owner(owner));
    }
    match mode & WRITABLE_BY_OTHERS {
        0 => Ok(()),
        _ => Err(ProgramError::Writable(mode)),
    }
}
