//! containerd's `hosts.toml`: docs/hosts.md of that project, and what its
//! `core/remotes/docker/config/hosts.go` makes of a file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HOST, HeaderName, HeaderValue};
use url::Url;

use super::certs::{self, Tls};
use super::document::{Source, Table, Value};
use super::error::HostsError;
use super::files::Reader;
use super::route::{Host, Scheme, Setup};
use crate::duration;
use crate::registry::address::authority;

/// The most hosts of one registry, so that a pull ends.
const MAX_HOSTS: usize = 16;

/// The longest `dial_timeout`.
const MAX_DIAL: Duration = Duration::from_secs(600);

/// What a directory of a registry says: its hosts in the order of trial.
#[derive(Debug)]
pub(super) struct Hosts {
    /// The file, or the directory where there is none.
    pub(super) path: PathBuf,
    pub(super) hosts: Vec<Host>,
}

/// The first directory for the registry; none if no root has one. A root's `_default` comes before
/// the next root.
pub(super) fn find(
    roots: &[PathBuf],
    registry: &str,
    reader: &mut Reader,
) -> Result<Option<Hosts>, HostsError> {
    let escaped = registry.rsplit_once(':').map(|(host, port)| format!("{host}_{port}_"));
    let names: Vec<&str> = escaped.as_deref().into_iter().chain([registry, "_default"]).collect();
    for directory in roots.iter().flat_map(|root| names.iter().map(|name| root.join(name))) {
        if reader.exists(&directory)? {
            return read(&directory, registry, reader).map(Some);
        }
    }
    Ok(None)
}

/// A directory: its `hosts.toml`, or certificates in Docker's layout where there is none.
fn read(directory: &Path, registry: &str, reader: &mut Reader) -> Result<Hosts, HostsError> {
    let path = directory.join("hosts.toml");
    match reader.read(&path)?.filter(|bytes| !bytes.is_empty()) {
        Some(bytes) => {
            let hosts = parse(&path, &bytes, registry, reader)?;
            Ok(Hosts { path, hosts })
        }
        None => {
            let setup = Setup { tls: certs::docker(directory, reader)?, ..Setup::default() };
            let hosts = vec![Host::original(registry, Arc::new(setup))];
            Ok(Hosts { path: directory.into(), hosts })
        }
    }
}

fn parse(
    path: &Path,
    bytes: &[u8],
    registry: &str,
    reader: &mut Reader,
) -> Result<Vec<Host>, HostsError> {
    let source = Source::new(path, bytes)?;
    let document = source.parse()?;
    let root = Table::new(source, &document);
    let directory = path.parent().unwrap_or(path);
    let mut hosts = Vec::new();
    if let Some(tables) = root.get("host") {
        for (name, value) in tables.table()?.entries() {
            if hosts.len() == MAX_HOSTS {
                return Err(value.invalid("more than 16 hosts"));
            }
            hosts.push(host(&value, name, &value.table()?, directory, reader)?);
        }
    }
    let server = root.get("server");
    let named = match &server {
        Some(value) => Some((value, value.text()?)).filter(|(_, name)| !name.is_empty()),
        None => None,
    };
    hosts.push(match named {
        Some((value, name)) => host(value, name, &root, directory, reader)?,
        // Of the rest of the root, containerd overwrites what says where and what for.
        None => Host::original(registry, Arc::new(setup(&root, directory, reader)?)),
    });
    Ok(hosts)
}

