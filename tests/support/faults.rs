//! Faults: which requests go wrong, and how.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream};

use super::gate::Gate;
use super::routes::error_body;

/// Which requests a fault strikes. Without [`times`](Self::times), every one that matches.
#[derive(Debug, Clone)]
pub struct On {
    method: Option<String>,
    contains: String,
    skip: u32,
    times: Option<u32>,
}

impl On {
    /// Any method, any path (and query) that contains `part`.
    pub fn path(part: impl Into<String>) -> Self {
        Self { method: None, contains: part.into(), skip: 0, times: None }
    }

    /// GET requests whose path contains `part`.
    pub fn get(part: impl Into<String>) -> Self {
        Self::path(part).method("GET")
    }

    /// GET requests for one blob, in whatever repository.
    pub fn blob(digest: impl std::fmt::Display) -> Self {
        Self::get(format!("/blobs/{digest}"))
    }

    /// GET requests for one manifest, by the tag or digest it is asked by.
    pub fn manifest(selector: impl std::fmt::Display) -> Self {
        Self::get(format!("/manifests/{selector}"))
    }

    /// Requests to the token endpoint.
    pub fn token() -> Self {
        Self::path("/token")
    }

    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    /// Only the first `count` matching requests (after those skipped).
    pub fn times(mut self, count: u32) -> Self {
        self.times = Some(count);
        self
    }

    /// Leaves the first `count` matching requests alone.
    pub fn after(mut self, count: u32) -> Self {
        self.skip = count;
        self
    }

    /// Only the nth matching request, from 1.
    pub fn nth(self, nth: u32) -> Self {
        self.after(nth - 1).times(1)
    }

    fn strikes(&mut self, method: &str, target: &str) -> bool {
        if self.method.as_deref().is_some_and(|wanted| wanted != method)
            || !target.contains(&self.contains)
        {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        match &mut self.times {
            None => true,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }
}

/// What goes wrong. Several faults on one request apply in the order they were added.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Answers this instead. See [`Fault::status`] and [`Fault::retry_after`].
    Status { code: u16, body: Bytes, headers: Vec<(String, String)> },
    /// A redirect (307) to a URL, whatever was asked.
    RedirectTo(String),
    /// Closes the connection without an answer.
    CloseConnection,
    /// Answers nothing until the gate lets the response through.
    Stall(Gate),
    /// Sends the body in chunks of so many bytes, each waiting at the gate.
    Slow { chunk: usize, gate: Gate },
    /// Sends so many bytes of the body, then waits at the gate before the rest.
    Hold { after: u64, gate: Gate },
    /// Announces the full length, sends so many bytes, and closes the connection.
    Truncate(u64),
    /// Flips one bit in the middle of the body.
    WrongBytes,
    /// Appends so many bytes, and announces them.
    ExtraBytes(u64),
    /// Another body, announced with its own length; status and headers stay.
    Body(Bytes),
    /// So many zero bytes instead of the body, chunked and without an announced length.
    HugeBody(u64),
    /// Sends the body in chunks, without an announced length.
    Chunked,
    /// Leaves a header out.
    DropHeader(&'static str),
    /// Sets a header.
    SetHeader(&'static str, String),
    /// Sends another Content-Type.
    ContentType(String),
    /// Ignores a Range header: answers 200 with everything, as some registries do.
    IgnoreRange,
}

impl Fault {
    /// A status with a registry's usual error body.
    pub fn status(code: u16) -> Self {
        let name = match code {
            401 => "UNAUTHORIZED",
            403 => "DENIED",
            404 => "MANIFEST_UNKNOWN",
            429 => "TOOMANYREQUESTS",
            _ => "UNKNOWN",
        };
        Self::Status { code, body: error_body(name, "injected by the test"), headers: vec![] }
    }

    /// 429 with a `Retry-After` header: seconds, or an HTTP date.
    pub fn retry_after(value: &str) -> Self {
        Self::retry_after_with(429, value)
    }

    /// Another status, such as 503, with `Retry-After`.
    pub fn retry_after_with(code: u16, value: &str) -> Self {
        match Self::status(code) {
            Self::Status { code, body, .. } => {
                let headers = vec![("retry-after".to_owned(), value.to_owned())];
                Self::Status { code, body, headers }
            }
            other => other,
        }
    }
}

/// The script: every fault with its own counters.
#[derive(Debug, Clone, Default)]
pub(super) struct Script(Arc<Mutex<Vec<(On, Fault)>>>);

impl Script {
    pub(super) fn push(&self, on: On, fault: Fault) {
        self.0.lock().unwrap().push((on, fault));
    }

    pub(super) fn clear(&self) {
        self.0.lock().unwrap().clear();
    }

    pub(super) fn strike(&self, method: &str, target: &str) -> Vec<Fault> {
        let mut script = self.0.lock().unwrap();
        script
            .iter_mut()
            .filter_map(|(on, fault)| on.strikes(method, target).then(|| fault.clone()))
            .collect()
    }
}

/// The connection is to be closed without (the rest of) an answer.
#[derive(Debug)]
pub(super) struct Closed;

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("closed by a fault")
    }
}

impl std::error::Error for Closed {}

type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes, Closed>> + Send>>;

/// An answer before it becomes HTTP: faults work on whole bodies, then on how they are sent.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: Vec<(HeaderName, String)>,
    pub body: Bytes,
    sending: Vec<Fault>,
}

impl Answer {
    pub(super) fn new(status: u16, body: impl Into<Bytes>) -> Self {
        Self {
            status: StatusCode::from_u16(status).unwrap(),
            headers: vec![],
            body: body.into(),
            sending: vec![],
        }
    }

