//! Redirects: never less safe after one than before it, and nothing that is meant for one host
//! alone goes to the next.

use reqwest::header::{ACCEPT, HeaderMap, LOCATION, RANGE};
use reqwest::{Response, StatusCode};
use url::Url;

use super::address::{authority, is_loopback};

/// As many as browsers and Go follow.
const MAX: usize = 10;

/// Where a request is on its way.
pub(super) struct Path {
    first: Url,
    pub(super) url: Url,
    steps: usize,
    /// It has left the origin that it was made for. It does not come back.
    pub(super) moved: bool,
}

impl Path {
    pub(super) fn new(url: Url) -> Self {
        Self { first: url.clone(), url, steps: 0, moved: false }
    }

    /// Whether the next request goes to the machine that the first one went to, on any port.
    pub(super) fn is_at_home(&self) -> bool {
        self.url.host() == self.first.host()
    }

    /// What of the first request's headers goes with the next.
    pub(super) fn headers(&self, all: &HeaderMap) -> HeaderMap {
        if !self.moved {
            return all.clone();
        }
        let kept = [ACCEPT, RANGE].map(|name| (all.get(&name).cloned(), name));
        kept.into_iter().filter_map(|(value, name)| Some((name, value?))).collect()
    }

    /// Goes where the answer leads. False if it leads nowhere: then it is the answer.
    pub(super) fn follow(
        &mut self,
        response: &Response,
        plain_http: &[String],
    ) -> Result<bool, &'static str> {
        let redirects = matches!(
            response.status(),
            StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT
        );
        let Some(location) = response.headers().get(LOCATION).filter(|_| redirects) else {
            return Ok(false);
        };
        let next = location.to_str().ok().and_then(|text| self.url.join(text).ok());
        let next = next.ok_or("to something that is no URL")?;
        let host = authority(&next);
        let may_be_plain = || {
            is_loopback(&host) || plain_http.contains(&host) || next.origin() == self.first.origin()
        };
        match next.scheme() {
            "https" => {}
            "http" if self.url.scheme() == "https" => {
                return Err("from https to http; that is not followed");
            }
            "http" if may_be_plain() => {}
            "http" => {
                return Err(
                    "to a host without TLS that --plain-http does not list; that is not followed",
                );
            }
            _ => return Err("to a URL that is neither http nor https"),
        }
        if !next.username().is_empty() || next.password().is_some() {
            return Err("to a URL with a login; that is not followed");
        }
        self.steps += 1;
        if self.steps > MAX {
            return Err("more than ten times");
        }
        self.moved |= next.origin() != self.first.origin();
        self.url = next;
        Ok(true)
    }
}
