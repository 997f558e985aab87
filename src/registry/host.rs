//! Where a registry's API is, and whether it is spoken to without TLS.

use std::sync::Arc;

use reqwest::header::HeaderMap;
use url::Url;

use super::address::host_name;
use super::ask::Ask;
use super::hosts::Route;
use crate::reference::Repository;

/// The API of one host for one repository.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Api {
    pub(super) route: Arc<Route>,
    /// Scheme and host.
    root: Url,
    /// How often a request is tried.
    attempts: u32,
}

impl Api {
    /// None if the host's name is in no URL. `plain`: without TLS, since the administrator says
    /// so, or since it is this machine and has none.
    pub(super) fn new(route: Arc<Route>, plain: bool, attempts: u32) -> Option<Self> {
        let scheme = if plain { "http" } else { "https" };
        let root = Url::parse(&format!("{scheme}://{}", route.host)).ok()?;
        Some(Self { route, root, attempts })
    }

    /// `host[:port]`.
    pub(super) fn host(&self) -> &str {
        &self.route.host
    }

    /// The repository's path, as this host's token service knows it.
    pub(super) fn path(&self) -> &str {
        self.route.repository.as_ref().map_or(&self.route.path, Repository::path)
    }

    /// The port that is connected to.
    pub(super) fn port(&self) -> Option<u16> {
        self.root.port_or_known_default()
    }

    pub(super) fn is_plain(&self) -> bool {
        self.root.scheme() == "http"
    }

    /// Asks for something of the repository: `blobs/sha256:…`.
    pub(super) fn ask(&self, what: &str) -> Ask {
        let mut url = self.root.clone();
        url.set_path(&format!("{}/{}/{what}", self.route.base, self.route.path));
        if let Some(namespace) = &self.route.namespace {
            url.query_pairs_mut().append_pair("ns", namespace);
        }
        self.to(url)
    }

    /// Asks the API for nothing, which tells how to log in.
    pub(super) fn knock(&self) -> Ask {
        let mut url = self.root.clone();
        url.set_path(&format!("{}/", self.route.base));
        self.to(url)
    }

    /// Asks a token service that this API names. Only on the same machine is it what this API's
    /// setup is for: elsewhere it has to prove who it is, by the same authorities, and sees
    /// neither a certificate nor a header.
    pub(super) fn service(&self, url: Url, host: &str) -> Ask {
        let setup = match host_name(host) == host_name(self.host()) {
            true => self.route.setup.clone(),
            false => Arc::new(self.route.setup.elsewhere()),
        };
        Ask { host: host.to_owned(), setup, ..self.to(url) }
    }

    fn to(&self, url: Url) -> Ask {
        Ask {
            url,
            host: self.route.host.clone(),
            headers: HeaderMap::new(),
            form: None,
            setup: self.route.setup.clone(),
            attempts: self.attempts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(reference: &str, what: &str) -> String {
        let reference: crate::reference::Reference = reference.parse().unwrap();
        let route = Route::original(reference.repository());
        Api::new(Arc::new(route), false, 1).unwrap().ask(what).url.into()
    }

    #[test]
    fn docker_hub_has_another_api_host() {
        assert_eq!(
            url("docker.io/x", "manifests/1"),
            "https://registry-1.docker.io/v2/library/x/manifests/1"
        );
        assert_eq!(
            url("[::1]:5000/a/b", "blobs/sha256:0"),
            "https://[::1]:5000/v2/a/b/blobs/sha256:0"
        );
    }
}
