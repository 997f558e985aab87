//! One HTTP exchange: bounded in size and time, retried when that may help, never less safe
//! after a redirect than before it.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use reqwest::header::{HeaderMap, RETRY_AFTER, WWW_AUTHENTICATE};
use reqwest::redirect::{Attempt as Redirect, Policy};
use reqwest::{RequestBuilder, Response, StatusCode};
use rustls::pki_types::{CertificateDer, pem::PemObject};

use super::answer::{Answer, envelope};
use super::challenge::{self, Challenge};
use super::error::{Cause, RegistryError, RegistrySetupError, Target};
use super::{RegistryConfig, install_crypto_provider};
use crate::observability::metrics::Metrics;

/// How often a request is tried in all.
pub(super) const ATTEMPTS: u32 = 3;

/// The longest wait that a server may ask for with `Retry-After`; kubelet waits better than this.
pub(super) const MAX_RETRY_AFTER: Duration = Duration::from_secs(10);

/// As many redirects as browsers and Go follow.
const MAX_REDIRECTS: usize = 10;

/// How much of an error's body is read.
const ERROR_BYTES: u64 = 8 << 10;

/// The clients. They are shared by all credentials: `Authorization`
/// belongs to a request, and HTTP/1.1 connections have no identity of their own.
#[derive(Clone, Debug)]
pub(super) struct Transport {
    /// Follows redirects.
    pub(super) client: reqwest::Client,
    /// Follows none: a redirected POST would carry a refresh token to wherever it points.
    pub(super) strict: reqwest::Client,
    /// The first pause before a retry; it doubles.
    retry_pause: Duration,
    /// The longest time for one attempt as a whole, body included; of a blob, for the head.
    deadline: Duration,
    pub(super) metrics: Metrics,
}

/// An answer whose body may be long.
pub(super) enum Opened {
    /// A success, its body unread.
    Body(Response),
    /// Anything else, read to its end.
    Refused(Reply),
}

/// An answer, read to its end. It has no `Debug`: a token service's answer is a secret.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// The answer came from another origin, by a redirect.
    moved: bool,
    /// At most as long as was allowed; an error's body is cut at [`ERROR_BYTES`].
    pub(super) body: Bytes,
}

impl Reply {
    /// The answer for people. `from` is the token service's host, if it answered.
    pub(super) fn answer(&self, from: Option<String>) -> Answer {
        Answer::Status { status: self.status.as_u16(), from, message: envelope(&self.body) }
    }

    /// How the server wants its callers to log in. Only the registry itself may say where its
    /// credentials go, not a host that it redirects to.
    pub(super) fn challenge(&self) -> Option<Challenge> {
        if self.moved {
            return None;
        }
        let values = self.headers.get_all(WWW_AUTHENTICATE);
        challenge::best(values.iter().filter_map(|value| value.to_str().ok()))
    }
}

/// A redirect that is not followed.
#[derive(Debug, thiserror::Error)]
#[error("redirects {0}")]
struct RedirectRefused(&'static str);

fn policy(plain_http: Vec<String>) -> Policy {
    Policy::custom(move |redirect: Redirect<'_>| {
        let host = super::auth::authority(redirect.url());
        let may_be_plain = || super::host::is_loopback(&host) || plain_http.contains(&host);
        let was_https = redirect.previous().iter().any(|url| url.scheme() == "https");
        if was_https && redirect.url().scheme() != "https" {
            redirect.error(RedirectRefused("from https to http; that is not followed"))
        } else if redirect.url().scheme() != "https" && !may_be_plain() {
            redirect.error(RedirectRefused(
                "to a host without TLS that --plain-http does not list; that is not followed",
            ))
        } else if redirect.previous().len() > MAX_REDIRECTS {
            redirect.error(RedirectRefused("more than ten times"))
        } else {
            redirect.follow()
        }
    })
}

/// The certificates of all CA files, in DER.
pub(super) fn read_ca_files<'a>(
    files: impl IntoIterator<Item = &'a Path>,
) -> Result<Vec<Vec<u8>>, RegistrySetupError> {
    let mut certificates = Vec::new();
    for path in files {
        let pem = std::fs::read(path)
            .map_err(|source| RegistrySetupError::ReadCa { path: path.into(), source })?;
        let before = certificates.len();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|_| RegistrySetupError::ParseCa(path.into()))?;
            certificates.push(certificate.to_vec());
        }
        if certificates.len() == before {
            return Err(RegistrySetupError::ParseCa(path.into()));
        }
    }
    Ok(certificates)
}

