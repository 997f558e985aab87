//! Where a registry's content may be had from: what the node's administrator says about mirrors,
//! certificates and headers in containerd's `hosts.toml` trees or in containers' `registries.conf`.
//!
//! The files are looked at for each pull, so that a change counts at once, and read only when they
//! changed. A file that cannot be followed is an error of each pull from that registry, and not
//! passed over: a mirror may be there because nothing else may be asked.

mod certs;
mod containerd;
mod document;
mod error;
mod files;
mod registries_conf;
mod route;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) use certs::Tls;
pub use error::HostsError;
use files::Kept;
use registries_conf::{Location, Registries};
use route::Host;
pub(super) use route::{Route, Scheme, Setup};

use crate::reference::{Repository, Selector};

/// Where the administrator describes registry hosts.
#[derive(Debug, Clone, Default)]
pub struct HostsConfig {
    /// Directories with one for each registry, as in containerd's `config_path`.
    pub directories: Vec<PathBuf>,
    /// containers' `registries.conf`; its `.d` directory is read as well.
    pub registries_conf: Option<PathBuf>,
}

/// The routes of all registries.
#[derive(Debug)]
pub(super) struct Hosts {
    config: HostsConfig,
    trees: Kept<Option<containerd::Hosts>>,
    conf: Kept<Registries>,
    setups: Kept<Setup>,
}

impl Hosts {
    pub(super) fn new(config: HostsConfig) -> Self {
        Self { config, trees: Kept::default(), conf: Kept::default(), setups: Kept::default() }
    }

    /// Whether there is nothing to read.
    pub(super) fn is_empty(&self) -> bool {
        self.config.directories.is_empty() && self.config.registries_conf.is_none()
    }

    /// All hosts of a repository, in the order of trial. Blocks.
    pub(super) fn routes(&self, repository: &Repository) -> Result<Routes, HostsError> {
        let registry = repository.registry();
        let roots = &self.config.directories;
        if !roots.is_empty() {
            let tree =
                self.trees.get(registry, |reader| containerd::find(roots, registry, reader))?;
            if let Some(tree) = &*tree {
                let route = |host: &Host| {
                    Route::new(host.clone(), repository, repository.path()).with_namespace(registry)
                };
                let (from, routes) = (tree.path.clone(), tree.hosts.iter().map(route).collect());
                return Ok(Routes { from: Some(from), routes });
            }
        }
        match &self.config.registries_conf {
            Some(file) => self.configured(file, repository),
            None => Ok(Routes::original(repository)),
        }
    }

    /// The routes that `registries.conf` has.
    fn configured(&self, file: &Path, repository: &Repository) -> Result<Routes, HostsError> {
        let all = self.conf.get("", |reader| registries_conf::read(file, reader))?;
        let name = repository.to_string();
        let Some((registry, rest)) = all.matching(&name) else {
            let host = Location { name: repository.registry().into(), insecure: false };
            let route =
                self.located(file, &host, &format!("/{}", repository.path()), repository)?;
            return Ok(Routes { from: Some(file.into()), routes: vec![route] });
        };
        let from = &registry.path;
        if registry.blocked {
            let prefix = registry.prefix.clone();
            return Err(HostsError::Blocked { prefix, path: from.clone() });
        }
        let mut routes = Vec::new();
        for mirror in &registry.mirrors {
            let route = self.located(file, &mirror.location, rest, repository)?;
            routes.push(Route { tags: mirror.tags, digests: mirror.digests, ..route });
        }
        // A wildcard without a location leaves the name as it is.
        let (own, rest) = match registry.location.name.is_empty() {
            true => {
                let name = repository.registry().to_owned();
                (Location { name, ..registry.location }, format!("/{}", repository.path()))
            }
            false => (registry.location.clone(), rest.to_owned()),
        };
        routes.push(self.located(file, &own, &rest, repository)?);
        Ok(Routes { from: Some(from.clone()), routes })
    }

    /// The host of a location, with the rest of a name after the prefix that it replaces.
    fn located(
        &self,
        file: &Path,
        location: &Location,
        rest: &str,
        repository: &Repository,
    ) -> Result<Route, HostsError> {
        let whole = format!("{}{rest}", location.name);
        let (registry, path) = whole.split_once('/').unwrap_or((&whole, ""));
        let directory = file.with_file_name("certs.d").join(registry);
        let key = format!("{registry} {}", location.insecure);
        let setup = self.setups.get(&key, |reader| {
            let mut tls = certs::docker(&directory, reader)?;
            tls.skip_verify = location.insecure;
            Ok(Setup { tls, ..Setup::default() })
        })?;
        let mut host = Host::original(registry, setup);
        if location.insecure {
            host.scheme = Scheme::Either;
        }
        Ok(Route::new(host, repository, path))
    }
}

/// The hosts of one repository.
#[derive(Debug, Clone)]
pub(super) struct Routes {
    /// The file that says so.
    from: Option<PathBuf>,
    routes: Vec<Route>,
}

impl Routes {
    /// The registry itself, where nothing is configured.
    pub(super) fn original(repository: &Repository) -> Self {
        Self { from: None, routes: vec![Route::original(repository)] }
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter()
    }

    /// Those that may be asked for `selector`: at least one.
    pub(super) fn fitting(&self, selector: &Selector) -> Result<Vec<Arc<Route>>, HostsError> {
        let (what, fits): (_, fn(&Route) -> bool) = match selector {
            Selector::Tag(_) => ("a tag", |route| route.tags),
            Selector::Digest(_) => ("a digest", |route| route.digests),
        };
        let found: Vec<_> = self.routes.iter().filter(|r| fits(r)).cloned().map(Arc::new).collect();
        match found.is_empty() {
            false => Ok(found),
            true => Err(HostsError::NoHost { path: self.from.clone().unwrap_or_default(), what }),
        }
    }
}

#[cfg(test)]
mod tests;
