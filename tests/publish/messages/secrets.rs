//! The rows about Secrets that are read through the Kubernetes API.

use super::*;
use crate::support::driver::POD_UID;
use crate::support::kube_api::{KubeApi, path};

pub(super) async fn secrets(table: &mut Table, driver: &Driver, registry: &Registry) {
    let private = volume(driver, registry, "private/skill", "v1");
    let foreign = private.clone().attribute("pullSecrets", "team-b/skills-login");
    table.add(driver, "`pullSecrets` names a Secret of another namespace", &foreign).await;
    let named = private.clone().attribute("pullSecrets", "skills-login");
    let situation = "The volume has `pullSecrets`, and the driver reads no Secrets";
    table.add(driver, situation, &named).await;

    let api = KubeApi::start().await;
    let with = |access| {
        let pod_secrets = Some(api.pod_secrets(&table.root, access, true));
        Setup { pod_secrets, ..Setup::default() }
    };
    let reader = another(driver, "reader", with("driver")).await;
    let token = another(driver, "token", with("pod-token")).await;
    api.pod("team", "agent", POD_UID, &["image-login"]);
    table.add(&reader, "A Secret that the pod names does not exist", &private).await;
    api.forbid(&path("team", "secrets", "image-login"));
    table.add(&reader, "The driver lacks the right to read the Secret", &private).await;
    let of_pod = private.clone().api_token(CANARY);
    let situation = "The pod's service account lacks the right to read the Secret";
    table.add(&token, situation, &of_pod).await;
    table.add(&token, "The CSIDriver asks for no token", &private).await;
    let mut request = private.publish();
    request.volume_context.remove("csi.storage.k8s.io/pod.uid");
    let outcome = reader.client().node().node_publish_volume(request).await;
    let (code, message) = refused(outcome.map(drop));
    table.push("The CSIDriver has no `podInfoOnMount: true`", code, &message);
    api.pod("team", "agent", "another", &["image-login"]);
    table.add(&reader, "Another pod has taken the pod's name", &private).await;
    api.stop().await;
    table.add(&reader, "The API server does not answer", &private).await;
    reader.stop().await;
    token.stop().await;
}
