//! One HTTP exchange: bounded in size and time, retried when that may help, never less safe
//! after a redirect than before it.

use std::path::Path as File;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{HeaderMap, RETRY_AFTER, WWW_AUTHENTICATE};
use reqwest::{Response, StatusCode};
use url::Url;

use super::address::{authority, is_loopback};
use super::answer::{Answer, envelope};
use super::ask::Ask;
use super::challenge::{self, Challenge};
use super::clients::Clients;
use super::error::{RegistryError, RegistrySetupError, Target};
pub(super) use super::failure::classify;
use super::failure::{failure, refuses, speaks_no_tls};
use super::hosts::Setup;
use super::pace::Pace;
use super::redirect::Path;
use super::{RegistryConfig, install_crypto_provider};
use crate::observability::metrics::Metrics;
use crate::web;

/// How often a request is tried in all.
pub(super) const ATTEMPTS: u32 = 3;

/// The longest wait that a server may ask for with `Retry-After`; kubelet waits better than this.
pub(super) const MAX_RETRY_AFTER: Duration = Duration::from_secs(10);

/// How much of an error's body is read.
const ERROR_BYTES: u64 = 8 << 10;

/// The clients, and what bounds each exchange.
#[derive(Clone, Debug)]
pub(super) struct Transport {
    clients: Arc<Clients>,
    /// Hosts that the administrator allows without TLS.
    plain_http: Vec<String>,
    /// The first pause before a retry; it doubles.
    retry_pause: Duration,
    /// The longest time for one attempt as a whole, body included; of a blob, for the head.
    deadline: Duration,
    /// That of a blob's body, for each to start with.
    pub(super) pace: Pace,
    pub(super) metrics: Metrics,
}

/// What a host says to a TLS handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Probe {
    /// It completes one.
    Tls,
    /// Something that is not TLS.
    Plain,
    /// Nothing: it refuses the connection.
    Nobody,
    /// Something else went wrong: a bad certificate, a handshake that broke, no answer, no such
    /// host. None of that says that it is without TLS.
    Unknown,
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

/// The certificates of all CA files, in DER.
pub(super) fn read_ca_files<'a>(
    files: impl IntoIterator<Item = &'a File>,
) -> Result<Vec<Vec<u8>>, RegistrySetupError> {
    let mut certificates = Vec::new();
    for path in files {
        let pem = std::fs::read(path)
            .map_err(|source| RegistrySetupError::ReadCa { path: path.into(), source })?;
        let found = web::certificates(&pem);
        certificates.extend(found.ok_or_else(|| RegistrySetupError::ParseCa(path.into()))?);
    }
    Ok(certificates)
}

impl Transport {
    pub(super) fn new(
        config: &RegistryConfig,
        cas: Vec<Vec<u8>>,
    ) -> Result<Self, RegistrySetupError> {
        // reqwest panics without a provider.
        install_crypto_provider();
        Ok(Self {
            clients: Clients::new(config, cas)?,
            plain_http: config.plain_http.clone(),
            retry_pause: config.retry_pause,
            deadline: config.connect_timeout + 2 * config.read_timeout,
            pace: Pace::new(config.low_speed_limit, config.low_speed_time),
            metrics: config.metrics.clone(),
        })
    }

    /// Makes the usual clients.
    pub(super) async fn warm_up(&self) {
        for direct in [false, true] {
            if let Err(error) = self.clients.get(&Setup::default(), direct).await {
                tracing::debug!(%error, "cannot make a client");
            }
        }
    }

