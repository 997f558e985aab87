//! Events are told where the component is, with the rights that the requests of the driver need, of
//! which `tests/publish/events.rs` keeps count.

use super::rights::EVENTS;
use super::secret_access::{granted, patches_the_network_policy};
use super::*;

fn component() -> PathBuf {
    root().join("kustomize/components/events")
}

fn part(name: &str) -> Node {
    load(&component().join(name)).remove(0)
}

/// Files that give rights.
pub(super) fn gives_rights(path: &Path) -> bool {
    path.parent() == Some(&component())
}

#[test]
fn rights_are_those_that_the_requests_need() {
    let (role, binding) = (part("clusterrole.yaml"), part("clusterrolebinding.yaml"));
    assert_eq!(granted(&role), EVENTS);
    assert_eq!(role.text("kind"), "ClusterRole");
    assert_eq!(binding.text("roleRef/kind"), role.text("kind"));
    assert_eq!(binding.text("roleRef/name"), role.text("metadata/name"));
    let [subject] = binding.list("subjects") else { panic!("one subject") };
    assert_eq!(subject.text("kind"), "ServiceAccount");
    assert_eq!(subject.text("name"), base("serviceaccount.yaml").text("metadata/name"));
    assert_eq!(subject.text("namespace"), base("namespace.yaml").text("metadata/name"));
}

#[test]
fn the_component_turns_them_on_and_brings_a_token() {
    let spec = part("daemonset.yaml").at("spec/template/spec").clone();
    let container = &spec.list("containers")[0];
    assert_eq!(container.text("name"), self::container().text("name"));
    let [variable] = container.list("env") else { panic!("one variable") };
    assert_eq!((variable.text("name"), variable.text("value")), ("SKILLMOUNT_EVENTS", "true"));
    // At the place that the component for pod-token uses without a token.
    let pod_token = root().join("kustomize/components/secret-access-pod-token/daemonset.yaml");
    let pod_token = load(&pod_token).remove(0).at("spec/template/spec").clone();
    let [mount] = container.list("volumeMounts") else { panic!("one mount") };
    assert_eq!(mount, &pod_token.list("containers")[0].list("volumeMounts")[0]);
    let sources =
        |spec: &Node| spec.named("volumes", "api-server").list("projected/sources").to_vec();
    let [token, authority] = &sources(&spec)[..] else { panic!("two sources") };
    assert_eq!(token.text("serviceAccountToken/path"), "token");
    assert_eq!(std::slice::from_ref(authority), sources(&pod_token));
    assert!(patches_the_network_policy(&part("kustomization.yaml")));
}
