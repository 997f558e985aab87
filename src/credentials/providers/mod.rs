//! Credential providers: programs of the administrator that make logins, as kubelet runs them for
//! images (`--image-credential-provider-config`, exec API `credentialprovider.kubelet.k8s.io`;
//! kubernetes, `pkg/credentialprovider/plugin`, and KEP-4412 for service accounts).
//!
//! As in kubelet, a provider is asked for what its `matchImages` match, and its answer is a
//! keyring: a login counts for the images that its key matches. The logins of all providers are
//! one source, in which equal keys are tried in the providers' order.
//!
//! Which programs there are is the administrator's word alone; nothing that a pod, a Secret or a
//! registry names is executed.

mod answer;
mod cache;
mod config;
mod exec;
mod fields;
mod program;
mod provider;
mod workload;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use futures_util::future::join_all;
use tokio::sync::Semaphore;

use super::{Consulted, Identity, Keyring, Matched, Salt, Unobtainable, update};
use crate::observability::metrics::Metrics;
use crate::reference::Repository;
use exec::Exec;
use provider::Provider;
use workload::{Subject, SubjectError};

pub use config::SetupError;
pub use fields::FieldError;
pub use program::ProgramError;
pub use workload::Workload;

/// How many programs run at once on a node.
const CONCURRENT: usize = 4;

/// Where the providers are.
#[derive(Debug, Clone)]
pub struct ProvidersConfig {
    /// The `CredentialProviderConfig`, or a directory of several.
    pub config: PathBuf,
    /// The directory of the programs.
    pub bin_dir: PathBuf,
    /// How long a program may run.
    pub timeout: Duration,
    /// Where questions are counted.
    pub metrics: Metrics,
}

impl ProvidersConfig {
    /// With kubelet's timeout of one minute.
    pub fn new(config: PathBuf, bin_dir: PathBuf) -> Self {
        Self { config, bin_dir, timeout: Duration::from_secs(60), metrics: Metrics::default() }
    }
}

/// The providers of a node. Their `Debug` shows names alone.
pub struct Providers(Vec<Arc<Provider>>);

impl Providers {
    /// Reads the configuration and looks at the programs. Reads from disk.
    pub fn load(setup: ProvidersConfig) -> Result<Self, SetupError> {
        let ProvidersConfig { config, bin_dir, timeout, metrics } = setup;
        let found = config::load(&config)?;
        program::check_directory(&bin_dir)
            .map_err(|source| SetupError::Directory { path: bin_dir.clone(), source })?;
        let slots = Arc::new(Semaphore::new(CONCURRENT));
        let mut providers = Vec::with_capacity(found.len());
        for config in found {
            let path = bin_dir.join(&config.name);
            program::check(&path)
                .map_err(|source| SetupError::Program { path: path.clone(), source })?;
            let wanted = config.tokens.iter().flat_map(|tokens| {
                tokens.required_annotations.iter().chain(&tokens.optional_annotations)
            });
            for annotation in wanted {
                let provider = &config.name;
                tracing::warn!(
                    provider,
                    annotation,
                    "annotations of service accounts are not read"
                );
            }
            let (args, env) = (config.args.clone(), config.env.clone());
            let exec = Exec { path, args, env, timeout };
            let provider = Provider::new(config, exec, slots.clone(), metrics.clone());
            providers.push(Arc::new(provider));
        }
        Ok(Self(providers))
    }

    /// The providers as they are asked for a pod, or for nobody.
    pub fn asked_for(self: &Arc<Self>, workload: Option<Workload>) -> ProviderLogins {
        ProviderLogins { providers: self.clone(), workload }
    }

    /// Their names and what they are for, in order.
    fn iter(&self) -> impl Iterator<Item = &Arc<Provider>> {
        self.0.iter()
    }
}

impl fmt::Debug for Providers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|provider| &provider.config.name)).finish()
    }
}

/// The logins that a node's providers make for one caller.
#[derive(Debug, Clone)]
pub struct ProviderLogins {
    providers: Arc<Providers>,
    workload: Option<Workload>,
}

impl ProviderLogins {
    /// Whom the providers for a repository make logins for. Runs nothing.
    pub(super) fn identities(&self, repository: &Repository, salt: &Salt) -> Vec<Identity> {
        let providers = self.providers.iter().filter(|provider| provider.is_for(repository));
        let subjects = providers.filter_map(|provider| {
            Some(self.subject(provider).ok()?.holder(&provider.config.name))
        });
        subjects.map(|holder| holder.identity(salt)).collect()
    }

    /// Adds what tells this caller from others of the node: its service account, if any provider
    /// asks for that.
    pub(super) fn fingerprint(&self, context: &mut hmac::Context, salt: &Salt) {
        let for_accounts = self.providers.iter().filter(|p| p.config.tokens.is_some());
        for provider in for_accounts {
            let name = &provider.config.name;
            update(context, name);
            match self.subject(provider).map(|subject| subject.holder(name).identity(salt)) {
                Ok(Identity::Login(hash)) => update(context, &hash),
                Ok(Identity::Anonymous) | Err(_) => update(context, ""),
            }
        }
    }

    /// The providers, for diagnosis.
    pub(super) fn consulted(&self) -> Vec<Consulted> {
        let told = self.providers.iter().map(|provider| Consulted {
            name: provider.origin(),
            keys: provider.config.match_images.clone(),
            problem: self.subject(provider).err().map(|error| error.to_string()),
        });
        told.collect()
    }

    /// The logins for a repository: asks all providers that are for it, side by side.
    pub(super) async fn matching(&self, repository: &Repository) -> Matched {
        let providers: Vec<_> =
            self.providers.iter().filter(|provider| provider.is_for(repository)).collect();
        let questions = providers.iter().map(|provider| self.keyring(provider, repository));
        let answers = join_all(questions).await;
        let mut all = Keyring::default();
        let mut failures = Vec::new();
        for (provider, answer) in providers.iter().zip(answers) {
            match answer {
                Ok(keyring) => all.merge(keyring),
                Err(problem) => {
                    failures.extend(
                        problem.map(|problem| Unobtainable { origin: provider.origin(), problem }),
                    );
                }
            }
        }
        Matched { credentials: all.matching(repository), failures }
    }

    /// What one provider answers; an error without a text is none.
    async fn keyring(
        &self,
        provider: &Arc<Provider>,
        repository: &Repository,
    ) -> Result<Keyring, Option<String>> {
        let subject = self.subject(provider).map_err(|error| match error {
            SubjectError::NoAccount => None,
            error => Some(error.to_string()),
        })?;
        let answer = provider.ask(repository, &subject).await;
        let answer = answer.map_err(|error| Some(error.to_string()))?;
        for warning in answer.keyring.warnings() {
            tracing::warn!(warning, "credential provider");
        }
        Ok(answer.keyring.clone().held_by(&subject.holder(&provider.config.name)))
    }

    fn subject(&self, provider: &Provider) -> Result<Subject, SubjectError> {
        Subject::of(provider.config.tokens.as_ref(), self.workload.as_ref())
    }
}

#[cfg(test)]
mod tests;
