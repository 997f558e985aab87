//! containers' `registries.conf`, version 2: containers-registries.conf(5), and what
//! `pkg/sysregistriesv2` of containers/image makes of it.

use std::path::{Path, PathBuf};

use super::document::{Source, Table, Value};
use super::error::HostsError;
use super::files::Reader;

/// The most registries of all files, and the most mirrors of one.
const MAX_REGISTRIES: usize = 1024;
const MAX_MIRRORS: usize = 16;

/// What all files together say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Registries(pub(super) Vec<Registry>);

/// A `[[registry]]`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Registry {
    /// The file.
    pub(super) path: PathBuf,
    /// What references begin with: `host[:port][/path]`, or `*.example.com`.
    pub(super) prefix: String,
    /// What takes the place of the prefix; empty if nothing does.
    pub(super) location: Location,
    pub(super) blocked: bool,
    pub(super) mirrors: Vec<Mirror>,
}

/// Where content is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) name: String,
    pub(super) insecure: bool,
}

/// A `[[registry.mirror]]`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mirror {
    pub(super) location: Location,
    /// Whether it is asked for tags, and for digests.
    pub(super) tags: bool,
    pub(super) digests: bool,
}

/// Reads a file and those of the directory `FILE.d` beside it, of which a later one's registry
/// takes the place of an earlier one's with the same prefix.
pub(super) fn read(file: &Path, reader: &mut Reader) -> Result<Registries, HostsError> {
    let mut directory = file.as_os_str().to_owned();
    directory.push(".d");
    let mut all = Registries::default();
    let mut files = reader.list(Path::new(&directory), &[".conf"])?;
    // Where there is a directory, there need not be the file.
    if files.is_empty() || reader.exists(file)? {
        files.insert(0, file.into());
    }
    for path in files {
        let bytes = reader.read_named(&path)?;
        for registry in parse(&path, &bytes)? {
            all.0.retain(|known| known.prefix != registry.prefix);
            all.0.push(registry);
        }
        if all.0.len() > MAX_REGISTRIES {
            let problem = "more than 1024 registries".into();
            return Err(HostsError::Invalid { path, line: 1, problem });
        }
    }
    Ok(all)
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Vec<Registry>, HostsError> {
    let source = Source::new(path, bytes)?;
    let document = source.parse()?;
    let root = Table::new(source, &document);
    for ignored in
        ["unqualified-search-registries", "short-name-mode", "aliases", "credential-helpers"]
    {
        if root.get(ignored).is_some() {
            tracing::debug!(
                file = %path.display(),
                key = ignored,
                "ignored: references are whole names here, and no helper is run"
            );
        }
    }
    let Some(registries) = root.get("registry") else { return Ok(Vec::new()) };
    registries.elements().iter().map(|entry| registry(path, entry)).collect()
}

fn registry(path: &Path, entry: &Value<'_>) -> Result<Registry, HostsError> {
    let table = entry.table()?;
    let flag = |key: &str| table.get(key).map_or(Ok(false), |value| value.boolean());
    let (prefix, location) = (name(&table, "prefix")?, name(&table, "location")?);
    let insecure = flag("insecure")?;
    if let Some(wild) = prefix.as_ref().filter(|prefix| prefix.contains('*'))
        && (!wild.starts_with("*.") || wild[2..].contains(['*', '/', ':']))
    {
        return Err(entry.invalid("a prefix with a wildcard is not of the form *.example.com"));
    }
    let prefix = match (prefix, &location) {
        (Some(prefix), Some(_)) => prefix,
        (Some(prefix), None) if prefix.starts_with("*.") => prefix,
        (Some(_), None) => return Err(entry.invalid("a registry has a prefix and no location")),
        (None, Some(location)) => location.clone(),
        (None, None) => return Err(entry.invalid("a registry has neither prefix nor location")),
    };
    let by_digest = flag("mirror-by-digest-only")?;
    let mut mirrors = Vec::new();
    if let Some(listed) = table.get("mirror") {
        for entry in listed.elements() {
            if mirrors.len() == MAX_MIRRORS {
                return Err(entry.invalid("more than 16 mirrors"));
            }
            mirrors.push(mirror(&entry, by_digest)?);
        }
    }
    Ok(Registry {
        path: path.into(),
        prefix,
        location: Location { name: location.unwrap_or_default(), insecure },
        blocked: flag("blocked")?,
        mirrors,
    })
}

fn mirror(entry: &Value<'_>, by_digest: bool) -> Result<Mirror, HostsError> {
    let table = entry.table()?;
    let name = name(&table, "location")?;
    let name = name.ok_or_else(|| entry.invalid("a mirror has no location"))?;
    let insecure = table.get("insecure").map_or(Ok(false), |value| value.boolean())?;
    let (tags, digests) = match table.get("pull-from-mirror") {
        None => (!by_digest, true),
        Some(value) if by_digest => {
            return Err(value.invalid("\"pull-from-mirror\" beside \"mirror-by-digest-only\""));
        }
        Some(value) => match value.text()? {
            "" | "all" => (true, true),
            "digest-only" => (false, true),
            "tag-only" => (true, false),
            _ => return Err(value.invalid("\"pull-from-mirror\" is all, digest-only or tag-only")),
        },
    };
    Ok(Mirror { location: Location { name, insecure }, tags, digests })
}

/// A prefix or a location; none if it is empty.
fn name(table: &Table<'_>, key: &str) -> Result<Option<String>, HostsError> {
    let Some(value) = table.get(key) else { return Ok(None) };
    let text = value.text()?.trim_end_matches('/');
    if text.contains("://") {
        return Err(
            value.invalid(format!("{key:?} has a scheme; a location is host[:port][/path]"))
        );
    }
    if text.contains(|c: char| c.is_whitespace() || c.is_control() || "?#@\\".contains(c)) {
        return Err(value.invalid(format!("{key:?} is not host[:port][/path]")));
    }
    Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
}

impl Registries {
    /// The registry with the longest prefix of a repository's name, and what follows that prefix.
    pub(super) fn matching<'a>(&self, name: &'a str) -> Option<(&Registry, &'a str)> {
        let fitting = self.0.iter().filter_map(|registry| {
            let length = matched(&registry.prefix, name)?;
            Some((registry, &name[length..]))
        });
        fitting.max_by_key(|(registry, _)| registry.prefix.len())
    }
}

/// How much of the name a prefix covers: whole components. Another port is another registry.
fn matched(prefix: &str, name: &str) -> Option<usize> {
    let end = match prefix.strip_prefix('*') {
        Some(suffix) => {
            let host = name.split('/').next().unwrap_or(name);
            (host.len() > suffix.len() && host.ends_with(suffix)).then_some(host.len())?
        }
        None => name.starts_with(prefix).then_some(prefix.len())?,
    };
    matches!(name.as_bytes().get(end), None | Some(b'/')).then_some(end)
}

#[cfg(test)]
mod tests;
