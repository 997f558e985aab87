//! What `pull` and `inspect` share: references, credentials from files, and what to make of
//! them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::Failure;
use super::args::{LimitArgs, RegistryArgs};
use super::providers::ProviderArgs;
use crate::artifact::validation::Validation;
use crate::credentials::{Keyring, Logins};
use crate::observability::chain;
use crate::observability::logging::{self, LogFormat};
use crate::observability::metrics::Metrics;
use crate::observability::trace::Traces;
use crate::pull::{Blame, PullError, diagnosis};
use crate::registry::{Registry, install_crypto_provider};

/// The largest credentials file that is read, in bytes: as much as a Secret holds.
const MAX_SECRET: u64 = 1 << 20;

#[derive(Debug, Args)]
pub(super) struct SourceArgs {
    /// File with registry credentials (a Docker config.json, or a Secret's .dockerconfigjson);
    /// may be repeated
    #[arg(long, value_name = "FILE")]
    pull_secret: Vec<PathBuf>,
    /// Directory of the artifact to look for skills in, instead of all of it
    #[arg(long, value_name = "PATH")]
    pub(super) sub_path: Option<String>,
    /// How strictly SKILL.md is judged: none, lenient or strict
    #[arg(long, default_value = "lenient", value_parser = validation)]
    pub(super) validation: Validation,
    /// Level of the log on standard error
    #[arg(long, env = "SKILLMOUNT_LOG_LEVEL", default_value = "warn")]
    log_level: String,
    #[command(flatten)]
    registry: RegistryArgs,
    #[command(flatten)]
    providers: ProviderArgs,
    #[command(flatten)]
    pub(super) limits: LimitArgs,
}

fn validation(text: &str) -> Result<Validation, String> {
    text.parse().map_err(|_| "must be one of none, lenient, strict".to_owned())
}

impl SourceArgs {
    /// Sets up the process: logging, cryptography, the registry client.
    pub(super) fn registry(&self) -> Result<Registry, Failure> {
        logging::init(LogFormat::Text, &self.log_level, &Traces::default())
            .map_err(|e| Failure::usage(&e))?;
        install_crypto_provider();
        Registry::new(self.registry.config()).map_err(|e| Failure::usage(&e))
    }

    /// The credentials of all `--pull-secret` files, in their order, and those that the node's
    /// credential providers make for everybody.
    pub(super) fn logins(&self) -> Result<Arc<Logins>, Failure> {
        let mut keyring = Keyring::default();
        for path in &self.pull_secret {
            let found = read_secret(path).and_then(|bytes| {
                Keyring::from_docker_config(&bytes, &format!("file {}", path.display()))
                    .map_err(|e| Failure::usage(&e))
            })?;
            for warning in found.warnings() {
                tracing::warn!(warning, "pull secret");
            }
            keyring.extend(found);
        }
        let providers = self.providers.providers(Metrics::default())?;
        let providers = providers.map(|providers| providers.asked_for(None));
        Ok(Arc::new(Logins::new(keyring).with_providers(providers)))
    }
}

/// An error with its causes, and what there was to log in with. The advice in it is for pods; here
/// a secret comes another way.
pub(super) fn explain(error: &PullError, logins: &Logins) -> String {
    let text = match diagnosis(error, logins) {
        Some(found) => format!("{}{found}", chain(error)),
        None => chain(error),
    };
    match error.blame() {
        Blame::Unauthenticated | Blame::Forbidden | Blame::NotFound
            if text.contains("nodePublishSecretRef") =>
        {
            format!("{text} (here: --pull-secret FILE)")
        }
        _ => text,
    }
}

fn read_secret(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::Usage(format!("--pull-secret {}: {error}", path.display()))
    };
    let length = std::fs::metadata(path).map_err(|e| failed(&e))?.len();
    if length > MAX_SECRET {
        return Err(failed(&format!("{length} bytes are more than a Secret holds")));
    }
    std::fs::read(path).map_err(|e| failed(&e))
}
