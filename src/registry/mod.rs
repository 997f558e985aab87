//! Registries: manifests and blobs over HTTPS, with one credential at a time.
//!
//! Everything goes through one client of ours. `oci-client` reads an error's body to its end
//! whatever its length, follows a redirect from HTTPS to HTTP, hides `Retry-After` and the status
//! behind an envelope, and logs in by itself wherever a challenge sends it.
//!
//! Who may see what: no token is ever used for another credential, another repository or another
//! host than the one it was made for. An [`Access`] is one caller's way to one repository, at
//! whichever of its hosts.

mod access;
mod address;
mod answer;
mod ask;
mod auth;
mod authorities;
mod blob;
mod cache;
mod challenge;
mod clients;
mod error;
mod failure;
mod host;
mod hosts;
mod http;
pub mod manifest;
mod pace;
mod redirect;
mod schemes;
mod search;
mod session;
#[cfg(test)]
mod tests;
mod tls;
mod trial;
mod wording;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

pub use access::Access;
pub use answer::{Answer, Attempt};
pub use blob::BlobStream;
pub use error::{Cause, Item, RegistryError, RegistrySetupError, Target};
pub use hosts::{HostsConfig, HostsError};

use crate::credentials::Candidates;
use crate::observability::metrics::Metrics;
use crate::reference::{Digest, Repository, Selector};
use cache::Cache;
use host::Api;
use hosts::{Hosts, Route, Routes, Scheme};
use http::{Probe, Transport};
use schemes::Schemes;
use search::Search;
use tokio::time::Instant;

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
    /// What the node's administrator says about mirrors and certificates.
    pub hosts: HostsConfig,
    /// Mirrors (`host` or `host:port`, in any case, with or without the usual port) that are shown the logins for the registry they mirror, and
    /// not only those that are for themselves.
    pub mirror_credentials: Vec<String>,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long a server may send nothing.
    pub read_timeout: Duration,
    /// The fewest bytes a second that a server may send of a blob; 0 for any number.
    pub low_speed_limit: u64,
    /// How long it may send fewer.
    pub low_speed_time: Duration,
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
            hosts: HostsConfig::default(),
            mirror_credentials: Vec::new(),
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            low_speed_limit: 1024,
            low_speed_time: Duration::from_secs(30),
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
    hosts: Arc<Hosts>,
    schemes: Schemes,
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

impl Registry {
    /// Reads the CA files. The system's certificates are read when a registry is asked first, or
    /// by [`warm_up`](Self::warm_up).
    pub fn new(config: RegistryConfig) -> Result<Self, RegistrySetupError> {
        let cas = http::read_ca_files(config.ca_files.iter().map(PathBuf::as_path))?;
        let transport = Transport::new(&config, cas)?;
        let hosts = Arc::new(Hosts::new(config.hosts.clone()));
        let (schemes, cache) = (Schemes::default(), Cache::default());
        Ok(Self(Arc::new(Shared { config, transport, hosts, schemes, cache })))
    }

    /// Makes the clients that most registries are asked with, so that the first pull need not wait
    /// for that. What goes wrong is told to whoever needs them.
    pub async fn warm_up(&self) {
        self.0.transport.warm_up().await;
    }

    /// Gets the manifest that `selector` names, from the first of the repository's hosts that has
    /// it, with the first of the candidates that this host accepts. A refusal (401, 403, or 404, by
    /// which registries hide what is private) moves on to the next candidate; any other failure
    /// ends the trial of the host. Candidates that have to be obtained are so only when all that
    /// are at hand were turned down.
    ///
    /// Without candidates the request is anonymous. With candidates there is one request that
    /// shows nothing, to learn how to log in. If the registry answers it with the manifest, the
    /// content is public, and the access is an anonymous one: no credential was accepted, so
    /// none may count as having been.
    pub async fn resolve(
        &self,
        repository: &Repository,
        selector: &Selector,
        candidates: Arc<dyn Candidates>,
    ) -> Result<Resolved, RegistryError> {
        Search::new(self, repository, selector, candidates).await?.manifest(selector).await
    }

