//! What a volume may log in with: its sources, in the order in which they are tried.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::publish::PublishError;
use super::{PublishRequest, Volumes};
use crate::credentials::providers::{ProviderLogins, Providers, Workload};
use crate::credentials::{Keyring, Logins, NodeFiles};

/// What messages call the Secret whose data kubelet passes.
const REFERENCED: &str = "nodePublishSecretRef";

/// Where logins come from, beside the Secret that kubelet passes.
#[derive(Debug, Default)]
pub struct Sources {
    /// Files of the node, for all pods.
    pub node_files: Arc<NodeFiles>,
    /// The node's credential providers, for all pods.
    pub providers: Option<Arc<Providers>>,
}

impl Volumes {
    /// The logins of a volume, from all sources: those of its own Secret before those of the node, and
    /// credential providers last.
    pub(super) async fn logins(&self, request: &PublishRequest) -> Result<Logins, PublishError> {
        let mut keyring = referenced(&request.secrets)?;
        let files = self.sources.node_files.clone();
        keyring.extend(super::blocking(move || files.keyring()).await?);
        Ok(Logins::new(keyring).with_providers(self.provided(request)))
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
fn referenced(data: &BTreeMap<String, Vec<u8>>) -> Result<Keyring, PublishError> {
    if data.is_empty() {
        return Ok(Keyring::default());
    }
    Ok(Keyring::from_secret(data, REFERENCED)?)
}