    pub(super) fn header(mut self, name: impl AsRef<str>, value: impl ToString) -> Self {
        let name: HeaderName = name.as_ref().parse().unwrap();
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value.to_string()));
        self
    }

    /// Applies one fault to the answer that would have been sent.
    pub(super) fn with(mut self, fault: Fault) -> Self {
        match fault {
            Fault::Status { code, body, headers } => {
                let mut answer = Self::new(code, body).header("content-type", "application/json");
                for (name, value) in headers {
                    answer = answer.header(name, value);
                }
                answer.sending = self.sending;
                return answer;
            }
            Fault::RedirectTo(url) => return Self::new(307, "").header("location", url),
            Fault::WrongBytes => {
                let mut body = BytesMut::from(self.body.as_ref());
                let middle = body.len() / 2;
                if let Some(byte) = body.get_mut(middle) {
                    *byte ^= 1;
                }
                self.body = body.freeze();
            }
            Fault::ExtraBytes(count) => {
                let mut body = BytesMut::from(self.body.as_ref());
                body.resize(body.len() + usize::try_from(count).unwrap(), b'x');
                self.body = body.freeze();
            }
            Fault::Body(body) => self.body = body,
            Fault::DropHeader(name) => self.headers.retain(|(known, _)| known.as_str() != name),
            Fault::SetHeader(name, value) => return self.header(name, value),
            Fault::ContentType(value) => return self.header("content-type", value),
            sending @ (Fault::Slow { .. }
            | Fault::Hold { .. }
            | Fault::Truncate(_)
            | Fault::Chunked
            | Fault::HugeBody(_)) => self.sending.push(sending),
            // These act before there is an answer.
            Fault::CloseConnection | Fault::Stall(_) | Fault::IgnoreRange => {}
        }
        self
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let mut length = Some(self.body.len() as u64);
        let plain = self.sending.is_empty();
        let mut chunks: Chunks = match self.body.is_empty() {
            true => Box::pin(stream::empty()),
            false => Box::pin(stream::iter([Ok(self.body.clone())])),
        };
        for fault in self.sending {
            chunks = match fault {
                Fault::Slow { chunk, gate } => gated(chunks, chunk, gate),
                Fault::Hold { after, gate } => held(chunks, after, gate),
                Fault::Truncate(after) => truncated(chunks, after),
                Fault::Chunked => {
                    length = None;
                    chunks
                }
                Fault::HugeBody(bytes) => {
                    length = None;
                    zeros(bytes)
                }
                _ => chunks,
            };
        }
        let body = if plain { Body::from(self.body) } else { Body::from_stream(chunks) };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        for (name, value) in self.headers {
            // A header that cannot be sent is a mistake of the test.
            response.headers_mut().append(name, HeaderValue::from_str(&value).unwrap());
        }
        let headers = response.headers_mut();
        match length {
            Some(_) if headers.contains_key(header::CONTENT_LENGTH) => {}
            Some(length) => {
                headers.insert(header::CONTENT_LENGTH, length.into());
            }
            None => {
                headers.remove(header::CONTENT_LENGTH);
            }
        }
        response
    }
}

fn gated(chunks: Chunks, size: usize, gate: Gate) -> Chunks {
    let pieces = chunks.flat_map(move |chunk| {
        let mut rest = chunk.unwrap_or_default();
        let pieces = std::iter::from_fn(move || {
            (!rest.is_empty()).then(|| rest.split_to(size.clamp(1, rest.len())))
        });
        stream::iter(pieces)
    });
    Box::pin(pieces.then(move |piece| {
        let gate = gate.clone();
        async move {
            gate.pass().await;
            gate.count(piece.len() as u64);
            Ok(piece)
        }
    }))
}

fn held(chunks: Chunks, after: u64, gate: Gate) -> Chunks {
    let opened = gate.clone();
    let (head, rest) = (split(chunks, after), gate);
    Box::pin(head.then(move |(piece, is_head)| {
        let gate = if is_head { opened.clone() } else { rest.clone() };
        async move {
            if !is_head {
                gate.pass().await;
            }
            gate.count(piece.len() as u64);
            Ok(piece)
        }
    }))
}

fn truncated(chunks: Chunks, after: u64) -> Chunks {
    let head = split(chunks, after).filter_map(|(piece, is_head)| async move {
        (is_head && !piece.is_empty()).then_some(Ok(piece))
    });
    // The turn in between lets the bytes out before the connection is dropped.
    let end = stream::once(async {
        tokio::task::yield_now().await;
        Err(Closed)
    });
    Box::pin(head.chain(end))
}

/// Pieces up to `at` bytes, marked true, and those after.
fn split(chunks: Chunks, at: u64) -> impl Stream<Item = (Bytes, bool)> + Send {
    let mut left = usize::try_from(at).unwrap();
    chunks.flat_map(move |chunk| {
        let mut rest = chunk.unwrap_or_default();
        let head = rest.split_to(left.min(rest.len()));
        left -= head.len();
        stream::iter([(head, true), (rest, false)])
            .filter(|(piece, _)| std::future::ready(!piece.is_empty()))
    })
}

fn zeros(bytes: u64) -> Chunks {
    static CHUNK: [u8; 64 * 1024] = [0; 64 * 1024];
    let mut left = bytes;
    Box::pin(stream::iter(std::iter::from_fn(move || {
        let size = left.min(CHUNK.len() as u64);
        left -= size;
        (size > 0).then(|| Ok(Bytes::from_static(&CHUNK[..usize::try_from(size).unwrap()])))
    })))
}
