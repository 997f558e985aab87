//! Registries: manifests and blobs over HTTPS, with one credential at a time.
//!
//! Everything goes through one client of ours. `oci-client` reads an error's body to its end
//! whatever its length, follows a redirect from HTTPS to HTTP, hides `Retry-After` and the status
//! behind an envelope, and logs in by itself wherever a challenge sends it.
//!
//! Who may see what: no token is ever used for another credential or another repository than the
//! one it was made for. An [`Access`] is the pair of both.

mod access;
mod answer;
mod auth;
mod blob;
mod cache;
mod challenge;
mod error;
mod host;
mod http;
pub mod manifest;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use reqwest::StatusCode;

pub use access::Access;
pub use answer::{Answer, Attempt};
pub use blob::BlobStream;
pub use error::{Cause, Item, RegistryError, RegistrySetupError, Target};

use crate::credentials::{Candidates, Credential, Login, Matched, Unobtainable};
use crate::observability::metrics::Metrics;
use crate::reference::{Digest, Repository, Selector};
use access::Grant;
use auth::{AuthError, Authenticator, Authorization};
use cache::Cache;
use challenge::Challenge;
use host::Api;
use http::{Reply, Transport};

/// How many loopback registries are remembered to have TLS or not.
const MAX_SCHEMES: usize = 64;

/// How registries are reached.
#[derive(Clone, Debug)]
pub struct RegistryConfig {
    /// Registries (`host` or `host:port`, exactly as in references) that are spoken to without
    /// TLS. A loopback registry need not be listed: it is spoken to without TLS if, and only if,
    /// it answers a TLS handshake with something that is not TLS. A bad certificate is an error
    /// there as anywhere.
    pub plain_http: Vec<String>,
    /// PEM files with certificates that are trusted besides the system's.
    pub ca_files: Vec<PathBuf>,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long a server may send nothing.
    pub read_timeout: Duration,
    /// The longest manifest, in bytes.
    pub manifest_bytes: u64,
    /// What this client calls itself.
    pub user_agent: &'static str,
    /// The pause before the first retry; it doubles with each, and a random part is added.
    pub retry_pause: Duration,
    /// Where requests and received bytes are counted.
    pub metrics: Metrics,
}

impl Default for RegistryConfig {
    fn default() -> Self {
        Self {
            plain_http: Vec::new(),
            ca_files: Vec::new(),
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            manifest_bytes: 4 << 20,
            user_agent: concat!("skillmount/", env!("CARGO_PKG_VERSION")),
            retry_pause: Duration::from_millis(250),
            metrics: Metrics::default(),
        }
    }
}

/// Makes aws-lc the process's TLS provider. `main` calls this first; further calls do nothing.
pub fn install_crypto_provider() {
    // An error means that there is one already.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
}

/// The way to all registries. Cheap to clone; clones share connections and tokens.
#[derive(Clone, Debug)]
pub struct Registry(Arc<Shared>);

/// What all accesses of one [`Registry`] have in common. Nothing here belongs to a credential,
/// except the cache's entries, which are found only with the credential.
#[derive(Debug)]
struct Shared {
    config: RegistryConfig,
    transport: Transport,
    /// Loopback hosts, and whether they are without TLS.
    plain: Mutex<HashMap<String, bool>>,
    cache: Cache,
}

/// A manifest, and who got it.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The access that the registry granted.
    pub access: Access,
    /// The manifest's digest; the body has been checked against it.
    pub digest: Digest,
    /// The `Content-Type`, unchecked.
    pub media_type: Option<String>,
    /// The manifest.
    pub body: Bytes,
}

/// What a repository says to a caller who shows nothing.
enum Door {
    /// The manifest: it is public.
    Open(Api, Reply),
    /// The caller was turned down.
    Closed(Closed),
}

/// A refusal of a caller who showed nothing.
#[derive(Clone)]
struct Closed {
    api: Api,
    /// How to log in, if the registry says so.
    challenge: Option<Challenge>,
    answer: Answer,
}

impl Registry {
    /// Reads the CA files and the system's roots, and makes the clients.
    pub fn new(config: RegistryConfig) -> Result<Self, RegistrySetupError> {
        let cas = http::read_ca_files(config.ca_files.iter().map(PathBuf::as_path))?;
        let transport = Transport::new(&config, &cas)?;
        let (plain, cache) = (Mutex::default(), Cache::new());
        Ok(Self(Arc::new(Shared { config, transport, plain, cache })))
    }

