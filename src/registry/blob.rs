//! Blobs: as long as they come at a certain pace, as large as the descriptor says, resumed where it broke.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt, stream};
use reqwest::header::{CONTENT_RANGE, RANGE};
use reqwest::{Response, StatusCode};
use tokio::time::Instant;

use super::access::Access;
use super::error::{Item, RegistryError, Target};
use super::hosts::Route;
use super::http::{ATTEMPTS, MAX_RETRY_AFTER, Opened, Reply, classify, overload, retry_after};
use super::pace::Pace;
use super::search::{Failed, Search};
use super::session::Session;
use crate::reference::Digest;

/// A blob's bytes in order. It ends after the first error.
pub type BlobStream = Pin<Box<dyn Stream<Item = Result<Bytes, RegistryError>> + Send>>;

/// How often one blob is resumed at all, so that a server cannot feed it byte by byte.
const MAX_RESUMES: u32 = 8;

pub(super) async fn open(
    access: &Access,
    digest: &Digest,
    size: u64,
    cap: u64,
) -> Result<BlobStream, RegistryError> {
    let mut download = Download {
        session: access.session.clone(),
        others: access.search.others(&access.session).into(),
        manifest: access.manifest.clone(),
        search: access.search.clone(),
        failed: Vec::new(),
        target: access.search.target(&access.session, Item::Blob(digest.clone())),
        digest: digest.clone(),
        size,
        limit: if size > 0 { size } else { cap },
        received: 0,
        skip: 0,
        ranges: true,
        failures: 0,
        resumes: 0,
        pace: access.session.shared().transport.pace.clone(),
        body: None,
    };
    // The first answer is awaited here, so that a refusal is an error of the call.
    while let Err(error) = download.connect().await {
        download.elsewhere(error).await?;
    }
    Ok(Box::pin(stream::try_unfold(download, |mut download| async move {
        Ok(download.next().await?.map(|bytes| (bytes, download)))
    })))
}

struct Download {
    session: Session,
    /// The hosts that were not asked yet.
    others: VecDeque<Arc<Route>>,
    /// What a login at another host is proved with.
    manifest: Digest,
    search: Arc<Search>,
    /// What went wrong at earlier hosts.
    failed: Vec<Failed>,
    target: Arc<Target>,
    /// All that URLs are made of. A descriptor's `urls`, which may lead anywhere, are never
    /// followed.
    digest: Digest,
    /// What the descriptor says, in bytes; 0 is unknown.
    size: u64,
    /// More bytes than this are an error.
    limit: u64,
    received: u64,
    /// How many bytes of `body` were received before.
    skip: u64,
    /// The server is asked for ranges until it refuses one.
    ranges: bool,
    /// Failures since the last byte.
    failures: u32,
    /// Failures at all.
    resumes: u32,
    pace: Pace,
    body: Option<BoxStream<'static, reqwest::Result<Bytes>>>,
}