/// The host `name` with the settings in `table`; `place` is where it stands.
fn host(
    place: &Value<'_>,
    name: &str,
    table: &Table<'_>,
    directory: &Path,
    reader: &mut Reader,
) -> Result<Host, HostsError> {
    let text = if name.contains("://") { name.to_owned() } else { format!("https://{name}") };
    let problem = || place.invalid("the host is not an http or https URL, or has more than a path");
    let url = Url::parse(&text).map_err(|_| problem())?;
    let odd = !url.username().is_empty()
        || url.password().is_some()
        || url.query().is_some()
        || url.fragment().is_some();
    if odd || url.host_str().is_none_or(str::is_empty) {
        return Err(problem());
    }
    let setup = setup(table, directory, reader)?;
    let scheme = match url.scheme() {
        "https" => Scheme::Https,
        // Settings for TLS beside it make it ambiguous, unless the port is HTTP's own.
        "http" if setup.tls != Tls::default() && url.port().is_some() => Scheme::Either,
        "http" => Scheme::Http,
        _ => return Err(problem()),
    };
    let own = match table.get("override_path") {
        Some(value) => value.boolean()?,
        None => false,
    };
    let mut base = url.path().trim_end_matches('/').to_owned();
    if !own && base != "/v2" && !base.ends_with("/v2") {
        base.push_str("/v2");
    }
    let (resolve, pull) = capabilities(table)?;
    let name = authority(&url);
    Ok(Host { scheme, name, base, resolve, pull, setup: Arc::new(setup) })
}

/// Whether the host may be asked what a tag is, and for content. None listed means all.
fn capabilities(table: &Table<'_>) -> Result<(bool, bool), HostsError> {
    let Some(value) = table.get("capabilities") else { return Ok((true, true)) };
    let (mut resolve, mut pull) = (false, false);
    let listed = value.elements();
    for capability in &listed {
        match capability.text()?.to_ascii_lowercase().as_str() {
            "resolve" => resolve = true,
            "pull" => pull = true,
            "push" | "referrers" => {}
            _ => {
                return Err(
                    capability.invalid("unknown capability: pull, resolve, push, referrers")
                );
            }
        }
    }
    Ok((resolve || listed.is_empty(), pull || listed.is_empty()))
}

fn setup(table: &Table<'_>, directory: &Path, reader: &mut Reader) -> Result<Setup, HostsError> {
    let mut setup = Setup::default();
    if let Some(value) = table.get("ca") {
        for file in value.elements() {
            setup.tls.trust(&directory.join(file.text()?), reader)?;
        }
    }
    if let Some(value) = table.get("client") {
        for entry in value.elements() {
            let files = entry.elements();
            let file = |index: usize| Ok(directory.join(Value::text(&files[index])?));
            match (entry.is_list(), files.len()) {
                (false, _) => setup.tls.present(&file(0)?, None, reader)?,
                (true, 2) => setup.tls.present(&file(0)?, Some(&file(1)?), reader)?,
                (true, _) => return Err(entry.invalid("\"client\" has a pair that is none")),
            }
        }
    }
    if let Some(value) = table.get("skip_verify") {
        setup.tls.skip_verify = value.boolean()?;
    }
    if let Some(value) = table.get("dial_timeout") {
        let text = value.text()?;
        let bad = || value.invalid("\"dial_timeout\" is not a duration such as 5s");
        setup.dial_timeout = match text {
            "" => None,
            text => duration(text).ok_or_else(bad)?,
        };
    }
    if let Some(value) = table.get("header") {
        for (name, value) in value.table()?.entries() {
            let name: HeaderName =
                name.parse().map_err(|_| value.invalid("a header's name cannot be one"))?;
            for value in value.elements() {
                let mut text: HeaderValue = (value.text()?.parse()).map_err(|_| {
                    value.invalid(format!("header {name} has a value it cannot have"))
                })?;
                text.set_sensitive(true);
                // The URL says it.
                if name != HOST {
                    setup.headers.push((name.clone(), text));
                }
            }
        }
    }
    Ok(setup)
}

/// A duration as Go writes it: `1m30s`. Nothing within if it means no limit of its own; none if
/// it is not one, or has a sign that none has here.
fn duration(text: &str) -> Option<Option<Duration>> {
    let whole = duration::parse(text).filter(|_| !text.starts_with('-'))?.length.min(MAX_DIAL);
    Some((!whole.is_zero()).then_some(whole))
}

#[cfg(test)]
mod tests;