impl Transport {
    pub(super) fn new(
        config: &RegistryConfig,
        cas: &[Vec<u8>],
    ) -> Result<Self, RegistrySetupError> {
        // reqwest panics without a provider.
        install_crypto_provider();
        let client = |policy: Policy| {
            let certificates = cas
                .iter()
                .map(|der| reqwest::Certificate::from_der(der))
                .collect::<Result<Vec<_>, _>>()?;
            reqwest::Client::builder()
                .http1_only()
                .connect_timeout(config.connect_timeout)
                .read_timeout(config.read_timeout)
                .redirect(policy)
                .referer(false)
                .tls_certs_merge(certificates)
                .user_agent(config.user_agent)
                .build()
        };
        let setup =
            |error: reqwest::Error| RegistrySetupError::Client { source: Cause::of(&error) };
        Ok(Self {
            client: client(policy(config.plain_http.clone())).map_err(setup)?,
            strict: client(Policy::none()).map_err(setup)?,
            retry_pause: config.retry_pause,
            deadline: config.connect_timeout + 2 * config.read_timeout,
            metrics: config.metrics.clone(),
        })
    }

    /// Sends what `request` makes until the answer is something else than a broken connection,
    /// 429 or 5xx, at most [`ATTEMPTS`] times. Nothing but the answer's status is judged: 401 and
    /// 404 are answers. A success's body may have `limit` bytes; if it has more, `None`. Nothing is
    /// kept of a refusal that repeats one of `secrets`.
    pub(super) async fn exchange(
        &self,
        target: &Arc<Target>,
        host: &str,
        limit: u64,
        secrets: &[&str],
        request: impl Fn() -> RequestBuilder,
    ) -> Result<Option<Reply>, RegistryError> {
        let mut attempt = 1;
        loop {
            let (error, wait) = match self.once(target, host, limit, secrets, request()).await {
                Ok(None) => return Ok(None),
                Ok(Some(reply)) => match overload(target, host, &reply) {
                    None => return Ok(Some(reply)),
                    Some(error) => (error, retry_after(&reply.headers)),
                },
                Err(error) => (error, None),
            };
            let too_long = wait.is_some_and(|wait| wait > MAX_RETRY_AFTER);
            if attempt == ATTEMPTS || too_long || !error.is_transient() {
                return Err(error);
            }
            let wait = wait.unwrap_or_else(|| self.backoff(attempt));
            tracing::debug!(%target, host, attempt, ?wait, %error, "retrying");
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }

    async fn once(
        &self,
        target: &Arc<Target>,
        host: &str,
        limit: u64,
        secrets: &[&str],
        request: RequestBuilder,
    ) -> Result<Option<Reply>, RegistryError> {
        let failed = |error: reqwest::Error| classify(target, host, &error);
        let (response, moved) = self.send(target, host, request.timeout(self.deadline)).await?;
        if !response.status().is_success() {
            return refusal(response, moved, secrets).await.map(Some).map_err(failed);
        }
        let (status, headers) = (response.status(), response.headers().clone());
        let (body, whole) = read(response, limit).await.map_err(failed)?;
        Ok(whole.then_some(Reply { status, headers, moved, body }))
    }

    /// Sends a request once, and leaves a success's body to the caller: the time between two of
    /// its chunks is bounded, the whole is not.
    pub(super) async fn open(
        &self,
        target: &Arc<Target>,
        host: &str,
        secrets: &[&str],
        request: RequestBuilder,
    ) -> Result<Opened, RegistryError> {
        let failed = |error: reqwest::Error| classify(target, host, &error);
        let head = async {
            let (response, moved) = self.send(target, host, request).await?;
            if response.status().is_success() {
                return Ok(Opened::Body(response));
            }
            let refusal = refusal(response, moved, secrets).await.map_err(failed)?;
            Ok(Opened::Refused(refusal))
        };
        match tokio::time::timeout(self.deadline, head).await {
            Ok(answer) => answer,
            Err(_) => {
                let (target, host) = (target.clone(), host.to_owned());
                Err(RegistryError::Timeout { target, host })
            }
        }
    }

    /// Sends a request and counts it by what came back. Also says whether that came from another
    /// origin, by a redirect.
    async fn send(
        &self,
        target: &Arc<Target>,
        host: &str,
        request: RequestBuilder,
    ) -> Result<(Response, bool), RegistryError> {
        let (client, request) = request.build_split();
        let request = request.map_err(|error| classify(target, host, &error))?;
        let origin = request.url().origin();
        let sent = self.metrics.request();
        match client.execute(request).await {
            Ok(response) => {
                sent.answered(response.status().as_u16());
                let moved = response.url().origin() != origin;
                Ok((response, moved))
            }
            Err(error) => {
                let error = classify(target, host, &error);
                sent.failed(failure(&error));
                Err(error)
            }
        }
    }

    /// The pause after the given attempt: twice the one before, and up to half as much again, so
    /// that the nodes of a cluster do not come back all at once.
    pub(super) fn backoff(&self, attempt: u32) -> Duration {
        let pause = self.retry_pause.saturating_mul(1 << attempt.saturating_sub(1).min(6));
        let mut random = [0; 1];
        // Without randomness the pause is only less spread.
        let spread = aws_lc_rs::rand::fill(&mut random).map_or(0, |()| random[0]);
        pause + pause.mul_f32(f32::from(spread) / 510.0)
    }
}

/// The error for an answer that says "later".
pub(super) fn overload(target: &Arc<Target>, host: &str, reply: &Reply) -> Option<RegistryError> {
    let (target, host, answer) = (target.clone(), host.to_owned(), reply.answer(None));
    match reply.status {
        StatusCode::TOO_MANY_REQUESTS => {
            Some(RegistryError::TooManyRequests { target, host, answer })
        }
        status if status.is_server_error() => {
            Some(RegistryError::Server { target, host, status: status.as_u16(), answer })
        }
        _ => None,
    }
}

/// The seconds of `Retry-After`. Its other form, a date, would need a clock that agrees.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// An answer that is no success, of which [`ERROR_BYTES`] are read.
async fn refusal(
    response: Response,
    moved: bool,
    secrets: &[&str],
) -> Result<Reply, reqwest::Error> {
    let (status, headers) = (response.status(), response.headers().clone());
    let (body, _) = read(response, ERROR_BYTES).await?;
    Ok(Reply { status, headers, moved, body: scrubbed(body, secrets) })
}

/// The body of a refusal; nothing of it if it repeats a secret that the server was sent.
fn scrubbed(body: Bytes, secrets: &[&str]) -> Bytes {
    let told = envelope(&body).unwrap_or_default();
    let raw = String::from_utf8_lossy(&body);
    let repeats =
        |secret: &&str| !secret.is_empty() && (raw.contains(*secret) || told.contains(*secret));
    if secrets.iter().any(repeats) { Bytes::new() } else { body }
}

/// At most `limit` bytes of the body, and whether that was all of it.
async fn read(response: Response, limit: u64) -> Result<(Bytes, bool), reqwest::Error> {
    let mut body = BytesMut::new();
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        let room = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(body.len());
        if chunk.len() > room {
            body.extend_from_slice(&chunk[..room]);
            return Ok((body.freeze(), false));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((body.freeze(), true))
}

/// What a failed exchange means. The error's own text is not used: it repeats URLs.
pub(super) fn classify(
    target: &Arc<Target>,
    host: &str,
    error: &(dyn Error + 'static),
) -> RegistryError {
    let (target, host, source) = (target.clone(), host.to_owned(), Cause::of(error));
    if let Some(RedirectRefused(problem)) = find(error) {
        return RegistryError::Protocol { target, host, problem: format!("redirects {problem}") };
    }
    match find::<rustls::Error>(error) {
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
            return RegistryError::Certificate { target, host, source };
        }
        Some(_) => return RegistryError::Tls { target, host, source },
        None => {}
    }
    match find::<reqwest::Error>(error) {
        Some(error) if error.is_timeout() => RegistryError::Timeout { target, host },
        Some(error) if error.is_connect() => RegistryError::Connect { target, host, source },
        Some(error) if error.is_builder() || error.is_redirect() => RegistryError::Protocol {
            target,
            host,
            problem: format!("leads to a URL that cannot be asked: {source}"),
        },
        _ => RegistryError::Interrupted { target, host, source },
    }
}

/// What kept a request from being answered, in the words of the metric.
fn failure(error: &RegistryError) -> &'static str {
    match error {
        RegistryError::Connect { .. } => "connect",
        RegistryError::Timeout { .. } => "timeout",
        RegistryError::Certificate { .. } => "certificate",
        RegistryError::Tls { .. } => "tls",
        RegistryError::Interrupted { .. } => "interrupted",
        _ => "redirect",
    }
}

/// Whether the peer answered a TLS handshake with something that is not TLS.
pub(super) fn speaks_no_tls(error: &(dyn Error + 'static)) -> bool {
    matches!(
        find::<rustls::Error>(error),
        Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType))
    )
}

/// The first error of type `E` in the chain. An `io::Error` hides what it wraps from
/// `source()`, which goes straight to the wrapped error's own source.
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(found) = inner.and_then(|inner| find::<E>(inner)) {
            return Some(found);
        }
        next = error.source();
    }
    None
}
