//! What the registry was asked, in order: the traffic that tests assert.

use std::sync::{Arc, Mutex};

use axum::http::request::Parts;
use axum::http::{HeaderName, header};

/// One request as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    /// The `Host` it was sent to: tells the two listeners of one registry apart.
    pub host: String,
    pub path: String,
    pub query: String,
    pub authorization: Option<String>,
    pub range: Option<String>,
    pub accept: Option<String>,
    pub user_agent: Option<String>,
    /// The header that tests configure for one host.
    pub mark: Option<String>,
    /// `HTTP/1.1`, `HTTP/2.0`.
    pub version: String,
    /// The status answered; 0 while there is none, or when the connection was closed instead.
    pub status: u16,
}

impl Request {
    pub(super) fn new(parts: &Parts) -> Self {
        let Parts { method, uri, headers, version, .. } = parts;
        let text = |name| {
            headers
                .get_all(name)
                .iter()
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
                .reduce(|all, next| format!("{all}, {next}"))
        };
        Self {
            method: method.to_string(),
            // HTTP/2 has it in the URL.
            host: text(header::HOST)
                .or_else(|| Some(uri.authority()?.to_string()))
                .unwrap_or_default(),
            path: uri.path().to_owned(),
            query: uri.query().unwrap_or_default().to_owned(),
            authorization: text(header::AUTHORIZATION),
            range: text(header::RANGE),
            accept: text(header::ACCEPT),
            user_agent: text(header::USER_AGENT),
            mark: text(HeaderName::from_static("x-mark")),
            version: format!("{version:?}"),
            status: 0,
        }
    }

    /// `GET /v2/acme/x/manifests/1.0.0 200`: a line to compare or print, without secrets.
    pub fn line(&self) -> String {
        let range = self.range.as_ref().map(|range| format!(" {range}")).unwrap_or_default();
        format!("{} {}{range} {}", self.method, self.path, self.status)
    }
}

/// All requests since the last clear, each with a number of its own.
#[derive(Debug, Clone, Default)]
pub(super) struct Log(Arc<Mutex<Numbered>>);

#[derive(Debug, Default)]
struct Numbered {
    last: u64,
    requests: Vec<(u64, Request)>,
}

impl Log {
    /// Writes a request down and returns its number.
    pub(super) fn push(&self, request: Request) -> u64 {
        let mut log = self.0.lock().unwrap();
        log.last += 1;
        let number = log.last;
        log.requests.push((number, request));
        number
    }

    pub(super) fn answered(&self, number: u64, status: u16) {
        let requests = &mut self.0.lock().unwrap().requests;
        // The log may have been cleared in between.
        if let Some((_, request)) = requests.iter_mut().find(|(known, _)| *known == number) {
            request.status = status;
        }
    }

    pub(super) fn all(&self) -> Vec<Request> {
        self.0.lock().unwrap().requests.iter().map(|(_, request)| request.clone()).collect()
    }

    pub(super) fn clear(&self) {
        self.0.lock().unwrap().requests.clear();
    }
}
