//! Keyrings: which logins to try for a repository, in which order.
//!
//! The rules are kubelet's (`pkg/credentialprovider/keyring.go`), because a secret that works as
//! an `imagePullSecret` must work here, for the same images and no others:
//!
//! * A key is `[scheme://]host[:port][/path]`. The scheme is dropped, and a path that starts with
//!   `/v1/` or `/v2/` loses that.
//! * It matches if the ports are equal, the hosts have as many labels and each label matches as a
//!   glob (`*` never crosses a dot), and its path is a prefix of the repository's, as a text:
//!   `reg.io/foo` also matches `reg.io/foobar`. Who wants a boundary writes `reg.io/foo/`.
//! * Keys are tried in reverse lexicographic order, which puts longer paths before shorter ones
//!   and names before globs; logins of one key in the order in which they were given.
//! * If nothing matches a repository of Docker Hub, the key `index.docker.io` does.
//!
//! Two things differ, and neither sends a login to another host: hosts are compared without
//! regard to case, as references are normalised, and an IPv6 address needs no port to match.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use aws_lc_rs::hmac;

use super::docker_config::{self, Fields, Form, MAX_DOCUMENT, Notice, SecretError};
use super::key::{matches, normalise};
use super::{Credential, Fingerprint, Holder, Login, Salt, update};
use crate::reference::{DOCKER_HUB, Repository, hex};

/// The key that Docker's tools write for Docker Hub, normalised.
const DOCKER_HUB_KEY: &str = "index.docker.io";

/// How many logins are tried for one repository. Each is a request to the registry.
const MAX_CANDIDATES: usize = 32;

/// How many logins one volume may have, of all its Secrets: each is kept while it is pulled.
const MAX_LOGINS: usize = 2048;

/// How many warnings are kept.
const MAX_WARNINGS: usize = 20;

/// The keys of a secret that hold a Docker configuration, in the order in which they are read.
const DOCUMENTS: [(&str, Form); 3] = [
    (".dockerconfigjson", Form::Config),
    (".dockercfg", Form::Legacy),
    ("config.json", Form::Config),
];

/// What kubelet puts into the map of secrets and no user did.
const KUBELET_KEYS: &str = "csi.storage.k8s.io/";

/// Logins by registry key, from sources in order. Its `Debug` shows no login.
#[derive(Clone, Default)]
pub struct Keyring {
    sources: Vec<BTreeMap<String, Vec<Credential>>>,
    warnings: Vec<String>,
    consulted: Vec<Consulted>,
}

/// A place where logins were looked for, for people: what it is called, the registry keys that it
/// has a login for, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consulted {
    /// `nodePublishSecretRef`, `imagePullSecrets "team-a"`, `node file "…"`.
    pub name: String,
    /// Normalised, in the order of trial.
    pub keys: Vec<String>,
    /// Why it has no login, or not all that it should have. Without secrets.
    pub problem: Option<String>,
}

/// How many keys of one place a message names.
const SHOWN_KEYS: usize = 5;

impl Consulted {
    /// A place that gave nothing.
    pub fn nothing(name: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { name: name.into(), keys: Vec::new(), problem: Some(problem.into()) }
    }
}

impl fmt::Display for Consulted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.keys.iter().take(SHOWN_KEYS).cloned().collect::<Vec<_>>().join(", ");
        let more = if self.keys.len() > SHOWN_KEYS { ", …" } else { "" };
        match (keys.as_str(), &self.problem) {
            ("", None) => write!(f, "{}: no login", self.name),
            ("", Some(problem)) => write!(f, "{}: {problem}", self.name),
            (keys, _) => write!(f, "{}: {keys}{more}", self.name),
        }
    }
}

impl Keyring {
    /// The keyring of a secret's data, as kubelet passes it: without the secret's type, so the
    /// keys decide. `name` is what messages call it: `nodePublishSecretRef`. Read are `.dockerconfigjson`, `.dockercfg` and `config.json`, and the single
    /// login of the keys `serverAddress`, `username`, `password`, `identityToken` and
    /// `registryToken` in any case.
    pub fn from_secret(data: &BTreeMap<String, Vec<u8>>, name: &str) -> Result<Self, SecretError> {
        let mut keyring = Self::default();
        let mut found = false;
        for (key, form) in DOCUMENTS {
            if let Some(bytes) = data.get(key) {
                found = true;
                keyring.add_document(bytes, &format!("{name} key {key:?}"), form)?;
            }
        }
        found |= keyring.add_single_login(data, name)?;
        let mut others = data.keys().filter(|key| !key.starts_with(KUBELET_KEYS)).peekable();
        if !found && others.peek().is_some() {
            let others: Vec<_> = others.take(5).map(|key| format!("{key:?}")).collect();
            keyring.warn(format!(
                "{name} has no registry login: none of the keys .dockerconfigjson, .dockercfg, \
                 config.json or username, but {}",
                others.join(", ")
            ));
        }
        keyring.consult(name);
        Ok(keyring)
    }