    /// Asks until the answer is something else than a broken connection, 429 or 5xx, as often as
    /// `ask` says. Nothing but the answer's status is judged: 401 and 404 are answers. A success's
    /// body may have `limit` bytes; if it has more, `None`. Nothing is kept of a refusal that
    /// repeats one of `secrets`.
    pub(super) async fn exchange(
        &self,
        target: &Arc<Target>,
        ask: &Ask,
        limit: u64,
        secrets: &[&str],
    ) -> Result<Option<Reply>, RegistryError> {
        let host = ask.host.as_str();
        let mut attempt = 1;
        loop {
            let once = tokio::time::timeout(self.deadline, self.once(target, ask, limit, secrets));
            let (error, wait) = match once.await.unwrap_or_else(|_| Err(timeout(target, host))) {
                Ok(None) => return Ok(None),
                Ok(Some(reply)) => match overload(target, host, &reply) {
                    None => return Ok(Some(reply)),
                    Some(error) => (error, retry_after(&reply.headers)),
                },
                Err(error) => (error, None),
            };
            let too_long = wait.is_some_and(|wait| wait > MAX_RETRY_AFTER);
            if attempt >= ask.attempts || too_long || !error.is_transient() {
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
        ask: &Ask,
        limit: u64,
        secrets: &[&str],
    ) -> Result<Option<Reply>, RegistryError> {
        let failed = |error: reqwest::Error| classify(target, &ask.host, &error);
        let (response, moved) = self.send(target, ask).await?;
        if !response.status().is_success() {
            return refusal(response, moved, ask, secrets).await.map(Some).map_err(failed);
        }
        let (status, headers) = (response.status(), response.headers().clone());
        let (body, whole) = web::body(response, limit).await.map_err(failed)?;
        Ok(whole.then_some(Reply { status, headers, moved, body }))
    }

    /// Asks once, and leaves a success's body to the caller: the time between two of its chunks is
    /// bounded, the whole by the caller's [`Pace`] only.
    pub(super) async fn open(
        &self,
        target: &Arc<Target>,
        ask: &Ask,
        secrets: &[&str],
    ) -> Result<Opened, RegistryError> {
        let failed = |error: reqwest::Error| classify(target, &ask.host, &error);
        let head = async {
            let (response, moved) = self.send(target, ask).await?;
            if response.status().is_success() {
                return Ok(Opened::Body(response));
            }
            let refusal = refusal(response, moved, ask, secrets).await.map_err(failed)?;
            Ok(Opened::Refused(refusal))
        };
        let answer = tokio::time::timeout(self.deadline, head).await;
        answer.unwrap_or_else(|_| Err(timeout(target, &ask.host)))
    }

    /// Whether a host answers a request for `url` with TLS, whatever it answers.
    pub(super) async fn probe(&self, setup: &Setup, url: Url) -> Probe {
        let direct = is_loopback(&authority(&url));
        let Ok(client) = self.clients.get(setup, direct).await else { return Probe::Unknown };
        match client.get(url).send().await {
            Ok(_) => Probe::Tls,
            Err(error) if speaks_no_tls(&error) => Probe::Plain,
            Err(error) if refuses(&error) => Probe::Nobody,
            Err(_) => Probe::Unknown,
        }
    }

    /// Sends a request, goes where redirects lead, and counts it by what came back. Also says
    /// whether that came from another origin.
    async fn send(
        &self,
        target: &Arc<Target>,
        ask: &Ask,
    ) -> Result<(Response, bool), RegistryError> {
        let sent = self.metrics.request();
        match self.travel(target, ask).await {
            Ok((response, moved)) => {
                sent.answered(response.status().as_u16());
                Ok((response, moved))
            }
            Err(error) => {
                sent.failed(failure(&error));
                Err(error)
            }
        }
    }

    async fn travel(
        &self,
        target: &Arc<Target>,
        ask: &Ask,
    ) -> Result<(Response, bool), RegistryError> {
        let protocol = |problem: String| {
            let (target, host) = (target.clone(), ask.host.clone());
            RegistryError::Protocol { target, host, problem }
        };
        let mut path = Path::new(ask.url.clone());
        let elsewhere = ask.setup.elsewhere();
        loop {
            let setup = if path.is_at_home() { &*ask.setup } else { &elsewhere };
            let direct = is_loopback(&authority(&path.url));
            let client = self.clients.get(setup, direct).await;
            let client =
                client.map_err(|cause| protocol(format!("cannot be spoken to: {cause}")))?;
            let mut headers = HeaderMap::new();
            for (name, value) in setup.headers.iter().filter(|_| !path.moved) {
                headers.append(name, value.clone());
            }
            // Those of the request itself count.
            headers.extend(path.headers(&ask.headers));
            let request = match &ask.form {
                Some(form) => client.post(path.url.clone()).body(form.clone()),
                None => client.get(path.url.clone()),
            };
            let response = request.headers(headers).send().await;
            let response = response.map_err(|error| classify(target, &ask.host, &error))?;
            // A form holds a refresh token, which would go wherever a redirect points.
            if ask.form.is_some() {
                return Ok((response, false));
            }
            match path.follow(&response, &self.plain_http) {
                Ok(true) => {}
                Ok(false) => return Ok((response, path.moved)),
                Err(problem) => return Err(protocol(format!("redirects {problem}"))),
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

fn timeout(target: &Arc<Target>, host: &str) -> RegistryError {
    RegistryError::Timeout { target: target.clone(), host: host.to_owned() }
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
    ask: &Ask,
    secrets: &[&str],
) -> Result<Reply, reqwest::Error> {
    let (status, headers) = (response.status(), response.headers().clone());
    let (body, _) = web::body(response, ERROR_BYTES).await?;
    Ok(Reply { status, headers, moved, body: scrubbed(body, ask, secrets) })
}

/// The body of a refusal; nothing of it if it repeats a secret that the server was sent.
fn scrubbed(body: Bytes, ask: &Ask, secrets: &[&str]) -> Bytes {
    let told = envelope(&body).unwrap_or_default();
    let raw = String::from_utf8_lossy(&body);
    let repeats =
        |secret: &&str| !secret.is_empty() && (raw.contains(*secret) || told.contains(*secret));
    let all = secrets.iter().copied().chain(ask.setup.secrets()).chain(ask.login());
    if all.into_iter().any(|secret| repeats(&secret)) { Bytes::new() } else { body }
}
