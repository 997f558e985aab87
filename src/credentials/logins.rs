//! All that a caller may log in with, and what a registry client needs to know of it.

use aws_lc_rs::hmac;
use futures_util::future::BoxFuture;

use super::providers::ProviderLogins;
use super::{Consulted, Credential, Fingerprint, Identity, Keyring, Salt, update};
use crate::reference::{Repository, hex};

/// Who can say which credentials are for a repository.
pub trait Candidates: Send + Sync {
    /// The credentials to try for a repository, in order.
    fn matching<'a>(&'a self, repository: &'a Repository) -> BoxFuture<'a, Matched>;

    /// Those that it costs something to get. They come after the others, and are asked for only
    /// if none of those was accepted.
    fn further<'a>(&'a self, _repository: &'a Repository) -> BoxFuture<'a, Matched> {
        Box::pin(std::future::ready(Matched::default()))
    }
}

/// What there is to log in with at one repository.
#[derive(Debug, Default)]
pub struct Matched {
    /// The credentials, in the order of trial. None: ask anonymously.
    pub credentials: Vec<Credential>,
    /// Sources that should have had one and failed to give it.
    pub failures: Vec<Unobtainable>,
}

impl Matched {
    /// Adds what comes after, each login once.
    pub fn add(&mut self, other: Self) {
        for credential in other.credentials {
            if self.credentials.iter().all(|known| known.login != credential.login) {
                self.credentials.push(credential);
            }
        }
        self.failures.extend(other.failures);
    }
}

/// A source that is for a repository and gave nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unobtainable {
    /// What it is called: `credential provider "…"`.
    pub origin: String,
    /// Why. Without secrets.
    pub problem: String,
}

/// The logins of one caller, from all sources in order.
#[derive(Debug, Clone, Default)]
pub struct Logins {
    keyring: Keyring,
    unread: Option<String>,
    providers: Option<ProviderLogins>,
}

impl Logins {
    /// The logins of a keyring.
    pub fn new(keyring: Keyring) -> Self {
        Self { keyring, unread: None, providers: None }
    }

    /// The same, if there may be others that could not be learnt just now, and why.
    pub fn with_unread(self, unread: Option<String>) -> Self {
        Self { unread, ..self }
    }

    /// Why these may not be all logins of the caller; none if they are.
    pub fn unread(&self) -> Option<&str> {
        self.unread.as_deref()
    }

    /// The same with what credential providers give, after all others.
    pub fn with_providers(self, providers: Option<ProviderLogins>) -> Self {
        Self { providers, ..self }
    }

    /// Who the caller is to a repository: what its matching credentials are, or nobody. Asks
    /// nobody and runs nothing.
    pub fn identities(&self, repository: &Repository, salt: &Salt) -> Vec<Identity> {
        let matching = self.keyring.matching(repository);
        let mut identities: Vec<_> = matching.iter().flat_map(|c| c.identities(salt)).collect();
        if let Some(providers) = &self.providers {
            identities.extend(providers.identities(repository, salt));
        }
        if identities.is_empty() { vec![Identity::Anonymous] } else { identities }
    }

    /// What two callers with the same logins share.
    pub fn fingerprint(&self, salt: &Salt) -> Fingerprint {
        let fingerprint = self.keyring.fingerprint(salt);
        let Some(providers) = &self.providers else { return fingerprint };
        let mut context = hmac::Context::with_key(&salt.0);
        update(&mut context, &fingerprint.0);
        providers.fingerprint(&mut context, salt);
        Fingerprint(hex(context.sign().as_ref()))
    }

    /// What was ignored, and why, for people. Without secrets.
    pub fn warnings(&self) -> &[String] {
        self.keyring.warnings()
    }

    /// Where logins were looked for, in order.
    pub fn consulted(&self) -> Vec<Consulted> {
        let providers = self.providers.iter().flat_map(ProviderLogins::consulted);
        self.keyring.consulted().iter().cloned().chain(providers).collect()
    }
}

impl Candidates for Logins {
    fn matching<'a>(&'a self, repository: &'a Repository) -> BoxFuture<'a, Matched> {
        let credentials = self.keyring.matching(repository);
        Box::pin(std::future::ready(Matched { credentials, failures: Vec::new() }))
    }

    fn further<'a>(&'a self, repository: &'a Repository) -> BoxFuture<'a, Matched> {
        match &self.providers {
            Some(providers) => Box::pin(providers.matching(repository)),
            None => Box::pin(std::future::ready(Matched::default())),
        }
    }
}