    /// The keyring of a file like Docker's `config.json`. `origin` names it in messages:
    /// `file "/var/lib/kubelet/config.json"`.
    pub fn from_docker_config(bytes: &[u8], origin: &str) -> Result<Self, SecretError> {
        let mut keyring = Self::default();
        keyring.add_document(bytes, origin, Form::Config)?;
        keyring.consult(origin);
        Ok(keyring)
    }

    /// The keyring of logins by registry key. `origin` names their source in messages.
    pub(super) fn from_logins(
        logins: impl IntoIterator<Item = (String, Login)>,
        origin: &str,
    ) -> Self {
        let mut keyring = Self::default();
        for (key, login) in logins {
            let is_empty = matches!(&login, Login::Basic { username, password }
                if username.is_empty() && password.is_empty());
            let logins = if is_empty { Vec::new() } else { vec![login] };
            keyring.add_entry(&key, logins, origin);
        }
        keyring
    }

    /// The same keyring, whose logins all belong to `holder`.
    pub fn held_by(mut self, holder: &Holder) -> Self {
        for credential in self.sources.iter_mut().flat_map(BTreeMap::values_mut).flatten() {
            credential.holder = Some(holder.clone());
        }
        self
    }

    /// Adds the next source, whose logins are tried after all that are there: a node's
    /// configuration after a pod's secrets.
    pub fn extend(&mut self, other: Self) {
        if self.has_room_for(&other) {
            self.sources.extend(other.sources);
        }
        self.consulted.extend(other.consulted);
        for warning in other.warnings {
            self.warn(warning);
        }
    }

    /// Adds to the last source: another secret of the same pod. As in kubelet, the keys of all
    /// its secrets are sorted together, and only equal keys are tried in the secrets' order.
    pub fn merge(&mut self, other: Self) {
        if self.has_room_for(&other) {
            for (key, credentials) in other.sources.into_iter().flatten() {
                self.last_source().entry(key).or_default().extend(credentials);
            }
        }
        self.consulted.extend(other.consulted);
        for warning in other.warnings {
            self.warn(warning);
        }
    }

    /// Whether the logins of another can be added; if not, that is a warning.
    fn has_room_for(&mut self, other: &Self) -> bool {
        let has_room = self.len() + other.len() <= MAX_LOGINS;
        if !has_room && let Some(place) = other.consulted.first() {
            let name = &place.name;
            self.warn(format!("{name} is ignored: there are {MAX_LOGINS} logins already"));
        }
        has_room
    }

    /// How many logins it has.
    fn len(&self) -> usize {
        self.sources.iter().flat_map(BTreeMap::values).map(Vec::len).sum()
    }

    /// Remembers a place that was looked into and has no login to add.
    pub fn note(&mut self, consulted: Consulted) {
        self.consulted.push(consulted);
    }

    /// Where logins were looked for, in order.
    pub fn consulted(&self) -> &[Consulted] {
        &self.consulted
    }

    /// The logins to try for a repository, in order, each once, and no more than 32. None: ask
    /// anonymously.
    pub fn matching(&self, repository: &Repository) -> Vec<Credential> {
        let mut seen = HashSet::new();
        let mut credentials = Vec::new();
        for source in &self.sources {
            let mut matching: Vec<_> =
                source.iter().rev().filter(|(key, _)| matches(key, repository)).collect();
            if matching.is_empty() && repository.registry() == DOCKER_HUB {
                matching.extend(source.get_key_value(DOCKER_HUB_KEY));
            }
            for credential in matching.into_iter().flat_map(|(_, credentials)| credentials) {
                if credentials.len() < MAX_CANDIDATES && seen.insert(&credential.login) {
                    credentials.push(credential.clone());
                }
            }
        }
        credentials
    }

    /// The registry keys that have a login, for diagnosis: normalised, in trial order.
    pub fn keys(&self) -> Vec<String> {
        self.sources.iter().flat_map(|source| source.keys().rev().cloned()).collect()
    }

    /// What two keyrings with the same logins, of the same holders, for the same keys, in the same
    /// order, share.
    pub fn fingerprint(&self, salt: &Salt) -> Fingerprint {
        let mut context = hmac::Context::with_key(&salt.0);
        for source in &self.sources {
            update(&mut context, "source");
            for (key, credentials) in source {
                update(&mut context, "key");
                update(&mut context, key);
                for credential in credentials {
                    credential.hash(&mut context);
                }
            }
        }
        Fingerprint(hex(context.sign().as_ref()))
    }

