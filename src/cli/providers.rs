//! Flags for credential providers, under kubelet's names.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::Failure;
use crate::credentials::providers::{Providers, ProvidersConfig};
use crate::observability::metrics::Metrics;

#[derive(Debug, Args)]
#[command(next_help_heading = "Credential providers")]
pub(super) struct ProviderArgs {
    /// Kubelet's CredentialProviderConfig, or a directory of them: programs that make logins for
    /// registries
    #[arg(
        long,
        value_name = "PATH",
        env = "SKILLMOUNT_IMAGE_CREDENTIAL_PROVIDER_CONFIG",
        requires = "image_credential_provider_bin_dir"
    )]
    image_credential_provider_config: Option<PathBuf>,
    /// Directory of these programs, which only root can write to
    #[arg(
        long,
        value_name = "DIR",
        env = "SKILLMOUNT_IMAGE_CREDENTIAL_PROVIDER_BIN_DIR",
        requires = "image_credential_provider_config"
    )]
    image_credential_provider_bin_dir: Option<PathBuf>,
}

impl ProviderArgs {
    /// The providers, if there are any; a configuration that cannot be used is a bad flag.
    pub(super) fn providers(&self, metrics: Metrics) -> Result<Option<Arc<Providers>>, Failure> {
        let (config, bin_dir) =
            (&self.image_credential_provider_config, &self.image_credential_provider_bin_dir);
        let (Some(config), Some(bin_dir)) = (config, bin_dir) else { return Ok(None) };
        let setup =
            ProvidersConfig { metrics, ..ProvidersConfig::new(config.clone(), bin_dir.clone()) };
        let providers = Providers::load(setup).map_err(|error| Failure::usage(&error))?;
        Ok(Some(Arc::new(providers)))
    }
}
