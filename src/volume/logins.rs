//! What a volume may log in with: its sources, in the order in which they are tried.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::publish::PublishError;
use super::{PublishRequest, Volumes};
use crate::credentials::{Keyring, Logins, NodeFiles};

/// What messages call the Secret whose data kubelet passes.
const REFERENCED: &str = "nodePublishSecretRef";

/// Where logins come from, beside the Secret that kubelet passes.
#[derive(Debug, Default)]
pub struct Sources {
    /// Files of the node, for all pods.
    pub node_files: Arc<NodeFiles>,
}

impl Volumes {
    /// The logins of a volume, from all sources: those of its own Secret before those of the node.
    /// Reads from disk.
    pub(super) fn logins(&self, request: &PublishRequest) -> Result<Logins, PublishError> {
        let mut keyring = referenced(&request.secrets)?;
        keyring.extend(self.sources.node_files.keyring());
        for warning in keyring.warnings() {
            tracing::warn!(volume_id = request.volume_id, warning, "pull secret");
        }
        Ok(Logins::new(keyring))
    }
}

/// The Secret that the volume names, if it names one: kubelet passes its data and no name.
fn referenced(data: &BTreeMap<String, Vec<u8>>) -> Result<Keyring, PublishError> {
    if data.is_empty() {
        return Ok(Keyring::default());
    }
    Ok(Keyring::from_secret(data, REFERENCED)?)
}
