//! Connections: accepted, counted, with TLS and HTTP/2 where the registry has those.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::registry::{State, handle};

/// Serves a socket until it is stopped.
pub(super) async fn accept(
    socket: tokio::net::TcpListener,
    state: Arc<State>,
    mut stopped: oneshot::Receiver<Infallible>,
) {
    let tls = state.options.tls.as_ref().map(|tls| TlsAcceptor::from(tls.config.clone()));
    // Dropped with this task, and every connection with it.
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            _ = &mut stopped => return connections.shutdown().await,
            accepted = socket.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => continue,
            },
        };
        state.connections.fetch_add(1, Ordering::Relaxed);
        let (state, tls) = (state.clone(), tls.clone());
        connections.spawn(async move {
            match tls {
                None => serve(stream, state, false).await,
                Some(tls) => {
                    // A client that does not trust the authority hangs up here.
                    if let Ok(stream) = tls.accept(stream).await {
                        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                        serve(stream, state, http2).await;
                    }
                }
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    state: Arc<State>,
    http2: bool,
) {
    let service = service_fn(move |request| handle(request, state.clone()));
    let stream = TokioIo::new(stream);
    // Ends with an error whenever a fault cuts it or a client leaves: that is what tests are for.
    match http2 {
        false => drop(http1::Builder::new().serve_connection(stream, service).await),
        true => {
            let builder = http2::Builder::new(TokioExecutor::new());
            drop(builder.serve_connection(stream, service).await);
        }
    }
}
