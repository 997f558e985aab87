//! Flags of the driver alone: what it may ask the Kubernetes API for.

use std::path::PathBuf;

use clap::{ArgAction, Args};

use super::Failure;
use crate::kube::{
    Api, ApiConfig, ApiServer, CALL_TIMEOUT, SecretAccess, SetupError, UnknownAccess,
};
use crate::volume::PodSecrets;

#[derive(Debug, Args)]
#[command(next_help_heading = "Secrets of pods")]
pub(super) struct KubeArgs {
    /// As whom Secrets are read through the Kubernetes API: none (they are not), pod-token,
    /// impersonate or driver
    #[arg(long, value_name = "WHO", env = "SKILLMOUNT_SECRET_ACCESS", default_value = "none",
          value_parser = access)]
    // Spelt out, since for an `Option` clap would take no default.
    secret_access: std::option::Option<SecretAccess>,
    /// Whether --secret-access extends to the pod's own imagePullSecrets, or only to what a
    /// volume names in pullSecrets
    #[arg(long, value_name = "BOOL", env = "SKILLMOUNT_IMAGE_PULL_SECRETS",
          default_value_t = true, action = ArgAction::Set)]
    image_pull_secrets: bool,
    /// File that says where the API server is and how to log in there [default: as for every
    /// container of the cluster]
    #[arg(long, value_name = "FILE", env = "SKILLMOUNT_KUBECONFIG")]
    kubeconfig: Option<PathBuf>,
}

fn access(text: &str) -> Result<Option<SecretAccess>, UnknownAccess> {
    if text == "none" { Ok(None) } else { text.parse().map(Some) }
}

impl KubeArgs {
    /// What reads Secrets, if that is allowed. Without that no file is read, and no client made.
    pub(super) fn pod_secrets(&self, node: &str) -> Result<Option<PodSecrets>, Failure> {
        let Some(access) = self.secret_access else {
            return match self.kubeconfig {
                None => Ok(None),
                Some(_) => {
                    Err(Failure::Usage("--kubeconfig has no use without --secret-access".into()))
                }
            };
        };
        let setup = || -> Result<Api, SetupError> {
            let server = match &self.kubeconfig {
                None => ApiServer::in_cluster(),
                Some(path) => ApiServer::from_kubeconfig(path),
            };
            Api::new(ApiConfig {
                server: server?,
                access,
                node: node.into(),
                timeout: CALL_TIMEOUT,
            })
        };
        let api = setup().map_err(|error| Failure::usage(&error))?;
        Ok(Some(PodSecrets { api, image_pull_secrets: self.image_pull_secrets }))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::registry::install_crypto_provider;

    #[derive(Debug, Parser)]
    struct Only {
        #[command(flatten)]
        kube: KubeArgs,
    }

    fn parse(flags: &[&str]) -> Result<Option<PodSecrets>, String> {
        install_crypto_provider();
        let flags = std::iter::once(&"skillmount").chain(flags);
        let parsed = Only::try_parse_from(flags).map_err(|error| error.to_string())?;
        parsed.kube.pod_secrets("node-1").map_err(|failure| format!("{failure:?}"))
    }

    #[test]
    fn flags_become_access() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("config");
        let config = "current-context: c\ncontexts: [{name: c, context: {cluster: c}}]\n\
                      clusters: [{name: c, cluster: {server: 'https://api.example'}}]\n";
        std::fs::write(&path, config).unwrap();
        let kubeconfig = format!("--kubeconfig={}", path.display());
        assert!(parse(&[]).unwrap().is_none());
        assert!(parse(&["--secret-access=none", "--image-pull-secrets=true"]).unwrap().is_none());
        for (text, access) in [
            ("pod-token", SecretAccess::PodToken),
            ("impersonate", SecretAccess::Impersonate),
            ("driver", SecretAccess::Driver),
        ] {
            let flag = format!("--secret-access={text}");
            let secrets = parse(&[&flag, &kubeconfig]).unwrap().unwrap();
            assert_eq!((secrets.api.access(), secrets.image_pull_secrets), (access, true));
            let off = parse(&[&flag, &kubeconfig, "--image-pull-secrets=false"]).unwrap().unwrap();
            assert!(!off.image_pull_secrets);
        }
        for (flags, problem) in [
            (&["--secret-access=all"][..], "must be one of none, pod-token, impersonate, driver"),
            (&[&kubeconfig], "--kubeconfig has no use without --secret-access"),
            (&["--secret-access=driver", "--kubeconfig=/nowhere"], "cannot read"),
        ] {
            let error = parse(flags).unwrap_err();
            assert!(error.contains(problem), "{flags:?}: {error}");
        }
    }
}
