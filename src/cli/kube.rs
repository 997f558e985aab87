//! Flags of the driver alone: what it may ask the Kubernetes API for, and tell it.

use std::path::PathBuf;

use clap::{ArgAction, Args};

use super::Failure;
use crate::events::{Events, Reporter, Writer};
use crate::kube::{
    Api, ApiConfig, ApiServer, CALL_TIMEOUT, SecretAccess, SetupError, UnknownAccess,
};
use crate::observability::metrics::Metrics;
use crate::volume::PodSecrets;

#[derive(Debug, Args)]
#[command(next_help_heading = "Kubernetes API")]
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
    /// Whether pods get events about their skills, in the words that kubelet has for images
    #[arg(long, value_name = "BOOL", env = "SKILLMOUNT_EVENTS", default_value_t = false,
          action = ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_missing_value = "true")]
    events: bool,
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
            if self.kubeconfig.is_some() && !self.events {
                let problem = "--kubeconfig has no use without --secret-access or --events";
                return Err(Failure::Usage(problem.into()));
            }
            return Ok(None);
        };
        let api = self.api(access, node).map_err(|error| Failure::usage(&error))?;
        Ok(Some(PodSecrets { api, image_pull_secrets: self.image_pull_secrets }))
    }

    /// What tells pods, if that is wanted, and what has to run for that. As the driver itself,
    /// whoever reads Secrets.
    pub(super) fn events(
        &self,
        driver: &str,
        node: &str,
        metrics: Metrics,
    ) -> Result<Option<(Events, Writer)>, Failure> {
        if !self.events {
            return Ok(None);
        }
        let api = self.api(SecretAccess::Driver, node).map_err(|error| Failure::usage(&error))?;
        let reporter = Reporter { driver: driver.into(), node: node.into() };
        Ok(Some(Events::new(api, reporter, metrics)))
    }

    fn api(&self, access: SecretAccess, node: &str) -> Result<Api, SetupError> {
        let server = match &self.kubeconfig {
            None => ApiServer::in_cluster(),
            Some(path) => ApiServer::from_kubeconfig(path),
        };
        Api::new(ApiConfig { server: server?, access, node: node.into(), timeout: CALL_TIMEOUT })
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

    fn args(flags: &[&str]) -> Result<KubeArgs, String> {
        install_crypto_provider();
        let flags = std::iter::once(&"skillmount").chain(flags);
        Ok(Only::try_parse_from(flags).map_err(|error| error.to_string())?.kube)
    }

    fn parse(flags: &[&str]) -> Result<Option<PodSecrets>, String> {
        args(flags)?.pod_secrets("node-1").map_err(|failure| format!("{failure:?}"))
    }

    fn tells(flags: &[&str]) -> Result<bool, String> {
        let events = args(flags)?.events("driver", "node-1", Metrics::default());
        events.map(|events| events.is_some()).map_err(|failure| format!("{failure:?}"))
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
            (&[&kubeconfig], "--kubeconfig has no use without --secret-access or"),
            (&["--secret-access=driver", "--kubeconfig=/nowhere"], "cannot read"),
        ] {
            let error = parse(flags).unwrap_err();
            assert!(error.contains(problem), "{flags:?}: {error}");
        }
        // Events need no access to Secrets, and give none.
        assert!(parse(&["--events", &kubeconfig]).unwrap().is_none());
        for (flags, expected) in [
            (&[][..], false),
            (&["--events=false"], false),
            (&["--secret-access=driver", &kubeconfig], false),
            (&["--events", &kubeconfig], true),
            (&["--events=true", &kubeconfig], true),
            (&["--events", "--secret-access=pod-token", &kubeconfig], true),
        ] {
            assert_eq!(tells(flags), Ok(expected), "{flags:?}");
        }
        let error = tells(&["--events", "--kubeconfig=/nowhere"]).unwrap_err();
        assert!(error.contains("cannot read"), "{error}");
    }
}
