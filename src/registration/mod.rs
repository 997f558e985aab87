//! Kubelet's plugin registration, served by the driver itself: no sidecar is needed.
//!
//! Kubelet watches a directory. It dials every socket that appears there, asks `GetInfo`, calls
//! the CSI endpoint that it is told, and says with `NotifyRegistrationStatus` how that went. The
//! driver is registered for as long as the socket is there, so CSI must be served before
//! [`Registrar::serve`] is called, and the socket goes first when the driver stops.
//!
//! A refusal does not end the driver: mounted volumes and pulls in flight do not depend on it.
//! When its call of the CSI endpoint has failed, kubelet does not try that socket again, so the
//! socket is made anew, at first after one look and then ever more rarely; each new socket is a
//! new attempt. [`Status`] tells who wants to know.

mod socket;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tonic::{Request, Response, Status as RpcStatus};

use self::socket::{Found, Socket};
use self::v1::registration_server::{Registration, RegistrationServer};
use self::v1::{InfoRequest, PluginInfo, RegistrationStatus, RegistrationStatusResponse};
use crate::connections::Connections;
use crate::observability::chain;

/// What `proto/pluginregistration.proto` defines, generated at build time.
#[allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::all,
    reason = "generated code"
)]
pub mod v1 {
    tonic::include_proto!("pluginregistration");
}

/// How often the driver looks whether its socket is still there.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Looks in a row that may fail to bring a lost socket back. One cause does not pass: a directory
/// that was recreated on the host while the container still sees the old one.
const MAX_FAILURES: u32 = 12;

/// A refused registration is tried again after 1, 2, 4… looks, and at most after 2 to the power
/// of this: about 5 minutes.
const MAX_PATIENCE: u32 = 6;

/// The versions of CSI, as kubelet names them.
const VERSIONS: [&str; 1] = ["1.0.0"];

/// The largest message from kubelet that is read, in bytes.
const MAX_MESSAGE: usize = 64 << 10;

/// How long calls in flight have when the driver stops.
const GRACE: Duration = Duration::from_secs(1);

/// Why the driver does not register itself.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    /// The path does not fit into a socket address.
    #[error("registration socket {0:?} is longer than {max} bytes with a dot before its name", max = socket::MAX_PATH)]
    TooLong(PathBuf),
    /// Something is there that is not a socket.
    #[error("{} exists and is not a socket; remove it", .0.display())]
    NotASocket(PathBuf),
    /// The socket cannot be made.
    #[error("cannot make the registration socket {}", path.display())]
    Make {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The socket was lost and does not come back. A new container gets a new mount.
    #[error("the registration socket {} is lost; restart the driver", path.display())]
    Lost {
        /// Where.
        path: PathBuf,
        /// Why the last attempt failed.
        source: Box<Self>,
    },
}

/// What kubelet said last about the socket that is there now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Nothing: there is no socket.
    Absent,
    /// Nothing yet.
    Waiting,
    /// The driver is registered.
    Registered,
    /// The driver is not registered, for this reason.
    Refused(String),
}

/// Registers one driver with one kubelet.
#[derive(Debug)]
pub struct Registrar {
    path: PathBuf,
    driver_name: String,
    endpoint: String,
    look_every: Duration,
    status: watch::Sender<Status>,
}

impl Registrar {
    /// `directory` is kubelet's `plugins_registry` as this process sees it; `endpoint` is the CSI
    /// socket as *kubelet* sees it: a path of the host.
    pub fn new(directory: &Path, driver_name: &str, endpoint: &Path) -> Self {
        Self {
            path: directory.join(format!("{driver_name}-reg.sock")),
            driver_name: driver_name.into(),
            endpoint: endpoint.to_string_lossy().into_owned(),
            look_every: LOOK_EVERY,
            status: watch::Sender::new(Status::Absent),
        }
    }

    /// What kubelet says: [`Status::Absent`] without a socket, and every new one begins with
    /// [`Status::Waiting`].
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Serves until `stop` resolves, then removes the socket. Failures of kubelet are logged.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> Result<(), RegistrationError> {
        let service = RegistrationServer::new(Service {
            info: PluginInfo {
                r#type: "CSIPlugin".into(),
                name: self.driver_name.clone(),
                endpoint: self.endpoint.clone(),
                supported_versions: VERSIONS.map(Into::into).into(),
            },
            status: self.status.clone(),
        });
        // One server for all sockets that follow each other.
        let connections = Connections::new(service.max_decoding_message_size(MAX_MESSAGE));
        let kept = self.keep(&connections, stop).await;
        if timeout(GRACE, connections.finish()).await.is_err() {
            tracing::debug!("kubelet kept its connection");
        }
        kept
    }