    /// Gets the manifest that `selector` names, with the first of the candidates that the registry
    /// accepts. A refusal (401, 403, or 404, by which registries hide what is private) moves on
    /// to the next candidate; any other failure ends the trial. Candidates that have to be
    /// obtained are so only when all that are at hand were turned down.
    ///
    /// Without candidates the request is anonymous. With candidates there is one request that
    /// shows nothing, to learn how to log in. If the registry answers it with the manifest, the
    /// content is public, and the access is an anonymous one: no credential was accepted, so
    /// none may count as having been.
    pub async fn resolve(
        &self,
        repository: &Repository,
        selector: &Selector,
        candidates: &dyn Candidates,
    ) -> Result<Resolved, RegistryError> {
        let item = Item::Manifest(selector.clone());
        let target = Arc::new(Target { repository: repository.clone(), item });
        let mut trial = Trial { registry: self, target, selector, closed: None };
        let mut attempts = Vec::new();
        let Matched { credentials, mut failures } = candidates.matching(repository).await;
        if let Some(resolved) = trial.all(credentials, &mut attempts).await? {
            return Ok(resolved);
        }
        let further = candidates.further(repository).await;
        failures.extend(further.failures);
        if let Some(resolved) = trial.all(further.credentials, &mut attempts).await? {
            return Ok(resolved);
        }
        if attempts.is_empty() {
            match trial.attempt(None).await? {
                Ok(resolved) => return Ok(resolved),
                Err(answer) => attempts.push(Attempt { origin: None, answer }),
            }
        }
        attempts.extend(failures.into_iter().map(|Unobtainable { origin, problem }| Attempt {
            origin: Some(origin),
            answer: Answer::Unobtainable(problem),
        }));
        Err(RegistryError::refused(&trial.target, attempts))
    }

    /// Gets another manifest of the same repository, as the same caller.
    pub async fn manifest(
        &self,
        access: &Access,
        digest: &Digest,
    ) -> Result<Resolved, RegistryError> {
        let selector = Selector::Digest(digest.clone());
        let item = Item::Manifest(selector.clone());
        let target = Arc::new(Target { repository: access.repository().clone(), item });
        match manifest::get(access, &target, &selector).await? {
            Ok(resolved) => Ok(resolved),
            Err(answer) => Err(access.refused(&target, answer)),
        }
    }

    /// Gets a blob's bytes as they come. A broken connection is resumed where it broke. There
    /// are never more bytes than `size`, or than `cap` if `size` is 0 for unknown, and never
    /// fewer than `size`. Whoever reads checks the digest.
    pub async fn blob(
        &self,
        access: &Access,
        digest: &Digest,
        size: u64,
        cap: u64,
    ) -> Result<BlobStream, RegistryError> {
        blob::open(access, digest, size, cap).await
    }

    /// Where the registry's API is. Only a loopback host costs a request, once.
    async fn api(&self, registry: &str) -> Api {
        let host = host::api_host(registry).to_owned();
        let listed =
            self.0.config.plain_http.iter().any(|plain| *plain == host || plain == registry);
        if listed || !host::is_loopback(&host) {
            return Api { host, plain: listed };
        }
        let known = self.plain().get(&host).copied();
        if let Some(plain) = known {
            return Api { host, plain };
        }
        let url = Api { host: host.clone(), plain: false }.url("");
        let plain = match self.0.transport.strict.get(url).send().await {
            Ok(_) => false,
            Err(error) if http::speaks_no_tls(&error) => true,
            // Nobody listens, or the certificate is bad: the request that follows tells.
            Err(_) => return Api { host, plain: false },
        };
        let mut schemes = self.plain();
        if schemes.len() >= MAX_SCHEMES {
            schemes.clear();
        }
        schemes.insert(host.clone(), plain);
        Api { host, plain }
    }

    fn plain(&self) -> std::sync::MutexGuard<'_, HashMap<String, bool>> {
        self.0.plain.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The candidates of one manifest, one after the other.
struct Trial<'a> {
    registry: &'a Registry,
    target: Arc<Target>,
    selector: &'a Selector,
    /// Known after the first candidate that needs to know how to log in.
    closed: Option<Closed>,
}

