//! What a volume may log in with: its sources, in the order in which they are tried.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;

use super::secrets::{Found, PodSecrets, SecretsError};
use super::{PublishRequest, Volumes};
use crate::credentials::providers::{ProviderLogins, Providers, Workload};
use crate::credentials::{Keyring, Logins, NodeFiles};

/// What messages call the Secret whose data kubelet passes.
const REFERENCED: &str = "nodePublishSecretRef";

/// Where logins come from, beside the Secret that kubelet passes.
#[derive(Debug, Default)]
pub struct Sources {
    /// Secrets that are read through the Kubernetes API, where that is allowed.
    pub pod_secrets: Option<PodSecrets>,
    /// Files of the node, for all pods.
    pub node_files: Arc<NodeFiles>,
    /// The node's credential providers, for all pods.
    pub providers: Option<Arc<Providers>>,
}

impl Volumes {
    /// Whether the API server has to be asked before a volume's logins are known.
    pub(super) fn asks_for_secrets(&self) -> bool {
        self.sources.pod_secrets.is_some()
    }

    /// The logins of the pod's Secrets.
    pub(super) async fn pod_logins(
        &self,
        request: &PublishRequest,
        deadline: Instant,
    ) -> Result<Found, SecretsError> {
        match &self.sources.pod_secrets {
            Some(secrets) => secrets.read(request, deadline).await,
            None => Ok(Found::default()),
        }
    }

    /// The logins of a volume, from all sources: those of its own Secret, those of the pod's
    /// Secrets, those of the node, and credential providers last. Reads from disk.
    pub(super) fn logins(
        &self,
        request: &PublishRequest,
        found: Found,
    ) -> Result<Logins, SecretsError> {
        if self.sources.pod_secrets.is_none() && !request.attributes.pull_secrets.is_empty() {
            return Err(SecretsError::NoAccess);
        }
        let mut keyring = referenced(&request.secrets)?;
        keyring.extend(found.keyring);
        keyring.extend(self.sources.node_files.keyring());
        for warning in keyring.warnings() {
            tracing::warn!(volume_id = request.volume_id, warning, "pull secret");
        }
        let logins = Logins::new(keyring).with_unread(found.unread);
        Ok(logins.with_providers(self.provided(request)))
    }

    /// What the node's credential providers are told of the pod.
    fn provided(&self, request: &PublishRequest) -> Option<ProviderLogins> {
        let (pod, tokens) = (&request.pod, &request.tokens);
        let workload = || Workload {
            namespace: pod.namespace.clone(),
            service_account: pod.service_account.clone(),
            pod_uid: pod.uid.clone(),
            tokens: tokens
                .audiences()
                .filter_map(|audience| Some((audience.into(), tokens.get(audience)?.into())))
                .collect(),
        };
        self.sources.providers.as_ref().map(|providers| providers.asked_for(Some(workload())))
    }
}

/// The Secret that the volume names, if it names one: kubelet passes its data and no name.
fn referenced(data: &BTreeMap<String, Vec<u8>>) -> Result<Keyring, SecretsError> {
    if data.is_empty() {
        return Ok(Keyring::default());
    }
    Ok(Keyring::from_secret(data, REFERENCED)?)
}
