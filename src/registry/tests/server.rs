//! A server of one function.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderName, Response, header};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What a client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) authorization: Option<String>,
    pub(super) range: Option<String>,
    pub(super) agent: Option<String>,
    pub(super) body: String,
}

pub(super) struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(super) async fn start(
        handler: impl Fn(&Seen) -> Response<Body> + Clone + Send + Sync + 'static,
    ) -> Self {
        Self::serve(None, handler).await
    }

    /// With TLS if there is an acceptor.
    pub(super) async fn serve(
        tls: Option<TlsAcceptor>,
        handler: impl Fn(&Seen) -> Response<Body> + Clone + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        let router = Router::new().fallback(move |request: Request| {
            let (log, handler) = (log.clone(), handler.clone());
            async move {
                let seen = see(request).await;
                log.lock().unwrap().push(seen.clone());
                handler(&seen)
            }
        });
        let task = tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (tls, service) = (tls.clone(), TowerToHyperService::new(router.clone()));
                tokio::spawn(async move {
                    let http = hyper::server::conn::http1::Builder::new();
                    match tls {
                        None => drop(http.serve_connection(TokioIo::new(socket), service).await),
                        Some(tls) => {
                            if let Ok(socket) = tls.accept(socket).await {
                                drop(http.serve_connection(TokioIo::new(socket), service).await);
                            }
                        }
                    }
                });
            }
        });
        Self { address, seen, task }
    }

    pub(super) fn host(&self) -> String {
        self.address.to_string()
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// `path authorization` of each request.
    pub(super) fn log(&self) -> Vec<String> {
        let line =
            |seen: Seen| format!("{} {}", seen.path, seen.authorization.as_deref().unwrap_or("-"));
        self.seen().into_iter().map(line).collect()
    }
}

async fn see(request: Request) -> Seen {
    let (parts, body) = request.into_parts();
    let header =
        |name: HeaderName| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let mut seen = Seen {
        method: parts.method.to_string(),
        path: parts.uri.to_string(),
        authorization: header(header::AUTHORIZATION),
        range: header(header::RANGE),
        agent: header(header::USER_AGENT),
        body: String::new(),
    };
    let body = to_bytes(body, 1 << 20).await.unwrap();
    seen.body = String::from_utf8(body.to_vec()).unwrap();
    seen
}