impl Trial<'_> {
    /// Candidates in their order: the manifest, or nothing if all were turned down.
    async fn all(
        &mut self,
        credentials: Vec<Credential>,
        attempts: &mut Vec<Attempt>,
    ) -> Result<Option<Resolved>, RegistryError> {
        for credential in credentials {
            match self.attempt(Some(&credential)).await? {
                Ok(resolved) => return Ok(Some(resolved)),
                Err(answer) => attempts.push(Attempt { origin: Some(credential.origin), answer }),
            }
        }
        Ok(None)
    }

    /// One candidate: the manifest, or how the registry turned the candidate down.
    async fn attempt(
        &mut self,
        credential: Option<&Credential>,
    ) -> Result<Result<Resolved, Answer>, RegistryError> {
        let shared = &self.registry.0;
        let repository = self.target.repository.clone();
        if let Some(access) = shared.cache.get(&repository, credential) {
            match manifest::get(&access, &self.target, self.selector).await {
                Ok(Ok(resolved)) => return Ok(Ok(resolved)),
                Err(error) if !error.is_refusal() => return Err(error),
                // What was granted before is not any more: start from the beginning.
                Ok(Err(_)) | Err(_) => shared.cache.forget(&repository, credential),
            }
        }
        let (api, challenge) = match credential.map(|credential| &credential.login) {
            // A token is presented as it is, and needs no challenge.
            Some(Login::Bearer(_)) => (self.registry.api(repository.registry()).await, None),
            login => {
                let Closed { api, challenge, answer } = match self.knock(login.is_some()).await? {
                    Door::Open(api, reply) => return self.public(api, reply).map(Ok),
                    Door::Closed(closed) => closed,
                };
                let hopeless = match login {
                    Some(_) => challenge.is_none(),
                    None => !matches!(challenge, Some(Challenge::Bearer { .. })),
                };
                if hopeless {
                    return Ok(Err(answer));
                }
                (api, challenge)
            }
        };
        let authenticator = Authenticator {
            transport: &shared.transport,
            api: &api,
            target: &self.target,
            plain_http: &shared.config.plain_http,
        };
        let authorization = match authenticator.authorize(challenge.as_ref(), credential).await {
            Ok(authorization) => authorization,
            Err(AuthError::Refused(answer)) => return Ok(Err(answer)),
            Err(AuthError::Failed(error)) => return Err(error),
        };
        let grant = Grant::new(challenge, authorization);
        let access =
            Access::new(shared.clone(), repository.clone(), api, credential.cloned(), grant);
        let result = manifest::get(&access, &self.target, self.selector).await?;
        if result.is_ok() {
            shared.cache.put(&repository, access);
        }
        Ok(result)
    }

    /// Asks for the manifest and shows nothing, once for all candidates. Where the answer does
    /// not say how to log in, because the registry hides what is private, the API's root may.
    async fn knock(&mut self, has_login: bool) -> Result<Door, RegistryError> {
        if let Some(closed) = &self.closed {
            return Ok(Door::Closed(closed.clone()));
        }
        let api = self.registry.api(self.target.repository.registry()).await;
        let transport = &self.registry.0.transport;
        let url = manifest::url(&api, &self.target.repository, self.selector);
        let limit = self.registry.0.config.manifest_bytes;
        let reply = transport
            .exchange(&self.target, &api.host, limit, &[], || manifest::request(transport, &url))
            .await?
            .ok_or_else(|| manifest::too_large(&self.target, limit))?;
        let mut challenge = match reply.status {
            StatusCode::UNAUTHORIZED => reply.challenge(),
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => None,
            _ => return Ok(Door::Open(api, reply)),
        };
        if challenge.is_none() && has_login {
            let root = api.url("");
            let reply = transport
                .exchange(&self.target, &api.host, limit, &[], || transport.client.get(&root))
                .await?;
            challenge = reply
                .filter(|reply| reply.status == StatusCode::UNAUTHORIZED)
                .and_then(|reply| reply.challenge());
        }
        let closed = Closed { api, challenge, answer: reply.answer(None) };
        Ok(Door::Closed(self.closed.insert(closed).clone()))
    }

    /// An anonymous access, with the manifest that anyone can get.
    fn public(&self, api: Api, reply: Reply) -> Result<Resolved, RegistryError> {
        let shared = &self.registry.0;
        let repository = &self.target.repository;
        let grant = Grant::new(None, Authorization::None);
        let access = Access::new(shared.clone(), repository.clone(), api, None, grant);
        let resolved = manifest::check(&access, &self.target, self.selector, reply)?;
        access.prove();
        shared.cache.put(repository, access);
        Ok(resolved)
    }
}
