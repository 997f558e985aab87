//! What the driver, or a pod's service account, is allowed for `--secret-access`: exactly what the
//! requests of the driver need, of which `tests/publish/pod_secrets.rs` keeps count.

use super::rights::{RIGHTS, Right};
use super::*;

const COMPONENTS: &str = "kustomize/components";

fn component(access: &str) -> PathBuf {
    root().join(COMPONENTS).join(format!("secret-access-{access}"))
}

fn patch(access: &str, name: &str) -> Node {
    load(&component(access).join(name)).remove(0)
}

/// The rules of a role, one right each.
pub(super) fn granted(role: &Node) -> Vec<Right> {
    let mut rights: Vec<Right> = Vec::new();
    for rule in role.list("rules") {
        for (verb, group, resource) in each(rule) {
            rights.push((verb.leak(), group.leak(), resource.leak()));
        }
    }
    rights.sort_unstable();
    rights
}

fn each(rule: &Node) -> Vec<(String, String, String)> {
    let texts = |key| rule.list(key).iter().map(|node| node.scalar().to_owned());
    let mut all = Vec::new();
    for verb in texts("verbs") {
        for group in texts("apiGroups") {
            all.extend(texts("resources").map(|name| (verb.clone(), group.clone(), name)));
        }
    }
    all
}

/// Files that may give rights: these, and what OpenShift needs.
pub(super) fn gives_rights(path: &Path) -> bool {
    let accesses = RIGHTS.iter().map(|(access, _)| component(access));
    accesses.into_iter().any(|directory| path.parent() == Some(&directory))
        || path == root().join("samples/pull-secret-reader.yaml")
}

#[test]
fn rights_are_those_that_the_requests_need() {
    for (access, rights) in RIGHTS {
        let (role, binding) = match access {
            "pod-token" => {
                let mut sample = load(&root().join("samples/pull-secret-reader.yaml"));
                let binding = sample.remove(1);
                (sample.remove(0), binding)
            }
            access => (patch(access, "clusterrole.yaml"), patch(access, "clusterrolebinding.yaml")),
        };
        assert_eq!(granted(&role), rights, "{access}");
        assert_eq!(binding.text("roleRef/kind"), role.text("kind"));
        assert_eq!(binding.text("roleRef/name"), role.text("metadata/name"));
        let [subject] = binding.list("subjects") else { panic!("{access}: one subject") };
        assert_eq!(subject.text("kind"), "ServiceAccount");
        match access {
            // In the namespace that it is applied to, and not for all Secrets.
            "pod-token" => {
                assert_eq!(role.text("kind"), "Role");
                for rule in role.list("rules") {
                    let of_secrets = rule.list("resources")[0].scalar() == "secrets";
                    assert_eq!(rule.find("resourceNames").is_some(), of_secrets);
                }
            }
            _ => {
                assert_eq!(subject.text("name"), base("serviceaccount.yaml").text("metadata/name"));
                assert_eq!(subject.text("namespace"), base("namespace.yaml").text("metadata/name"));
            }
        }
    }
}

#[test]
fn components_turn_on_what_they_are_called() {
    for (access, _) in RIGHTS {
        let spec = patch(access, "daemonset.yaml").at("spec/template/spec").clone();
        let container = &spec.list("containers")[0];
        let [variable] = container.list("env") else { panic!("{access}: one variable") };
        assert_eq!(variable.text("name"), "SKILLMOUNT_SECRET_ACCESS");
        assert_eq!(variable.text("value"), access);
        assert_eq!(container.text("name"), self::container().text("name"));
        if access != "pod-token" {
            assert_eq!(spec.text("automountServiceAccountToken"), "true");
            continue;
        }
        // The driver gets whom to trust, and no token.
        assert!(spec.find("automountServiceAccountToken").is_none());
        let volume = spec.named("volumes", "api-server");
        let [source] = volume.list("projected/sources") else { panic!("one source") };
        assert_eq!(source.text("configMap/name"), "kube-root-ca.crt");
        let mount = container.named("volumeMounts", "api-server");
        assert_eq!(mount.text("mountPath"), "/var/run/secrets/kubernetes.io/serviceaccount");
        let driver = patch(access, "csidriver.yaml");
        assert_eq!(driver.text("metadata/name"), DRIVER);
        let [request] = driver.list("spec/tokenRequests") else { panic!("one token") };
        assert_eq!(request.text("audience"), "");
    }
    let there = fs::read_dir(root().join(COMPONENTS)).unwrap();
    let names = there.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| name.starts_with("secret-access-")).count(), RIGHTS.len());
}

/// Whether a component lists the one that lets the API server be reached, and no other.
pub(super) fn patches_the_network_policy(kustomization: &Node) -> bool {
    let components = kustomization.list("components").iter().map(Node::scalar);
    components.eq(["../api-server-egress"])
}

#[test]
fn each_access_opens_the_network_policy_for_the_api_server() {
    for (access, _) in RIGHTS {
        assert!(patches_the_network_policy(&patch(access, "kustomization.yaml")), "{access}");
    }
    let components = root().join(COMPONENTS);
    let egress = load(&components.join("api-server-egress/kustomization.yaml")).remove(0);
    let policy = load(&components.join("network-policy/networkpolicy.yaml")).remove(0);
    let [patch] = egress.list("patches") else { panic!("one patch") };
    assert_eq!(patch.text("target/kind"), policy.text("kind"));
    assert_eq!(patch.text("target/name"), policy.text("metadata/name"));
    let operations = parse(patch.text("patch")).unwrap().remove(0);
    let Node::List(operations) = operations else { panic!("{operations:?}") };
    let [operation] = &operations[..] else { panic!("one operation") };
    assert_eq!(operation.text("path"), "/spec/egress/-");
    // As for registries: never to where clouds hand out the credentials of the node.
    assert_eq!(operation.at("value/to"), policy.list("spec/egress")[1].at("to"));
}