impl Download {
    async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        loop {
            match self.piece().await {
                Ok(piece) => return Ok(piece),
                Err(error) => self.elsewhere(error).await?,
            }
        }
    }

    /// Goes on at the next host that lets the caller in; or else the error of all hosts. Bytes that
    /// the descriptor has no room for have been counted: that is the content's fault.
    async fn elsewhere(&mut self, error: RegistryError) -> Result<(), RegistryError> {
        self.failed.push((self.host().to_owned(), error));
        while self.received <= self.limit
            && let Some(route) = self.others.pop_front()
        {
            match self.search.session(&route, &self.manifest).await {
                Ok(session) => {
                    tracing::debug!(target = %self.target, host = route.host, "going on elsewhere");
                    self.session = session;
                    let item = Item::Blob(self.digest.clone());
                    self.target = self.search.target(&self.session, item);
                    (self.failures, self.resumes, self.ranges) = (0, 0, true);
                    self.body = None;
                    self.pace.restart();
                    return Ok(());
                }
                Err(error) => self.failed.push((route.host.clone(), error)),
            }
        }
        let failed = std::mem::take(&mut self.failed);
        Err(self.search.among(Item::Blob(self.digest.clone()), failed))
    }

    fn host(&self) -> &str {
        self.session.api().host()
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, RegistryError> {
        loop {
            let Some(body) = &mut self.body else {
                self.connect().await?;
                continue;
            };
            let complete = self.size > 0 && self.received == self.size;
            let asked = Instant::now();
            let error = match body.next().await {
                Some(Ok(mut bytes)) => {
                    let is_slow = self.pace.is_too_slow(bytes.len(), asked.elapsed());
                    self.session.shared().transport.metrics.downloaded(bytes.len());
                    let known = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
                    bytes.advance(known);
                    self.skip -= known as u64;
                    self.received = self.received.saturating_add(bytes.len() as u64);
                    if self.received > self.limit {
                        return Err(self.too_large());
                    }
                    if is_slow && self.received != self.size {
                        return Err(self.too_slow());
                    }
                    if bytes.is_empty() {
                        continue;
                    }
                    self.failures = 0;
                    return Ok(Some(bytes));
                }
                None if self.size == 0 || complete => return Ok(None),
                None => self.truncated(),
                Some(Err(_)) if complete => return Ok(None),
                Some(Err(error)) => classify(&self.target, self.host(), &error),
            };
            self.body = None;
            self.pause(error, None).await?;
        }
    }

    /// Requests what is missing, with retries.
    async fn connect(&mut self) -> Result<(), RegistryError> {
        loop {
            let (error, wait) = match self.request().await {
                Ok(Opened::Body(response)) => match self.accept(response) {
                    Ok(accepted) if accepted => return Ok(()),
                    Ok(_) => continue,
                    Err(error) => (error, None),
                },
                Ok(Opened::Refused(reply)) => {
                    if reply.status == StatusCode::RANGE_NOT_SATISFIABLE && self.wants_range() {
                        self.ranges = false;
                        continue;
                    }
                    (self.meaning(&reply), retry_after(&reply.headers))
                }
                Err(error) => (error, None),
            };
            self.pause(error, wait).await?;
        }
    }

    /// Waits before the next try, as long as the server asked for, or gives the error back if
    /// there is none.
    async fn pause(
        &mut self,
        error: RegistryError,
        wait: Option<Duration>,
    ) -> Result<(), RegistryError> {
        self.failures += 1;
        self.resumes += 1;
        let too_long = wait.is_some_and(|wait| wait > MAX_RETRY_AFTER);
        if !error.is_transient()
            || too_long
            || self.failures >= ATTEMPTS
            || self.resumes > MAX_RESUMES
        {
            return Err(error);
        }
        let wait = wait.unwrap_or_else(|| self.session.shared().transport.backoff(self.failures));
        tracing::debug!(target = %self.target, received = self.received, ?wait, %error, "resuming");
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// A first request asks for no range: some servers refuse one of an empty blob.
    fn wants_range(&self) -> bool {
        self.ranges && self.received > 0
    }

    async fn request(&mut self) -> Result<Opened, RegistryError> {
        let mut ask = self.session.api().ask(&format!("blobs/{}", self.digest));
        if self.wants_range() {
            ask = ask.header(RANGE, &format!("bytes={}-", self.received));
        }
        self.session.open(&self.target, &ask).await
    }

    /// Takes a success's body. False if the server sends another range than it was asked for;
    /// then it is asked for the whole.
    fn accept(&mut self, response: Response) -> Result<bool, RegistryError> {
        let start = match response.status() {
            StatusCode::OK => 0,
            StatusCode::PARTIAL_CONTENT if self.wants_range() => {
                if first_byte(&response) != Some(self.received) {
                    self.ranges = false;
                    return Ok(false);
                }
                self.received
            }
            other => return Err(self.protocol(format!("answers {other}"))),
        };
        let room = self.limit.saturating_sub(start);
        if response.content_length().is_some_and(|length| length > room) {
            return Err(self.too_large());
        }
        self.skip = self.received - start;
        self.body = Some(response.bytes_stream().boxed());
        Ok(true)
    }

    fn truncated(&self) -> RegistryError {
        let (received, size) = (self.received, self.size);
        RegistryError::Truncated { target: self.target.clone(), received, size }
    }

    /// Not to be tried again at the same host: it would begin to be slow anew.
    fn too_slow(&self) -> RegistryError {
        let (target, host) = (self.target.clone(), self.host().to_owned());
        let (received, limit) = (self.received, self.pace.limit());
        RegistryError::TooSlow { target, host, received, limit }
    }

    fn too_large(&self) -> RegistryError {
        RegistryError::TooLarge { target: self.target.clone(), limit: self.limit }
    }

    fn protocol(&self, problem: String) -> RegistryError {
        let (target, host) = (self.target.clone(), self.host().to_owned());
        RegistryError::Protocol { target, host, problem }
    }

    fn meaning(&self, reply: &Reply) -> RegistryError {
        let host = self.host();
        if let Some(error) = overload(&self.target, host, reply) {
            return error;
        }
        let answer = reply.answer(None);
        match reply.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
                self.session.refused(&self.target, answer)
            }
            _ => self.protocol(format!("answers {answer}")),
        }
    }
}

/// Where the part starts that the server sends: `Content-Range: bytes 8-19/20`.
fn first_byte(response: &Response) -> Option<u64> {
    let range = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}
