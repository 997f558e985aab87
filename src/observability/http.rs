//! Health and metrics over HTTP. Bounded, since anybody who reaches the pod may connect: one
//! request for each connection, little time for it, and the oldest connection makes room for a
//! new one, so that clients who keep theirs open shut nobody out.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, server::conn::http1};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// How many connections there may be. Prometheus and kubelet need three.
const MAX_CONNECTIONS: usize = 32;

/// How long a request's head may be, in bytes.
const MAX_HEAD: usize = 16 << 10;

/// How long a client may take to send a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection may last, the answer included.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The pause after a failed accept, such as one for lack of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// What is behind it is the level: a body would have to be bounded.
const LOG_LEVEL: &str = "/log-level/";

const TEXT: &str = "text/plain; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Where to serve: `:9808` for all addresses, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpEndpoint {
    /// A port of all addresses.
    Any(u16),
    /// One address.
    Address(SocketAddr),
}

/// A text that is no [`HttpEndpoint`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not of the form :PORT, ADDRESS:PORT or [ADDRESS]:PORT, with an IP address")]
pub struct NotAnEndpoint;

impl FromStr for HttpEndpoint {
    type Err = NotAnEndpoint;

    fn from_str(text: &str) -> Result<Self, NotAnEndpoint> {
        match text.strip_prefix(':') {
            // `parse` takes a sign too.
            Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                port.parse().map(Self::Any).map_err(|_| NotAnEndpoint)
            }
            Some(_) => Err(NotAnEndpoint),
            None => text.parse().map(Self::Address).map_err(|_| NotAnEndpoint),
        }
    }
}

impl fmt::Display for HttpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any(port) => write!(f, ":{port}"),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// What the pages show.
pub trait Pages: Send + Sync + 'static {
    /// Why the driver cannot serve kubelet now, if it cannot.
    fn unready(&self) -> Option<&'static str>;

    /// The metrics. It may block.
    fn metrics(&self) -> Result<String, fmt::Error>;

    /// Logs at another level from now on, or says why not.
    fn log_at(&self, level: &str) -> Result<(), String>;
}

/// Binds the endpoint.
pub async fn bind(endpoint: HttpEndpoint) -> io::Result<TcpListener> {
    match endpoint {
        HttpEndpoint::Address(address) => TcpListener::bind(address).await,
        // Linux takes IPv4 on it too, but there are nodes without IPv6.
        HttpEndpoint::Any(port) => match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await
            }
            bound => bound,
        },
    }
}

/// Serves until it is dropped, and then ends its connections. What a client does is never an
/// error of ours.
pub async fn serve(listener: TcpListener, pages: Arc<dyn Pages>) {
    let mut connections = Connections::default();
    loop {
        match listener.accept().await {
            Ok((stream, from)) => connections.add(stream, from, pages.clone()),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection for health and metrics");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The connections that may still be open, oldest first.
#[derive(Default)]
struct Connections(VecDeque<AbortHandle>);

impl Connections {
    fn add(&mut self, stream: TcpStream, from: SocketAddr, pages: Arc<dyn Pages>) {
        self.0.retain(|connection| !connection.is_finished());
        if self.0.len() >= MAX_CONNECTIONS
            && let Some(oldest) = self.0.pop_front()
        {
            oldest.abort();
        }
        let connection = connection(stream, from, pages, HEAD_TIMEOUT);
        self.0.push_back(tokio::spawn(connection).abort_handle());
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

async fn connection(
    stream: TcpStream,
    from: SocketAddr,
    pages: Arc<dyn Pages>,
    head_timeout: Duration,
) {
    let is_local = from.ip().to_canonical().is_loopback();
    let service = service_fn(move |request: Request<Incoming>| {
        let pages = pages.clone();
        async move { Ok::<_, Infallible>(answer(&request, is_local, pages).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_buf_size(MAX_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(TIMEOUT, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection for health and metrics failed"),
        Err(_) => tracing::debug!("a connection for health and metrics took too long"),
    }
}

async fn answer<B>(
    request: &Request<B>,
    is_local: bool,
    pages: Arc<dyn Pages>,
) -> Response<String> {
    let path = request.uri().path();
    if let Some(level) = path.strip_prefix(LOG_LEVEL) {
        return log_level(request.method(), level, is_local, &*pages);
    }
    if !matches!(path, "/metrics" | "/livez" | "/readyz") {
        return page(StatusCode::NOT_FOUND, "not found: /metrics, /livez, /readyz\n");
    }
    if request.method() != Method::GET {
        let mut response = page(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        return response;
    }
    match (path, pages.unready()) {
        ("/metrics", _) => metrics(request, pages).await,
        ("/readyz", Some(why)) => {
            page(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n"))
        }
        // That this is answered at all says that the process lives.
        _ => page(StatusCode::OK, "ok\n"),
    }
}

/// Whoever may forward a port to the pod comes from its loopback address; whoever only reaches it
/// does not.
fn log_level(method: &Method, level: &str, is_local: bool, pages: &dyn Pages) -> Response<String> {
    if !is_local {
        return page(StatusCode::FORBIDDEN, "only from the pod itself: use kubectl port-forward\n");
    }
    if method != Method::PUT {
        let mut response = page(StatusCode::METHOD_NOT_ALLOWED, "only PUT\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("PUT"));
        return response;
    }
    match pages.log_at(level) {
        Ok(()) => page(StatusCode::OK, format!("logging at {level}\n")),
        Err(problem) => page(StatusCode::BAD_REQUEST, format!("{problem}\n")),
    }
}

async fn metrics<B>(request: &Request<B>, pages: Arc<dyn Pages>) -> Response<String> {
    let Ok(Ok(text)) = tokio::task::spawn_blocking(move || pages.metrics()).await else {
        return page(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written\n");
    };
    let accepted = request.headers().get_all(ACCEPT).iter();
    let wanted = accepted.filter_map(|value| value.to_str().ok());
    let openmetrics =
        wanted.into_iter().any(|value| value.contains("application/openmetrics-text"));
    let kind = if openmetrics { OPENMETRICS } else { PROMETHEUS };
    let mut response = page(StatusCode::OK, text);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn page(status: StatusCode, text: impl Into<String>) -> Response<String> {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(TEXT));
    response
}

#[cfg(test)]
mod tests;
