//! The requests themselves: one object each, as one of the callers that the flags allow.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Identity, Method, RequestBuilder, StatusCode, Url};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::object::Object;
use super::server::Token;
use super::{ApiServer, CallError, Name, SetupError};
use crate::observability::innermost;
use crate::web;

/// How long one object may take.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest object, in bytes: a Secret has 1 MiB of data, a third more in base64, and its
/// annotations may have as much again.
const MAX_OBJECT: u64 = 3 << 20;

/// How much of a refusal is read.
const MAX_REFUSAL: u64 = 16 << 10;

/// Requests at once, of all volumes: each may hold an object in memory, twice.
const MAX_REQUESTS: usize = 8;

/// As whom the API server is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretAccess {
    /// As the pod's service account, with a token that kubelet sends for audience "".
    PodToken,
    /// As this node: the driver's token may impersonate the node that it is bound to (KEP-5284).
    Impersonate,
    /// As the driver.
    Driver,
}

/// A text that is no kind of access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be one of none, pod-token, impersonate, driver")]
pub struct UnknownAccess;

impl FromStr for SecretAccess {
    type Err = UnknownAccess;

    fn from_str(text: &str) -> Result<Self, UnknownAccess> {
        match text {
            "pod-token" => Ok(Self::PodToken),
            "impersonate" => Ok(Self::Impersonate),
            "driver" => Ok(Self::Driver),
            _ => Err(UnknownAccess),
        }
    }
}

/// How the API server is asked.
#[derive(Debug)]
pub struct ApiConfig {
    /// Which.
    pub server: ApiServer,
    /// As whom.
    pub access: SecretAccess,
    /// This node's name, as kubelet registers it.
    pub node: String,
    /// How long one object may take; [`CALL_TIMEOUT`].
    pub timeout: Duration,
}

/// The way to the API server.
pub struct Api {
    client: Client,
    url: Url,
    access: SecretAccess,
    own: Token,
    node: HeaderValue,
    timeout: Duration,
    turns: Semaphore,
}

/// Whom requests come from. Its `Debug` shows no token.
#[derive(Debug, Clone)]
pub struct Caller(HeaderMap);

impl Api {
    /// Makes the client; asks nothing. The process must have a TLS provider by now
    /// (`install_crypto_provider`).
    pub fn new(config: ApiConfig) -> Result<Self, SetupError> {
        let ApiConfig { server, access, node, timeout } = config;
        let failed = |error: reqwest::Error| SetupError::Client(innermost(&error));
        let mut client = Client::builder()
            .http1_only()
            .https_only(true)
            .no_proxy()
            .redirect(Policy::none())
            .referer(false)
            .connect_timeout(timeout)
            .user_agent(concat!("skillmount/", env!("CARGO_PKG_VERSION")));
        if let Some(authorities) = server.authorities {
            client = client.tls_certs_only(authorities);
        }
        // Beside a pod's token, the driver's certificate would win.
        if let Some(certificate) = server.certificate.filter(|_| access != SecretAccess::PodToken) {
            client = client.identity(Identity::from_pem(&certificate).map_err(failed)?);
        }
        let user = format!("system:node:{node}");
        Ok(Self {
            client: client.build().map_err(failed)?,
            url: server.url,
            access,
            own: server.token,
            node: HeaderValue::from_str(&user).map_err(|_| SetupError::Node(node))?,
            timeout,
            turns: Semaphore::new(MAX_REQUESTS),
        })
    }

    /// As whom it is asked.
    pub fn access(&self) -> SecretAccess {
        self.access
    }

    /// How long one request may take.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Whom the requests for one pod come from. `pod_token` counts for [`SecretAccess::PodToken`]
    /// only, and the driver's own token for the others only. Reads that from its file each time.
    pub async fn caller(&self, pod_token: &str) -> Result<Caller, CallError> {
        let mut headers =
            HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]);
        let token = match (self.access, &self.own) {
            (SecretAccess::PodToken, _) => Some(pod_token.to_owned()),
            (_, Token::Fixed(token)) => Some(token.clone()),
            (_, Token::File(path)) => Some(read_token(path.clone()).await?),
            (_, Token::None) => None,
        };
        if let Some(token) = token {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
                .map_err(|_| CallError::MalformedToken)?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        if self.access == SecretAccess::Impersonate {
            // The name alone: groups are the API server's matter (KEP-5284).
            headers.insert("impersonate-user", self.node.clone());
        }
        Ok(Caller(headers))
    }

    /// Reads a pod.
    pub async fn pod(
        &self,
        caller: &Caller,
        namespace: &Name,
        name: &Name,
        deadline: Instant,
    ) -> Result<super::Pod, CallError> {
        self.read(caller, namespace, name, deadline).await
    }

    /// Reads a Secret.
    pub async fn secret(
        &self,
        caller: &Caller,
        namespace: &Name,
        name: &Name,
        deadline: Instant,
    ) -> Result<super::Secret, CallError> {
        self.read(caller, namespace, name, deadline).await
    }

    async fn read<T: Object>(
        &self,
        caller: &Caller,
        namespace: &Name,
        name: &Name,
        deadline: Instant,
    ) -> Result<T, CallError> {
        let url = self.path(namespace, T::RESOURCE, Some(name.as_str()));
        let body = self.exchange(caller, Method::GET, url, |get| get, deadline).await?;
        T::decode(&body).map_err(CallError::Answer)
    }

    /// Where objects of a namespace are, or one of them.
    pub(super) fn path(&self, namespace: &Name, resource: &str, name: Option<&str>) -> Url {
        let mut url = self.url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty();
            path.extend(["api", "v1", "namespaces", namespace.as_str(), resource]);
            path.extend(name);
        }
        url
    }

    /// Sends one request, and returns the object that answers it.
    pub(super) async fn exchange(
        &self,
        caller: &Caller,
        method: Method,
        url: Url,
        with: impl FnOnce(RequestBuilder) -> RequestBuilder,
        deadline: Instant,
    ) -> Result<Bytes, CallError> {
        let expected = if method == Method::POST { StatusCode::CREATED } else { StatusCode::OK };
        let call = async {
            // The semaphore is never closed.
            let _turn = self.turns.acquire().await.map_err(|_| CallError::Timeout)?;
            let failed = |error| CallError::failed(&error);
            let request = self.client.request(method, url).headers(caller.0.clone());
            let response = with(request).send().await.map_err(failed)?;
            let status = response.status();
            if status != expected {
                let (body, _) = web::body(response, MAX_REFUSAL).await.map_err(failed)?;
                return Err(CallError::refused(status.as_u16(), &body));
            }
            match web::body(response, MAX_OBJECT).await.map_err(failed)? {
                (body, true) => Ok(body),
                (_, false) => Err(CallError::TooLarge(MAX_OBJECT)),
            }
        };
        let deadline = deadline.min(Instant::now() + self.timeout);
        timeout_at(deadline, call).await.unwrap_or(Err(CallError::Timeout))
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api")
            .field("url", &self.url.as_str())
            .field("access", &self.access)
            .finish_non_exhaustive()
    }
}

async fn read_token(path: PathBuf) -> Result<String, CallError> {
    let file = path.clone();
    let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(file)).await;
    let problem = match read {
        Ok(Ok(text)) if text.trim().is_empty() => "it is empty".to_owned(),
        Ok(Ok(text)) => return Ok(text.trim().to_owned()),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    Err(CallError::Token { path, problem })
}
