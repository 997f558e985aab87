//! One place where a repository's content can be had.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderName, HeaderValue};

use super::certs::Tls;
use crate::reference::{DOCKER_HUB, Repository};
use crate::registry::address::is_same;

/// Docker Hub's API; `docker.io` itself is a web site.
const DOCKER_HUB_API: &str = "registry-1.docker.io";

/// The path of every API that has none of its own (distribution specification).
const API: &str = "/v2";

/// Words of a header that are shorter are no secrets.
const MIN_SECRET: usize = 8;

/// With or without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::registry) enum Scheme {
    /// With TLS, unless the host is listed as one without, or is this machine and has none.
    Usual,
    /// With TLS: the configuration says `https://`.
    Https,
    /// Without: the configuration says `http://`.
    Http,
    /// With TLS if the host speaks it: the configuration says `insecure`, or `http://` beside
    /// settings for TLS.
    Either,
}

/// What a host is sent besides the request, and how.
#[derive(Clone, Default, PartialEq, Eq)]
pub(in crate::registry) struct Setup {
    pub(in crate::registry) tls: Tls,
    /// How long a connection may take to be made, if not as long as usual.
    pub(in crate::registry) dial_timeout: Option<Duration>,
    /// Headers of each request to this host, and to no other.
    pub(in crate::registry) headers: Vec<(HeaderName, HeaderValue)>,
}

impl Setup {
    /// What of it counts on another host that this one leads to: whom it trusts.
    pub(in crate::registry) fn elsewhere(&self) -> Self {
        let mut setup = Self { dial_timeout: self.dial_timeout, ..Self::default() };
        setup.tls.authorities.clone_from(&self.tls.authorities);
        setup
    }

    /// What of the headers nobody may see, as a server might repeat it.
    pub(in crate::registry) fn secrets(&self) -> impl Iterator<Item = &str> {
        let values = self.headers.iter().filter_map(|(_, value)| value.to_str().ok());
        values.flat_map(str::split_whitespace).filter(|word| word.len() >= MIN_SECRET)
    }
}

/// Shows no header's value.
impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup")
            .field("tls", &self.tls)
            .field("dial_timeout", &self.dial_timeout)
            .field("headers", &self.headers.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .finish()
    }
}

/// A host as a configuration file names it, for any repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    pub(super) scheme: Scheme,
    /// `host[:port]`.
    pub(super) name: String,
    /// What comes before the repository's path: `/v2`.
    pub(super) base: String,
    /// Whether it may be asked what a tag is, and for content.
    pub(super) resolve: bool,
    pub(super) pull: bool,
    pub(super) setup: Arc<Setup>,
}

impl Host {
    /// The registry itself, as without any configuration.
    pub(super) fn original(registry: &str, setup: Arc<Setup>) -> Self {
        Self {
            scheme: Scheme::Usual,
            name: api_host(registry).into(),
            base: API.into(),
            resolve: true,
            pull: true,
            setup,
        }
    }
}

/// A host for one repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::registry) struct Route {
    pub(in crate::registry) scheme: Scheme,
    /// `host[:port]`.
    pub(in crate::registry) host: String,
    /// What comes before the repository's path in URLs: `/v2`.
    pub(in crate::registry) base: String,
    /// The repository's path in URLs.
    pub(in crate::registry) path: String,
    /// The repository as it is called there: what logins have to match. None if it has no such
    /// name, so that no login can be for it.
    pub(in crate::registry) repository: Option<Repository>,
    /// Whether the host is another one than the registry of the reference.
    pub(in crate::registry) is_mirror: bool,
    /// The registry's name, where the host is told it with each request (containerd's `ns`).
    pub(in crate::registry) namespace: Option<String>,
    /// Whether it may be asked what a tag is.
    pub(in crate::registry) tags: bool,
    /// Whether it may be asked for what has a digest.
    pub(in crate::registry) digests: bool,
    pub(in crate::registry) setup: Arc<Setup>,
}

impl Route {
    /// The registry itself, as without any configuration.
    pub(in crate::registry) fn original(repository: &Repository) -> Self {
        let registry = repository.registry();
        Self::new(Host::original(registry, Arc::default()), repository, repository.path())
    }

    /// A host for `repository`, which has the path `path` there.
    pub(super) fn new(host: Host, repository: &Repository, path: &str) -> Self {
        let registry = repository.registry();
        let plain = host.scheme == Scheme::Http;
        let is = |registry: &str| is_same(&host.name, registry, plain);
        let is_mirror = !is(registry) && !is(api_host(registry));
        let known = match is_mirror || path != repository.path() || host.base != API {
            false => Some(repository.clone()),
            true => Repository::at(&host.name, &format!("{}{path}", below(&host.base))).ok(),
        };
        Self {
            scheme: host.scheme,
            host: host.name,
            base: host.base,
            path: path.into(),
            repository: known,
            is_mirror,
            namespace: None,
            tags: host.resolve && host.pull,
            digests: host.pull,
            setup: host.setup,
        }
    }

    /// Tells the host the registry's name, if it is another one.
    pub(super) fn with_namespace(mut self, registry: &str) -> Self {
        self.namespace = self.is_mirror.then(|| registry.to_owned());
        self
    }
}

/// The part of a base that belongs to the repository's name: what follows `/v2`, or all of a
/// base without it; with a slash at its end unless it is empty.
fn below(base: &str) -> String {
    let parts: Vec<_> = base.split('/').filter(|part| !part.is_empty()).collect();
    let rest = match parts.iter().rposition(|part| *part == "v2") {
        Some(index) => &parts[index + 1..],
        None => &parts,
    };
    rest.iter().map(|part| format!("{part}/")).collect()
}

/// The API's `host[:port]` for a registry's name.
pub(in crate::registry) fn api_host(registry: &str) -> &str {
    if registry == DOCKER_HUB { DOCKER_HUB_API } else { registry }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bases_are_part_of_names() {
        for (base, expected) in [
            ("/v2", ""),
            ("", ""),
            ("/v2/cache", "cache/"),
            ("/v2/a/b", "a/b/"),
            ("/artifactory/api/docker/remote/v2", ""),
            ("/cache", "cache/"),
        ] {
            assert_eq!(below(base), expected, "{base}");
        }
    }
}
