//! Connections of kubelet to a socket of ours, and the calls on them: HTTP/2 and the service that
//! tonic generates, with nothing between the two.

mod authority;

use std::convert::Infallible;
use std::fmt::{self, Debug};

use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tonic::body::Body;
use tonic::codegen::{Service, http};

use authority::Kubelet;

/// Serves the connections that it is given, each in a task of its own.
pub struct Connections<S> {
    service: S,
    /// Raised when no more calls are taken. Each connection has a receiver for as long as it lasts.
    ending: watch::Sender<bool>,
}

impl<S> Debug for Connections<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = self.ending.receiver_count();
        f.debug_struct("Connections").field("open", &open).finish_non_exhaustive()
    }
}

impl<S> Connections<S>
where
    S: Service<http::Request<Incoming>, Response = http::Response<Body>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send,
{
    /// Serves calls of a service that is always ready, as generated ones are.
    pub fn new(service: S) -> Self {
        Self { service, ending: watch::Sender::new(false) }
    }

    /// Serves a connection until its client has gone, or breaks the protocol. A call whose client has
    /// gone is dropped where it waits.
    pub fn add(&self, stream: UnixStream) {
        let service = self.service.clone();
        let calls = service_fn(move |request| service.clone().call(request));
        let stream = TokioIo::new(Kubelet::new(stream));
        let mut ending = self.ending.subscribe();
        tokio::spawn(async move {
            let ended = async { drop(ending.wait_for(|ending| *ending).await) };
            let mut builder = http2::Builder::new(TokioExecutor::new());
            // gRPC has no date.
            builder.timer(TokioTimer::new()).auto_date_header(false);
            let serving = builder.serve_connection(stream, calls);
            let mut serving = std::pin::pin!(serving);
            let served = tokio::select! {
                served = &mut serving => served,
                () = ended => {
                    serving.as_mut().graceful_shutdown();
                    serving.await
                }
            };
            if let Err(error) = served {
                tracing::debug!(%error, "a connection of kubelet failed");
            }
        });
    }

    /// Takes no more calls. Resolves when those in flight are answered and all clients have gone.
    pub async fn finish(self) {
        self.ending.send_replace(true);
        self.ending.closed().await;
    }
}

#[cfg(test)]
mod tests {
    use super::authority::{HEADERS, PREFACE};
    use super::*;
    use std::task::{Context, Poll};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::mpsc;

    const PING: u8 = 6;
    const GOAWAY: u8 = 7;
    /// SETTINGS without one, and their acknowledgement.
    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    const SETTINGS_ACK: &[u8] = &[0, 0, 0, 4, 1, 0, 0, 0, 0];
    /// `POST http://k/x` on stream 1, and nothing after it.
    const CALL: &[u8] = b"\0\0\x09\x01\x05\0\0\0\x01\x83\x86\x04\x02/x\x01\x01k";

    /// Says when it is called, and answers when it is let.
    #[derive(Clone)]
    struct Slow {
        called: mpsc::UnboundedSender<()>,
        answer: watch::Receiver<bool>,
    }

    impl Service<http::Request<Incoming>> for Slow {
        type Response = http::Response<Body>;
        type Error = Infallible;
        type Future = tonic::codegen::BoxFuture<Self::Response, Infallible>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: http::Request<Incoming>) -> Self::Future {
            let mut slow = self.clone();
            Box::pin(async move {
                slow.called.send(()).unwrap();
                slow.answer.wait_for(|may| *may).await.unwrap();
                Ok(http::Response::new(Body::empty()))
            })
        }
    }

    /// The types of the frames that come until the connection ends, with each PING answered.
    async fn frames(mut client: UnixStream) -> Vec<u8> {
        let mut kinds = Vec::new();
        let mut header = [0; 9];
        while client.read_exact(&mut header).await.is_ok() {
            let [a, b, c, kind, flags, ..] = header;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            client.read_exact(&mut payload).await.unwrap();
            if kind == PING && flags == 0 {
                let pong = [&[0, 0, 8, PING, 1, 0, 0, 0, 0], payload.as_slice()].concat();
                client.write_all(&pong).await.unwrap();
            }
            kinds.push(kind);
        }
        kinds
    }

    #[tokio::test]
    async fn calls_are_finished_and_clients_told_to_go() {
        let (called, mut calls) = mpsc::unbounded_channel();
        let (may, answer) = watch::channel(false);
        let connections = Connections::new(Slow { called, answer });
        let mut clients = Vec::new();
        for more in [CALL, &[]] {
            let (mut client, server) = UnixStream::pair().unwrap();
            connections.add(server);
            client.write_all(&[PREFACE, SETTINGS, SETTINGS_ACK, more].concat()).await.unwrap();
            clients.push(client);
        }
        calls.recv().await.unwrap();
        let finishing = tokio::spawn(connections.finish());
        // A first GOAWAY, the PING that tells when it has been heard, and the last.
        let idle = frames(clients.pop().unwrap()).await;
        assert!(idle.ends_with(&[GOAWAY, PING, GOAWAY]), "{idle:?}");
        assert!(!finishing.is_finished());
        may.send(true).unwrap();
        let answered = frames(clients.pop().unwrap()).await;
        assert!(answered.contains(&HEADERS), "{answered:?}");
        finishing.await.unwrap();
    }

    #[tokio::test]
    async fn who_speaks_another_protocol_is_hung_up_on() {
        let (called, _calls) = mpsc::unbounded_channel();
        let connections = Connections::new(Slow { called, answer: watch::channel(true).1 });
        let (mut client, server) = UnixStream::pair().unwrap();
        connections.add(server);
        client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        frames(client).await;
        connections.finish().await;
    }
}
