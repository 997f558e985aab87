//! Registry keys: what stands before a login in a Docker configuration, and in the lists of a
//! credential provider. [`Keyring`](super::Keyring) has the rules.

use super::glob;
use crate::reference::Repository;

/// A longer key matches nothing: references are shorter.
pub(super) const MAX_KEY: usize = 1024;

/// A key as it is matched: `host[:port][/path]`, or what is wrong with it. What a URL may hold
/// beside (user and password, query, fragment) is gone, so that the result may be shown.
pub(super) fn normalise(raw: &str) -> Result<String, &'static str> {
    let rest = raw.strip_prefix("https://").or_else(|| raw.strip_prefix("http://")).unwrap_or(raw);
    let key = pattern(rest)?;
    let (host, path) = key.split_at(key.find('/').unwrap_or(key.len()));
    Ok(match path.get(..4) {
        Some("/v1/" | "/v2/") => whole(host, &path[3..]),
        _ => key,
    })
}

/// The same of a key that has no scheme, and whose path means what it says.
pub(super) fn pattern(raw: &str) -> Result<String, &'static str> {
    if raw.len() > MAX_KEY {
        return Err("is longer than 1024 bytes");
    }
    let (authority, path) = match raw.find(['/', '#']) {
        Some(at) => raw.split_at(at),
        None => (raw, ""),
    };
    if path.contains('@') {
        // A password with a slash in it; no repository has an @.
        return Err("has an @ after its host");
    }
    // Go's URL parser would start the query at a `?` of the host too; Kubernetes documents it as
    // a wildcard there, and no host could be meant otherwise.
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default().to_ascii_lowercase();
    if host.is_empty() {
        return Err("names no host");
    }
    if raw.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("has white space or control characters");
    }
    let (name, port) = split_port(&host);
    if port.bytes().any(|b| !b.is_ascii_digit()) || name.contains(':') && !is_ipv6(name) {
        return Err("has a port that is not a number");
    }
    if !is_ipv6(name) && !name.split('.').all(glob::is_valid) {
        return Err("has a malformed wildcard");
    }
    Ok(whole(&host, path))
}

fn whole(host: &str, path: &str) -> String {
    let path = if path == "/" { "" } else { path };
    format!("{host}{path}")
}

/// Whether a key, normalised or a pattern, is for a repository.
pub(super) fn matches(key: &str, repository: &Repository) -> bool {
    let (host, path) = match key.find('/') {
        Some(at) => key.split_at(at),
        None => (key, ""),
    };
    let path_matches = match path.strip_prefix('/') {
        Some(path) => repository.path().starts_with(path),
        None => true,
    };
    let (name, port) = split_port(host);
    let (target, target_port) = split_port(repository.registry());
    path_matches && port == target_port && host_matches(name, target)
}

fn host_matches(pattern: &str, host: &str) -> bool {
    if is_ipv6(pattern) || is_ipv6(host) {
        return pattern == host;
    }
    let (patterns, labels) = (pattern.split('.'), host.split('.'));
    patterns.clone().count() == labels.clone().count()
        && patterns.zip(labels).all(|(pattern, label)| glob::matches(pattern, label))
}

/// Host and port of `host[:port]`; the port is empty if there is none. An IPv6 address loses its
/// brackets, which are no wildcard.
pub(super) fn split_port(host: &str) -> (&str, &str) {
    if let Some((address, rest)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']'))
        && is_ipv6(address)
        && (rest.is_empty() || rest.starts_with(':'))
    {
        return (address, rest.trim_start_matches(':'));
    }
    host.rsplit_once(':').unwrap_or((host, ""))
}

fn is_ipv6(host: &str) -> bool {
    host.parse::<std::net::Ipv6Addr>().is_ok()
}
