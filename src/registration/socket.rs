//! The socket in kubelet's directory: complete before it has its name.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

use super::RegistrationError;

/// The longest path of a unix socket, in bytes (`sun_path`, unix(7)).
pub(super) const MAX_PATH: usize = 107;

/// What is at the socket's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The socket that was made there.
    Ours,
    /// Nothing, or what a dead process left.
    Nothing,
    /// A socket on which another process answers.
    Other,
}

#[derive(Debug)]
pub(super) struct Socket {
    path: PathBuf,
    listener: UnixListener,
    /// Device and inode. The number is not used again while `listener` holds the inode.
    identity: (u64, u64),
}

impl Socket {
    /// Makes the socket, in the place of any other.
    ///
    /// Kubelet dials on the event that makes the name, and it passes over names that begin with
    /// a dot. So the socket listens under such a name, gets its mode, and is renamed: the rename
    /// is a create event, also over a socket that a dead driver left, and only kubelet's user
    /// ever sees it. (Not in a hidden directory: kubelet looks into those.)
    pub(super) fn make(path: &Path) -> Result<Self, RegistrationError> {
        let failed = |source| RegistrationError::Make { path: path.into(), source };
        let hidden = match path.file_name() {
            Some(name) => path.with_file_name(format!(".{}", name.to_string_lossy())),
            None => return Err(failed(io::ErrorKind::InvalidInput.into())),
        };
        if hidden.as_os_str().len() > MAX_PATH {
            return Err(RegistrationError::TooLong(path.into()));
        }
        match fs::symlink_metadata(path) {
            Ok(metadata) if !metadata.file_type().is_socket() => {
                return Err(RegistrationError::NotASocket(path.into()));
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        match fs::remove_file(&hidden) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&hidden).map_err(failed)?;
        fs::set_permissions(&hidden, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        let metadata = fs::symlink_metadata(&hidden).map_err(failed)?;
        fs::rename(&hidden, path).map_err(failed)?;
        Ok(Self { path: path.into(), listener, identity: (metadata.dev(), metadata.ino()) })
    }

    /// Waits for a connection. Nothing is lost when the future is dropped.
    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().await.map(|(connection, _)| connection)
    }

    /// Looks at what is there now.
    pub(super) async fn look(&self) -> Found {
        if self.is_ours() {
            return Found::Ours;
        }
        match UnixStream::connect(&self.path).await.map_err(|error| error.kind()) {
            Err(io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => Found::Nothing,
            // Also when it is too busy to answer.
            Ok(_) | Err(_) => Found::Other,
        }
    }

    /// Removes the socket, unless it is another's by now.
    pub(super) fn remove(self) {
        if self.is_ours()
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the socket");
        }
    }

    fn is_ours(&self) -> bool {
        let found = fs::symlink_metadata(&self.path);
        found.is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.identity)
    }
}
