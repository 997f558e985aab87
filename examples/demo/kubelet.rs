//! Kubelet's side of the socket: the calls that it makes for a pod, and its words for a refusal.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use skillmount::csi::v1::identity_client::IdentityClient;
use skillmount::csi::v1::node_client::NodeClient;
use skillmount::csi::v1::{
    GetPluginInfoRequest, NodeGetInfoRequest, NodeGetVolumeStatsRequest,
    NodeUnpublishVolumeRequest, ProbeRequest, VolumeUsage,
};
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::support::User;
use crate::support::driver::{self, Volume};

/// Kubelet's `csiTimeout`.
const TIMEOUT: Duration = Duration::from_secs(120);

pub(crate) struct Kubelet {
    identity: IdentityClient<Channel>,
    node: NodeClient<Channel>,
}

impl Kubelet {
    pub(crate) async fn connect(socket: &Path) -> Self {
        let channel = driver::connect(socket).await;
        Self { identity: IdentityClient::new(channel.clone()), node: NodeClient::new(channel) }
    }

    /// The driver's name and version, and whether it is ready.
    pub(crate) async fn identify(&mut self) -> Result<String, String> {
        let info = self.identity.get_plugin_info(GetPluginInfoRequest {}).await;
        let info = info.map_err(|status| failed("GetPluginInfo", &status))?.into_inner();
        let probe = self.identity.probe(ProbeRequest {}).await;
        let ready = probe.map_err(|status| failed("Probe", &status))?.into_inner().ready;
        match ready {
            Some(false) => Err("Probe: the driver is not ready".into()),
            _ => Ok(format!("{} {}, ready", info.name, info.vendor_version)),
        }
    }

    pub(crate) async fn node_id(&mut self) -> Result<String, String> {
        let info = self.node.node_get_info(NodeGetInfoRequest {}).await;
        Ok(info.map_err(|status| failed("NodeGetInfo", &status))?.into_inner().node_id)
    }

    /// The answer as it is: a refusal may be what is wanted.
    pub(crate) async fn try_publish(&mut self, volume: &Volume) -> Result<(), Status> {
        let mut request = Request::new(volume.publish());
        request.set_timeout(TIMEOUT);
        self.node.node_publish_volume(request).await.map(drop)
    }

    pub(crate) async fn publish(&mut self, volume: &Volume) -> Result<(), String> {
        let answer = self.try_publish(volume).await;
        answer.map_err(|status| failed("NodePublishVolume", &status))
    }

    /// Bytes and inodes in use, and the volume's condition.
    pub(crate) async fn stats(&mut self, volume: &Volume) -> Result<String, String> {
        let request = NodeGetVolumeStatsRequest {
            volume_id: volume.id.clone(),
            volume_path: volume.target.display().to_string(),
            ..Default::default()
        };
        let stats = self.node.node_get_volume_stats(request).await;
        let stats = stats.map_err(|status| failed("NodeGetVolumeStats", &status))?.into_inner();
        let usage = |usage: &VolumeUsage| match usage.unit() {
            skillmount::csi::v1::volume_usage::Unit::Bytes => format!("{} bytes", usage.used),
            _ => format!("{} inodes", usage.used),
        };
        let usage: Vec<_> = stats.usage.iter().map(usage).collect();
        match stats.volume_condition {
            Some(condition) if !condition.abnormal => {
                Ok(format!("{}; {}", usage.join(", "), condition.message))
            }
            other => Err(format!("NodeGetVolumeStats: the volume is not well: {other:?}")),
        }
    }

    pub(crate) async fn unpublish(&mut self, volume: &Volume) -> Result<(), String> {
        let request = NodeUnpublishVolumeRequest {
            volume_id: volume.id.clone(),
            target_path: volume.target.display().to_string(),
        };
        let answer = self.node.node_unpublish_volume(request).await;
        answer.map_err(|status| failed("NodeUnpublishVolume", &status))?;
        match volume.target.try_exists() {
            Ok(false) => Ok(()),
            _ => Err(format!("{} is still there after its unpublish", volume.target.display())),
        }
    }
}

/// An inline volume of a pod. Kubelet makes the directory above the target, the driver the target.
pub(crate) fn volume(root: &Path, pod: &str, references: &[String]) -> Result<Volume, String> {
    let above = root.join("pods").join(pod).join("volumes/kubernetes.io~csi/skills");
    fs::create_dir_all(&above)
        .map_err(|error| format!("cannot make {}: {error}", above.display()))?;
    Ok(Volume {
        id: format!("csi-{pod}"),
        target: above.join("mount"),
        read_only: true,
        attributes: [("reference".to_owned(), references.join("\n"))].into(),
        secrets: HashMap::new(),
        service_account: "default".into(),
    })
}

/// The data of a Secret as `kubectl create secret docker-registry` makes it, with the login of
/// each owner for that owner's repositories only.
pub(crate) fn pull_secret(registry: &str, logins: &[(&str, &User)]) -> HashMap<String, String> {
    let auths: serde_json::Map<_, _> = logins
        .iter()
        .map(|(owner, user)| {
            let login = json!({"username": user.name, "password": user.password});
            (format!("{registry}/{owner}/"), login)
        })
        .collect();
    [(".dockerconfigjson".to_owned(), json!({"auths": auths}).to_string())].into()
}

/// The event as `kubectl describe pod` shows it.
pub(crate) fn event(status: &Status) -> String {
    format!(
        "Warning  FailedMount  kubelet  MountVolume.SetUp failed for volume \"skills\" : rpc \
         error: code = {:?} desc = {}",
        status.code(),
        status.message()
    )
}

fn failed(call: &str, status: &Status) -> String {
    format!("{call} failed: rpc error: code = {:?} desc = {}", status.code(), status.message())
}
