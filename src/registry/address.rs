//! A host with its port, as text: `host[:port]`.

use std::net::IpAddr;

use url::Url;

/// `host[:port]` of a URL, in lower case and without the port that its scheme has anyway.
pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.into(), |port| format!("{host}:{port}"))
}

/// Whether both are one address, however they are written: case counts for nothing, and no port
/// is the same as the one that HTTPS has, or HTTP if it is spoken to without TLS (`plain`).
pub(super) fn is_same(one: &str, other: &str, plain: bool) -> bool {
    let scheme = if plain { "http" } else { "https" };
    let normal = |text: &str| Url::parse(&format!("{scheme}://{text}")).ok().map(|u| authority(&u));
    one == other || normal(one).is_some_and(|one| normal(other) == Some(one))
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
    fn spellings_of_an_address_are_known() {
        for (one, other, tls, plain) in [
            ("m.example", "m.example", true, true),
            ("M.Example:5000", "m.example:5000", true, true),
            ("m.example:443", "m.example", true, false),
            ("m.example", "m.example:80", false, true),
            ("m.example:443", "m.example:80", false, false),
            ("m.example:5000", "m.example", false, false),
            ("m.example", "n.example", false, false),
            ("[::1]:443", "[0:0::1]", true, false),
            ("", "m.example", false, false),
        ] {
            assert_eq!(is_same(one, other, false), tls, "{one} {other}");
            assert_eq!(is_same(other, one, true), plain, "{one} {other}, plain");
        }
    }

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
}
