//! What a volume may log in with: its sources, in the order in which they are tried.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;

use super::publish::PublishError;
use super::secrets::{PodSecrets, SecretsError};
use super::{PublishRequest, Volumes};
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
}

impl Volumes {
    /// The logins of a volume, from all sources: those of its own Secret, those of the pod's
    /// Secrets, those of the node.
    pub(super) async fn logins(
        &self,
        request: &PublishRequest,
        deadline: Instant,
    ) -> Result<Logins, PublishError> {
        let mut keyring = referenced(&request.secrets)?;
        let mut unread = None;
        match &self.sources.pod_secrets {
            Some(secrets) => {
                let found = secrets.read(request, deadline).await?;
                keyring.extend(found.keyring);
                unread = found.unread;
            }
            None if request.attributes.pull_secrets.is_empty() => {}
            None => return Err(SecretsError::NoAccess.into()),
        }
        let files = self.sources.node_files.clone();
        keyring.extend(super::blocking(move || files.keyring()).await?);
        Ok(Logins::new(keyring).with_unread(unread))
    }
}

/// The Secret that the volume names, if it names one: kubelet passes its data and no name.
fn referenced(data: &BTreeMap<String, Vec<u8>>) -> Result<Keyring, SecretsError> {
    if data.is_empty() {
        return Ok(Keyring::default());
    }
    Ok(Keyring::from_secret(data, REFERENCED)?)
}
