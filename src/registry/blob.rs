//! Blobs: as long as the network wants, as large as the descriptor says, resumed where it broke.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt, stream};
use oci_client::client::BlobResponse;
use oci_client::errors::{DigestError, OciDistributionError, OciErrorCode};

use super::access::{Access, oci_problem};
use super::answer::{Answer, envelope, sanitise};
use super::error::{Item, RegistryError, Target};
use super::http::{ATTEMPTS, classify};
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
        digest: digest.to_string(),
        size,
        limit: if size > 0 { size } else { cap },
        received: 0,
        skip: 0,
        ranges: true,
        renewed: false,
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
    digest: String,
    /// What the descriptor says, in bytes; 0 is unknown.
    size: u64,
    /// More bytes than this are an error.
    limit: u64,
    received: u64,
    /// How many bytes of `body` were received before.
    skip: u64,
    /// The server is asked for ranges until it refuses one.
    ranges: bool,
    /// The token was renewed.
    renewed: bool,
    /// Failures since the last byte.
    failures: u32,
    /// Failures at all.
    resumes: u32,
    body: Option<BoxStream<'static, Result<Bytes, std::io::Error>>>,
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
                Some(Err(error)) => match mismatch(&error) {
                    // oci-client hashes what it reads from the start. If bytes are missing, that
                    // is why, and the rest may still come.
                    Some(actual) if self.size == 0 || complete => {
                        return Err(self.other_content(actual));
                    }
                    Some(_) => self.truncated(),
                    None if complete => return Ok(None),
                    None => classify(&self.target, &self.access.api().host, &error),
                },
            };
            self.body = None;
            self.pause(error).await?;
        }
    }

    /// Requests what is missing, with retries.
    async fn connect(&mut self) -> Result<(), RegistryError> {
        loop {
            match self.request().await {
                Ok(()) => return Ok(()),
                Err(error) => self.pause(error).await?,
            }
        }
    }

    /// Waits before the next try, or gives the error back if there is none.
    async fn pause(&mut self, error: RegistryError) -> Result<(), RegistryError> {
        self.failures += 1;
        self.resumes += 1;
        if !error.is_transient() || self.failures >= ATTEMPTS || self.resumes > MAX_RESUMES {
            return Err(error);
        }
        let wait = self.access.shared().transport.backoff(self.failures);
        tracing::debug!(target = %self.target, received = self.received, ?wait, %error, "resuming");
        tokio::time::sleep(wait).await;
        Ok(())
    }

    async fn request(&mut self) -> Result<(), RegistryError> {
        loop {
            let (client, generation) = self.access.blob_client(&self.target).await?;
            let reference = self.access.oci_reference();
            // A digest, and no descriptor: a descriptor's `urls` would be followed anywhere.
            let digest = self.digest.as_str();
            // A first request asks for no range: some servers refuse one of an empty blob.
            let ranged = self.ranges && self.received > 0;
            let call = async {
                if ranged {
                    client.pull_blob_stream_partial(&reference, digest, self.received, None).await
                } else {
                    client.pull_blob_stream(&reference, digest).await.map(BlobResponse::Full)
                }
            };
            let host = &self.access.api().host;
            let Ok(answer) = tokio::time::timeout(self.patience(), call).await else {
                let (target, host) = (self.target.clone(), host.clone());
                return Err(RegistryError::Timeout { target, host });
            };
            let (body, skip) = match answer {
                Ok(BlobResponse::Full(body)) => (body, self.received),
                Ok(BlobResponse::Partial(body)) => (body, 0),
                Err(OciDistributionError::UnauthorizedError { .. }) if !self.renewed => {
                    self.renewed = true;
                    if self.access.renew(&self.target, generation, None).await? {
                        continue;
                    }
                    return Err(self.access.refused(&self.target, status(401, None)));
                }
                Err(OciDistributionError::ServerError { code: 416, .. }) if ranged => {
                    self.ranges = false;
                    continue;
                }
                // The same in the specification's envelope, whose status is lost: see `meaning`.
                Err(error @ OciDistributionError::RegistryError { .. }) if ranged => {
                    match self.meaning(&error) {
                        RegistryError::Protocol { .. } => self.ranges = false,
                        error => return Err(error),
                    }
                    continue;
                }
                Err(error) => return Err(self.meaning(&error)),
            };
            let start = self.received - skip;
            if body.content_length.is_some_and(|length| length > self.limit.saturating_sub(start)) {
                return Err(self.too_large());
            }
            (self.body, self.skip) = (Some(body.stream), skip);
            return Ok(());
        }
    }

    /// How long the head of an answer may take. It also bounds an error's body, which oci-client
    /// reads to its end.
    fn patience(&self) -> Duration {
        let config = &self.access.shared().config;
        config.connect_timeout + config.read_timeout
    }

    fn truncated(&self) -> RegistryError {
        let (received, size) = (self.received, self.size);
        RegistryError::Truncated { target: self.target.clone(), received, size }
    }

    fn too_large(&self) -> RegistryError {
        RegistryError::TooLarge { target: self.target.clone(), limit: self.limit }
    }

    fn other_content(&self, actual: &str) -> RegistryError {
        match self.digest.parse() {
            Ok(expected) => RegistryError::Digest {
                target: self.target.clone(),
                expected,
                actual: actual.parse().ok(),
            },
            Err(error) => self.protocol(format!("sends other content: {error}")),
        }
    }

    fn protocol(&self, problem: String) -> RegistryError {
        let (target, host) = (self.target.clone(), self.access.api().host.clone());
        RegistryError::Protocol { target, host, problem }
    }

    /// What an error of `oci-client` means. It drops the status of an answer that has the
    /// specification's envelope, so the envelope's code stands for it.
    fn meaning(&self, error: &OciDistributionError) -> RegistryError {
        match error {
            OciDistributionError::RequestError(error) => {
                classify(&self.target, &self.access.api().host, error)
            }
            OciDistributionError::IoError(error) => {
                classify(&self.target, &self.access.api().host, error)
            }
            OciDistributionError::UnauthorizedError { .. } => self.answered(401, None),
            OciDistributionError::ServerError { code, message, .. } => {
                self.answered(*code, envelope(message.as_bytes()))
            }
            OciDistributionError::RegistryError { envelope, .. } => {
                let Some(error) = envelope.errors.first() else {
                    return self.protocol(oci_problem(error));
                };
                let code = match error.code {
                    OciErrorCode::Unauthorized => 401,
                    OciErrorCode::Denied => 403,
                    OciErrorCode::BlobUnknown
                    | OciErrorCode::ManifestBlobUnknown
                    | OciErrorCode::ManifestUnknown
                    | OciErrorCode::NameUnknown
                    | OciErrorCode::NotFound => 404,
                    OciErrorCode::Toomanyrequests => 429,
                    _ => 400,
                };
                let message = Some(sanitise(&error.message)).filter(|text| !text.is_empty());
                self.answered(code, message)
            }
            other => self.protocol(oci_problem(other)),
        }
    }

    fn answered(&self, code: u16, message: Option<String>) -> RegistryError {
        let answer = status(code, message);
        let (target, host) = (self.target.clone(), self.access.api().host.clone());
        match code {
            401 | 403 | 404 => self.access.refused(&self.target, answer),
            429 => RegistryError::TooManyRequests { target, host, answer },
            500..=599 => RegistryError::Server { target, host, status: code, answer },
            _ => self.protocol(format!("answers {answer}")),
        }
    }
}

fn status(status: u16, message: Option<String>) -> Answer {
    Answer::Status { status, from: None, message }
}

/// The digest of what came, if that is what the error is about.
fn mismatch(error: &std::io::Error) -> Option<&str> {
    match error.get_ref()?.downcast_ref()? {
        DigestError::VerificationError { actual, .. } => Some(actual),
        _ => None,
    }
}
