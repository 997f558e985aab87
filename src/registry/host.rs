//! Where a registry's API is, and whether it is spoken to without TLS.

use std::net::IpAddr;

use crate::reference::DOCKER_HUB;

/// Docker Hub's API; `docker.io` itself is a web site.
const DOCKER_HUB_API: &str = "registry-1.docker.io";

/// A registry's API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Api {
    /// `host[:port]`.
    pub(super) host: String,
    /// Without TLS: the administrator listed the host, or it is this machine and has no TLS.
    pub(super) plain: bool,
}

impl Api {
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}://{}/v2/{path}", if self.plain { "http" } else { "https" }, self.host)
    }
}

/// The API's `host[:port]` for a registry's name.
pub(super) fn api_host(registry: &str) -> &str {
    if registry == DOCKER_HUB { DOCKER_HUB_API } else { registry }
}

/// `host[:port]` without the port, and an IPv6 address without its brackets.
pub(super) fn host_name(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.split(':').next().unwrap_or(host),
    }
}

/// Whether the host is this machine: what a name resolves to is not asked, as that can change.
pub(super) fn is_loopback(host: &str) -> bool {
    let name = host_name(host);
    match name.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => name == "localhost" || name.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_hosts_are_known() {
        for host in [
            "localhost",
            "localhost:5000",
            "a.localhost:1",
            "127.0.0.1",
            "127.8.8.8:80",
            "[::1]:5000",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "ghcr.io",
            "localhost.example.com",
            "notlocalhost",
            "10.0.0.1:5000",
            "[::2]",
            "127.0.0.1.nip.io",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn docker_hub_has_another_api_host() {
        let api = Api { host: api_host("docker.io").into(), plain: false };
        assert_eq!(
            api.url("library/x/manifests/1"),
            "https://registry-1.docker.io/v2/library/x/manifests/1"
        );
        assert_eq!(api_host("ghcr.io"), "ghcr.io");
    }
}