    /// What was ignored, and why, for people. Without secrets.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Whether it has no login at all.
    pub fn is_empty(&self) -> bool {
        self.sources.iter().all(BTreeMap::is_empty)
    }

    fn add_document(&mut self, bytes: &[u8], origin: &str, form: Form) -> Result<(), SecretError> {
        let name = |key: &str| normalise(key).unwrap_or_else(|_| "?".into());
        let (entries, notices) = docker_config::parse(bytes, origin, form, name)?;
        for notice in notices {
            self.warn(match notice {
                Notice::NoAuths => format!("{origin} has no `auths`, so no login"),
                Notice::Helpers => format!(
                    "{origin} names a credential helper (credsStore or credHelpers); helpers are \
                     programs of the machine it was written on and are never run here"
                ),
            });
        }
        for entry in entries {
            self.add_entry(&entry.key, entry.logins, origin);
        }
        Ok(())
    }

    fn add_entry(&mut self, raw: &str, logins: Vec<Login>, origin: &str) {
        let key = match normalise(raw) {
            Ok(key) => key,
            Err(problem) => {
                // The key itself may hold a password; what of it is a host is not known.
                self.warn(format!("{origin}: an entry is ignored: its key {problem}"));
                return;
            }
        };
        let origin = format!("{origin}, entry {key:?}");
        if logins.is_empty() {
            self.warn(format!("{origin} has no user name, password or token and is ignored"));
            return;
        }
        let host = key.split('/').next().unwrap_or_default();
        if host == "registry-1.docker.io" || (host == DOCKER_HUB_KEY && host.len() < key.len()) {
            self.warn(format!(
                "{origin} never matches, in kubelet neither; write https://index.docker.io/v1/"
            ));
        }
        let credentials = logins.into_iter().map(|login| Credential::new(origin.clone(), login));
        self.last_source().entry(key).or_default().extend(credentials);
    }

    /// The keys of the proposal for arbitrary image pull secrets, which are also those of
    /// `kubernetes.io/basic-auth` plus an address.
    fn add_single_login(
        &mut self,
        data: &BTreeMap<String, Vec<u8>>,
        name: &str,
    ) -> Result<bool, SecretError> {
        let mut fields = Fields::default();
        let mut address = String::new();
        let mut found = false;
        for (key, value) in data {
            let field = match key.to_ascii_lowercase().as_str() {
                "serveraddress" => &mut address,
                "username" => &mut fields.username,
                "password" => &mut fields.password,
                "identitytoken" => &mut fields.identity_token,
                "registrytoken" => &mut fields.registry_token,
                _ => continue,
            };
            let origin = || format!("{name} key {key:?}");
            if value.len() > MAX_DOCUMENT {
                return Err(SecretError::TooLarge { origin: origin(), size: value.len() });
            }
            let text = std::str::from_utf8(value)
                .map_err(|_| SecretError::Type { origin: origin(), expected: "UTF-8 text" })?;
            // A secret made from files has the editor's line end.
            text.trim_end_matches(['\r', '\n']).clone_into(field);
            found = true;
        }
        if !found {
            return Ok(false);
        }
        if address.is_empty() {
            self.warn(format!(
                "{name} has no `serverAddress`, so its login belongs to no registry and is not \
                 sent to any"
            ));
            return Ok(true);
        }
        // As in the runtimes: the address names a host; a path in it is that of an API.
        let host = normalise(&address).map(|key| match key.split_once('/') {
            Some((host, _)) => host.to_owned(),
            None => key,
        });
        let origin = format!("{name} key \"serverAddress\"");
        self.add_entry(&host.unwrap_or_default(), fields.logins(), &origin);
        Ok(true)
    }

    /// Notes what this keyring, of one place, has.
    fn consult(&mut self, name: &str) {
        let (keys, problem) = (self.keys(), self.warnings.first());
        // Who reads it has just read the name.
        let short = |text: &String| {
            text.strip_prefix(name).map_or(text.as_str(), str::trim_start).to_owned()
        };
        let problem = problem.map(short);
        self.consulted.push(Consulted { name: name.into(), keys, problem });
    }

    fn last_source(&mut self) -> &mut BTreeMap<String, Vec<Credential>> {
        if self.sources.is_empty() {
            self.sources.push(BTreeMap::new());
        }
        let last = self.sources.len() - 1;
        &mut self.sources[last]
    }

    fn warn(&mut self, warning: String) {
        if self.warnings.len() < MAX_WARNINGS && !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("keys", &self.keys()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
