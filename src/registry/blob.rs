//! Blobs: as long as the network wants, as large as the descriptor says, resumed where it broke.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt, stream};
use reqwest::header::{CONTENT_RANGE, RANGE};
use reqwest::{Response, StatusCode};

use super::access::Access;
use super::error::{Item, RegistryError, Target};
use super::http::{ATTEMPTS, MAX_RETRY_AFTER, Opened, Reply, classify, overload, retry_after};
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
    let item = Item::Blob(digest.clone());
    let mut download = Download {
        access: access.clone(),
        target: Arc::new(Target { repository: access.repository().clone(), item }),
        url: access.api().url(&format!("{}/blobs/{digest}", access.repository().path())),
        size,
        limit: if size > 0 { size } else { cap },
        received: 0,
        skip: 0,
        ranges: true,
        failures: 0,
        resumes: 0,
        body: None,
    };
    // The first answer is awaited here, so that a refusal is an error of the call.
    download.connect().await?;
    Ok(Box::pin(stream::try_unfold(download, |mut download| async move {
        Ok(download.next().await?.map(|bytes| (bytes, download)))
    })))
}

struct Download {
    access: Access,
    target: Arc<Target>,
    /// Made of the digest. A descriptor's `urls`, which may lead anywhere, are never followed.
    url: String,
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
    body: Option<BoxStream<'static, reqwest::Result<Bytes>>>,
}

impl Download {
    async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        loop {
            let Some(body) = &mut self.body else {
                self.connect().await?;
                continue;
            };
            let complete = self.size > 0 && self.received == self.size;
            let error = match body.next().await {
                Some(Ok(mut bytes)) => {
                    self.access.shared().transport.metrics.downloaded(bytes.len());
                    let known = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
                    bytes.advance(known);
                    self.skip -= known as u64;
                    if bytes.is_empty() {
                        continue;
                    }
                    self.received = self.received.saturating_add(bytes.len() as u64);
                    if self.received > self.limit {
                        return Err(self.too_large());
                    }
                    self.failures = 0;
                    return Ok(Some(bytes));
                }
                None if self.size == 0 || complete => return Ok(None),
                None => self.truncated(),
                Some(Err(_)) if complete => return Ok(None),
                Some(Err(error)) => classify(&self.target, &self.access.api().host, &error),
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
        let wait = wait.unwrap_or_else(|| self.access.shared().transport.backoff(self.failures));
        tracing::debug!(target = %self.target, received = self.received, ?wait, %error, "resuming");
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// A first request asks for no range: some servers refuse one of an empty blob.
    fn wants_range(&self) -> bool {
        self.ranges && self.received > 0
    }

    async fn request(&mut self) -> Result<Opened, RegistryError> {
        let client = &self.access.shared().transport.client;
        let range = self.wants_range().then(|| format!("bytes={}-", self.received));
        let request = || {
            let request = client.get(&self.url);
            match &range {
                Some(range) => request.header(RANGE, range),
                None => request,
            }
        };
        self.access.open(&self.target, request).await
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

    fn too_large(&self) -> RegistryError {
        RegistryError::TooLarge { target: self.target.clone(), limit: self.limit }
    }

    fn protocol(&self, problem: String) -> RegistryError {
        let (target, host) = (self.target.clone(), self.access.api().host.clone());
        RegistryError::Protocol { target, host, problem }
    }

    fn meaning(&self, reply: &Reply) -> RegistryError {
        let host = &self.access.api().host;
        if let Some(error) = overload(&self.target, host, reply) {
            return error;
        }
        let answer = reply.answer(None);
        match reply.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
                self.access.refused(&self.target, answer)
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
