//! The unix socket: private from its first moment, put in place by a rename, and never taken
//! from an instance that still answers.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tonic::body::Body;
use tonic::codegen::{Body as HttpBody, BoxFuture, Service, StdError, http};
use tonic::server::NamedService;

use super::count::Counted;
use super::identity::IdentityService;
use super::node::NodeService;
use super::v1::identity_server::IdentityServer;
use super::v1::node_server::NodeServer;
use crate::connections::Connections;
use crate::observability::metrics::Metrics;

/// What the socket's path is extended by while it is made.
const HIDDEN: &str = ".new/s";

/// The longest path of our socket, in bytes: `sun_path` (unix(7)) takes 107, and the socket is
/// made at a longer one.
const MAX_SOCKET_PATH: usize = 107 - HIDDEN.len();

/// The largest request that is read, in bytes. A Secret has at most 1 MiB.
const MAX_REQUEST: usize = 4 << 20;

/// The pause after a connection that could not be accepted, such as for want of a descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the driver does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// `--endpoint` is not a unix socket.
    #[error("endpoint {0:?} is not of the form unix:///path or /path")]
    Endpoint(String),
    /// The path does not fit.
    #[error("socket path {0:?} is longer than {MAX_SOCKET_PATH} bytes")]
    TooLong(PathBuf),
    /// Somebody else serves there.
    #[error("another process serves on {}", .0.display())]
    InUse(PathBuf),
    /// Something is there that is not a socket.
    #[error("{} exists and is not a socket", .0.display())]
    NotASocket(PathBuf),
    /// The socket cannot be made.
    #[error("cannot make the socket {}", path.display())]
    Bind {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The path in `unix:///path`, `unix:/path` or `/path`.
pub fn socket_path(endpoint: &str) -> Result<PathBuf, ServeError> {
    let path = endpoint.strip_prefix("unix://").or_else(|| endpoint.strip_prefix("unix:"));
    let path = PathBuf::from(path.unwrap_or(endpoint));
    if !path.is_absolute() || path.file_name().is_none() {
        return Err(ServeError::Endpoint(endpoint.into()));
    }
    Ok(path)
}

/// Makes the socket: mode 0600 before it has its name, and in the place of one that a dead
/// instance left.
pub async fn bind(path: &Path) -> Result<UnixListener, ServeError> {
    let failed = |source| ServeError::Bind { path: path.into(), source };
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(ServeError::NotASocket(path.into()));
        }
        Ok(_) if UnixStream::connect(path).await.is_ok() => {
            return Err(ServeError::InUse(path.into()));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    // Made in a directory that only we can enter, so that it is private before it has its name.
    if path.as_os_str().len() > MAX_SOCKET_PATH {
        return Err(ServeError::TooLong(path.into()));
    }
    let mut hidden = path.as_os_str().to_owned();
    hidden.push(HIDDEN);
    let hidden = PathBuf::from(hidden);
    let private = hidden.parent().unwrap_or(path);
    for leftover in [fs::remove_file(&hidden), fs::remove_dir(private)] {
        match leftover {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    }
    fs::DirBuilder::new().mode(0o700).create(private).map_err(failed)?;
    let listener = UnixListener::bind(&hidden).map_err(failed)?;
    fs::set_permissions(&hidden, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    fs::rename(&hidden, path).map_err(failed)?;
    fs::remove_dir(private).map_err(failed)?;
    Ok(listener)
}

/// Serves until `stop` resolves: then nobody can connect any more, and calls in flight are
/// finished. All calls are counted.
pub async fn serve(
    listener: UnixListener,
    identity: IdentityService,
    node: NodeService,
    metrics: Metrics,
    stop: impl Future<Output = ()>,
) {
    let service = Services {
        identity: IdentityServer::new(identity),
        node: NodeServer::new(node).max_decoding_message_size(MAX_REQUEST),
    };
    let connections = Connections::new(Counted { service, metrics });
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => connections.add(stream),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection of kubelet");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // Whoever connects is refused from now on, and need not wait for calls of others to learn that
    // nobody will serve it.
    drop(listener);
    connections.finish().await;
}

/// Both services of the socket.
#[derive(Clone, Debug)]
struct Services {
    identity: IdentityServer<IdentityService>,
    node: NodeServer<NodeService>,
}

impl<B> Service<http::Request<B>> for Services
where
    B: HttpBody + Send + 'static,
    B::Error: Into<StdError> + Send,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let service = request.uri().path().split('/').nth(1);
        match service == Some(<NodeServer<NodeService> as NamedService>::NAME) {
            true => self.node.call(request),
            // That answers with UNIMPLEMENTED to what it does not know.
            false => self.identity.call(request),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_absolute_paths() {
        for good in ["unix:///csi/csi.sock", "unix:/csi/csi.sock", "/csi/csi.sock"] {
            assert_eq!(socket_path(good).unwrap(), Path::new("/csi/csi.sock"));
        }
        for bad in ["tcp://1.2.3.4:1", "csi.sock", "unix://csi.sock", "/", ""] {
            assert!(matches!(socket_path(bad), Err(ServeError::Endpoint(_))), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_path_fits_or_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().as_os_str().len() + 1;
        let longest = directory.path().join("s".repeat(MAX_SOCKET_PATH - root));
        bind(&longest).await.unwrap();
        let longer = directory.path().join("s".repeat(MAX_SOCKET_PATH + 1 - root));
        let refused = bind(&longer).await.unwrap_err();
        let expected = format!("socket path {longer:?} is longer than 101 bytes");
        assert_eq!(refused.to_string(), expected);
    }

    #[tokio::test]
    async fn a_dead_socket_is_replaced_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("csi.sock");
        let first = bind(&path).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(bind(&path).await, Err(ServeError::InUse(_))));
        drop(first);
        let second = bind(&path).await.unwrap();
        drop(second);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        assert!(matches!(bind(&path).await, Err(ServeError::NotASocket(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}
