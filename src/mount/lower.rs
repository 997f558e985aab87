//! The lower directories of a seal and the names by which the kernel gets them.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::{MAX_LOWERS, MIN_LOWERS, MountError, target};

/// One lower directory, opened.
#[derive(Debug)]
pub(super) struct Lower {
    /// Its path, for messages and as its name where that can be.
    pub(super) path: PathBuf,
    /// Holds it, and names it where its path cannot.
    pub(super) descriptor: OwnedFd,
}

impl Lower {
    /// Opens all of them, uppermost first: a missing one is told by its path, which the kernel
    /// would not do.
    pub(super) fn open(paths: &[PathBuf]) -> Result<Vec<Self>, MountError> {
        match paths.len() {
            count if count < MIN_LOWERS => return Err(MountError::TooFewLowers { count }),
            count if count > MAX_LOWERS => return Err(MountError::TooManyLowers { count }),
            _ => {}
        }
        paths
            .iter()
            .map(|path| match target::open(path) {
                Ok(descriptor) => Ok(Self { path: path.clone(), descriptor }),
                Err(source) => Err(MountError::Lower { path: path.clone(), source }),
            })
            .collect()
    }

    /// The path, if every kernel reads it as itself.
    ///
    /// Overlay options separate with `:` and `,` and escape with `\`; what is unescaped where has
    /// changed several times (6.5 broke it, 6.6 mended it, the options `lowerdir` and `lowerdir+`
    /// differ), so a path with any of the three goes by its descriptor instead. A relative path
    /// does too: it must not depend on the working directory, and the kernel shows it in mountinfo.
    pub(super) fn plain_path(&self) -> Option<&[u8]> {
        let bytes = self.path.as_os_str().as_bytes();
        let special = |byte: &u8| matches!(byte, b':' | b',' | b'\\');
        (self.path.is_absolute() && !bytes.iter().any(special)).then_some(bytes)
    }
}

/// The error for a failed overlay: a refusal, or something else.
pub(super) fn failure(
    lowers: &[Lower],
    source: std::io::Error,
    messages: Vec<String>,
) -> MountError {
    use rustix::io::Errno;
    let count = lowers.len();
    let uppermost = lowers.first().map(|lower| lower.path.clone()).unwrap_or_default();
    match Errno::from_io_error(&source) {
        Some(Errno::PERM | Errno::INVAL | Errno::NODEV | Errno::OPNOTSUPP) => {
            MountError::OverlayRefused { count, uppermost, messages, source }
        }
        _ => MountError::Overlay { count, uppermost, messages, source },
    }
}

/// Options that every overlay gets besides its lowers.
///
/// Nothing in a layer's extended attributes may send a lookup elsewhere: without these the
/// defaults of the kernel's build decide. Both exist since Linux 4.19. `index`, `xino` and
/// `userxattr` matter only with an upper directory, or with attributes that trees do not have; an
/// overlay inside a user namespace (Linux 5.11) needs none of them either.
pub(super) const OPTIONS: [(&str, &str); 2] = [("redirect_dir", "nofollow"), ("metacopy", "off")];