    /// Gets another manifest of the same repository, as the same caller.
    pub async fn manifest(
        &self,
        access: &Access,
        digest: &Digest,
    ) -> Result<Resolved, RegistryError> {
        access.search.another(access, digest).await
    }

    /// Gets a blob's bytes as they come. A broken connection is resumed where it broke, at another
    /// host if need be. There are never more bytes than `size`, or than `cap` if `size` is 0 for
    /// unknown, and never fewer than `size`. Whoever reads checks the digest.
    pub async fn blob(
        &self,
        access: &Access,
        digest: &Digest,
        size: u64,
        cap: u64,
    ) -> Result<BlobStream, RegistryError> {
        blob::open(access, digest, size, cap).await
    }

    /// What logins may be for that are good for content of `repository`: itself, and what it is
    /// called at its mirrors. Reads what the node says about hosts, and fails where nobody may be
    /// asked: because the registry is blocked, or because that cannot be read.
    pub fn known_as(&self, repository: &Repository) -> Result<Vec<Repository>, HostsError> {
        let mut names = vec![repository.clone()];
        if !self.0.hosts.is_empty() {
            let routes = self.0.hosts.routes(repository)?;
            names.extend(routes.all().filter_map(|route| route.repository.clone()));
            names.dedup();
        }
        Ok(names)
    }

    /// What logins for a host may be for, in the order of trial.
    fn names(&self, route: &Route, repository: &Repository) -> Vec<Repository> {
        let own = route.repository.clone();
        let plain = route.scheme == Scheme::Http;
        let is_it = |listed: &String| address::is_same(listed, &route.host, plain);
        let listed = || self.0.config.mirror_credentials.iter().any(is_it);
        let original = (route.is_mirror && listed()).then(|| repository.clone());
        own.into_iter().chain(original).collect()
    }

    /// The hosts of a repository.
    async fn routes(&self, repository: &Repository) -> Result<Routes, HostsError> {
        if self.0.hosts.is_empty() {
            return Ok(Routes::original(repository));
        }
        let (hosts, repository) = (self.0.hosts.clone(), repository.clone());
        let reading = tokio::task::spawn_blocking(move || hosts.routes(&repository));
        reading.await.unwrap_or_else(|error| Err(HostsError::Panicked(error.to_string())))
    }

    /// Where a host's API is; none if no URL can say it. What does not say whether it speaks TLS
    /// costs a request, now and then.
    async fn api(&self, route: &Arc<Route>, attempts: u32) -> Option<Api> {
        let host = &route.host;
        let listed = || self.0.config.plain_http.iter().any(|plain| plain == host);
        let unclear = match route.scheme {
            Scheme::Https => false,
            Scheme::Http => return Api::new(route.clone(), true, attempts),
            Scheme::Usual if listed() => return Api::new(route.clone(), true, attempts),
            Scheme::Usual => address::is_loopback(host),
            Scheme::Either => true,
        };
        let with_tls = Api::new(route.clone(), false, attempts)?;
        if !unclear {
            return Some(with_tls);
        }
        if let Some(plain) = self.0.schemes.is_plain(route, Instant::now()) {
            return Api::new(route.clone(), plain, attempts);
        }
        let plain = match self.0.transport.probe(&route.setup, with_tls.knock().url).await {
            Probe::Tls => false,
            Probe::Plain => true,
            // HTTP's own port may be open. On one that is named it would be the same door.
            Probe::Nobody if route.scheme == Scheme::Either => {
                let without = Api::new(route.clone(), true, attempts)?;
                return Some(if without.port() == with_tls.port() { with_tls } else { without });
            }
            // The request that follows tells: nothing is asked without TLS because TLS failed.
            Probe::Nobody | Probe::Unknown => return Some(with_tls),
        };
        self.0.schemes.put(route, plain, Instant::now());
        Api::new(route.clone(), plain, attempts)
    }
}