    /// Keeps a socket in the directory and hands its connections on.
    async fn keep(
        &self,
        connections: &Connections<RegistrationServer<Service>>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), RegistrationError> {
        tokio::pin!(stop);
        let mut socket = self.make()?;
        let mut patience = Patience::default();
        let (mut failures, mut left_alone) = (0, false);
        let mut look = interval(self.look_every);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        look.tick().await; // the first is immediate
        loop {
            tokio::select! {
                () = &mut stop => {
                    self.status.send_replace(Status::Absent);
                    socket.remove();
                    return Ok(());
                }
                connection = socket.accept() => match connection {
                    Ok(connection) => connections.add(connection),
                    Err(error) => {
                        // Such as too many open files: not at once again.
                        tracing::warn!(%error, "cannot accept a connection of kubelet");
                        look.tick().await;
                    }
                },
                _ = look.tick() => {
                    let refused = matches!(*self.status.borrow(), Status::Refused(_));
                    let found = socket.look().await;
                    let again = match found {
                        Found::Ours => refused && patience.is_over(),
                        Found::Nothing => true,
                        Found::Other => {
                            if !std::mem::replace(&mut left_alone, true) {
                                tracing::warn!(
                                    path = %self.path.display(),
                                    "another process registers this driver; leaving it to that one"
                                );
                            }
                            false
                        }
                    };
                    if *self.status.borrow() == Status::Registered {
                        patience = Patience::default();
                    }
                    if !again {
                        continue;
                    }
                    match self.make() {
                        Ok(made) => (socket, failures, left_alone) = (made, 0, false),
                        Err(source) if failures + 1 >= MAX_FAILURES => {
                            let source = Box::new(source);
                            return Err(RegistrationError::Lost { path: self.path.clone(), source });
                        }
                        Err(error) => {
                            failures += 1;
                            if found == Found::Nothing {
                                self.status.send_replace(Status::Absent);
                            }
                            tracing::warn!(
                                error = %chain(&error),
                                attempt = failures,
                                "the registration socket is lost"
                            );
                        }
                    }
                }
            }
        }
    }

    fn make(&self) -> Result<Socket, RegistrationError> {
        let socket = Socket::make(&self.path)?;
        // Nobody has spoken about the new one: its connections are accepted after this.
        self.status.send_replace(Status::Waiting);
        tracing::info!(
            path = %self.path.display(),
            endpoint = self.endpoint,
            "waiting for kubelet to register the driver"
        );
        Ok(socket)
    }
}

/// Counts the looks until a refused registration is tried again.
#[derive(Debug, Default)]
struct Patience {
    attempts: u32,
    looks: u32,
}

impl Patience {
    fn is_over(&mut self) -> bool {
        self.looks += 1;
        if self.looks < 1 << self.attempts.min(MAX_PATIENCE) {
            return false;
        }
        *self = Self { attempts: self.attempts.saturating_add(1), looks: 0 };
        true
    }
}

#[derive(Debug)]
struct Service {
    info: PluginInfo,
    status: watch::Sender<Status>,
}

#[tonic::async_trait]
impl Registration for Service {
    async fn get_info(&self, _: Request<InfoRequest>) -> Result<Response<PluginInfo>, RpcStatus> {
        // Kubelet may ask again at any time, to see whether the driver is alive.
        tracing::debug!("kubelet asks for the driver");
        Ok(Response::new(self.info.clone()))
    }

    async fn notify_registration_status(
        &self,
        request: Request<RegistrationStatus>,
    ) -> Result<Response<RegistrationStatusResponse>, RpcStatus> {
        let RegistrationStatus { plugin_registered, error } = request.into_inner();
        if plugin_registered {
            tracing::info!(driver_name = self.info.name, "kubelet registered the driver");
            self.status.send_replace(Status::Registered);
        } else {
            tracing::error!(
                driver_name = self.info.name,
                endpoint = self.info.endpoint,
                error,
                "kubelet refused the driver; trying again"
            );
            self.status.send_replace(Status::Refused(error));
        }
        Ok(Response::new(RegistrationStatusResponse {}))
    }
}

#[cfg(test)]
mod tests;
