//! The same against a real API server, with the rights as they are shipped. Run it with
//!
//! ```sh
//! sh tests/cluster/up.sh sh -c 'SKILLMOUNT_TEST_KUBECONFIG=$KUBECONFIG \
//!     cargo test --test publish real_api -- --ignored'
//! ```
//!
//! It needs `kubectl`, and an API server with constrained impersonation that nothing else uses.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use skillmount::kube::{Api, ApiConfig, ApiServer, CALL_TIMEOUT, CallError, Name};
use skillmount::volume::PodSecrets;
use tokio::time::Instant;

use super::*;
use crate::support::auth::User;
use crate::support::kube_api::docker_config;
use crate::support::rights::{EVENTS, Right};

const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy");

/// What there is before the rights: the driver's pods on two nodes, and a tenant's.
const OBJECTS: &str = r#"
{apiVersion: v1, kind: Namespace, metadata: {name: skillmount}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: team}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: skillmount-node, namespace: skillmount}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: team}}
---
{apiVersion: v1, kind: Node, metadata: {name: node-1}}
---
{apiVersion: v1, kind: Node, metadata: {name: node-2}}
"#;

fn kubeconfig() -> String {
    std::env::var("SKILLMOUNT_TEST_KUBECONFIG").expect("SKILLMOUNT_TEST_KUBECONFIG")
}

/// Runs kubectl as the administrator, and returns what it prints.
fn kubectl(arguments: &[&str], input: &str) -> String {
    let mut child = Command::new("kubectl")
        .args(["--kubeconfig", &kubeconfig()])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("kubectl");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "kubectl {arguments:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn pod(namespace: &str, name: &str, account: &str, node: &str, rest: &str) -> String {
    format!(
        "---\n{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: {namespace}}}, spec: \
         {{nodeName: {node}, serviceAccountName: {account}, containers: [{{name: a, image: a}}]{rest}}}}}\n"
    )
}

/// A token of a service account, bound to a pod and so to its node.
fn token(namespace: &str, account: &str, pod: &str) -> String {
    let bound = ["--bound-object-kind=Pod", "--bound-object-name", pod];
    let arguments = ["create", "token", account, "--namespace", namespace];
    kubectl(&[&arguments[..], &bound].concat(), "")
}

/// The API server for a driver of a node, with a token of its own.
fn api(root: &Path, access: &str, node: &str, token: &str) -> Api {
    skillmount::registry::install_crypto_provider();
    let view = |path: &str| {
        let path = format!("-ojsonpath={{.clusters[0].cluster.{path}}}");
        kubectl(&["config", "view", "--raw", "--minify", &path], "")
    };
    let config = format!(
        "current-context: a\ncontexts: [{{name: a, context: {{cluster: a, user: a}}}}]\nclusters: \
         [{{name: a, cluster: {{server: '{}', certificate-authority: '{}'}}}}]\nusers: [{{name: a, \
         user: {{token: '{token}'}}}}]\n",
        view("server"),
        view("certificate-authority"),
    );
    let path = root.join("kubeconfig");
    fs::write(&path, config).unwrap();
    let server = ApiServer::from_kubeconfig(&path).unwrap();
    let access = access.parse().unwrap();
    Api::new(ApiConfig { server, access, node: node.into(), timeout: CALL_TIMEOUT }).unwrap()
}

/// A driver with that.
async fn driver(root: &Path, name: &str, api: Api) -> Driver {
    let root = root.join(name);
    fs::create_dir(&root).unwrap();
    let secrets = PodSecrets { api, image_pull_secrets: true };
    Driver::start(&root, Setup { pod_secrets: Some(secrets), ..Setup::default() }).await
}

/// A right of the driver alone.
fn role((verb, group, resource): Right) -> String {
    format!(
        "{{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {{name: half}}, \
         rules: [{{apiGroups: ['{group}'], resources: [{resource}], verbs: ['{verb}']}}]}}\n---\n\
         {{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {{name: \
         half}}, roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: half}}, \
         subjects: [{{kind: ServiceAccount, name: skillmount-node, namespace: skillmount}}]}}\n"
    )
}

/// Waits until the API server says so of the driver.
async fn allowed((verb, group, resource): Right, expected: bool) {
    let review = format!(
        "{{apiVersion: authorization.k8s.io/v1, kind: SubjectAccessReview, spec: {{user: \
         'system:serviceaccount:skillmount:skillmount-node', resourceAttributes: {{verb: '{verb}', \
         group: '{group}', resource: {resource}}}}}}}"
    );
    let arguments = ["create", "--filename=-", "-ojsonpath={.status.allowed}"];
    let attempts = async {
        while (kubectl(&arguments, &review) == "true") != expected {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), attempts).await.expect("rights in time");
}

/// The tenant's pod, as kubelet would describe it.
struct Tenant {
    reference: String,
    uid: String,
    token: String,
}

impl Tenant {
    fn volume(&self, driver: &Driver, id: &str) -> Volume {
        let volume = driver.volume(id, &self.reference).api_token(&self.token);
        volume.attribute("pullPolicy", "Always").attribute("csi.storage.k8s.io/pod.uid", &self.uid)
    }

    async fn is_forbidden(&self, driver: &Driver, volume: Volume) {
        let (code, message) = refused(driver.publish(&volume).await);
        assert_eq!(code, Code::Unauthenticated, "{message}");
        assert!(message.contains(": forbidden: "), "{message}");
    }

    /// New rights take a moment, as kubelet's retries do.
    async fn is_served(&self, driver: &Driver) {
        let volume = self.volume(driver, "csi-served");
        let attempts = async {
            while let Err(status) = driver.publish(&volume).await {
                assert_eq!(status.code(), Code::Unauthenticated, "{}", status.message());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), attempts).await.expect("rights in time");
    }
}

#[test]
#[ignore = "needs an API server, see above"]
fn the_shipped_rights_are_enough_and_needed() {
    run("real_api::the_shipped_rights_are_enough_and_needed", async {
        let registry = Registry::start(Options::basic([User::new("agent", CANARY)]));
        artifacts::skillimage(&registry, "team/code-review", "v1", &skills::code_review());
        kubectl(&["create", "--filename=-"], OBJECTS);
        let account = "skillmount-node";
        let pods = [
            pod("skillmount", "driver-1", account, "node-1", ""),
            pod("skillmount", "driver-2", account, "node-2", ""),
            pod("team", "agent", "default", "node-1", ", imagePullSecrets: [{name: skills-login}]"),
        ];
        kubectl(&["create", "--filename=-"], &pods.concat());
        let config = docker_config(&registry.host(), "agent", CANARY);
        for name in ["skills-login", "unused"] {
            let literal = format!("--from-literal=.dockerconfigjson={config}");
            let kind = "--type=kubernetes.io/dockerconfigjson";
            kubectl(&["create", "secret", "generic", name, "--namespace=team", kind, &literal], "");
        }
        let uid =
            kubectl(&["get", "pod", "agent", "--namespace=team", "-ojsonpath={.metadata.uid}"], "");
        let reference = registry.reference("team/code-review", "v1");
        let tenant = Tenant { reference, uid, token: token("team", "default", "agent") };
        let [first, second] = ["driver-1", "driver-2"].map(|pod| token("skillmount", account, pod));
        let root = namespace::scratch();
        let api = |access, node, token: &str| api(&root, access, node, token);
        let none = "no-token-of-its-own";
        let by_pod = driver(&root, "by-pod", api("pod-token", "node-1", none)).await;
        let by_node = driver(&root, "by-node", api("impersonate", "node-1", &first)).await;
        let elsewhere = driver(&root, "elsewhere", api("impersonate", "node-1", &second)).await;
        let other_node = driver(&root, "other-node", api("impersonate", "node-2", &second)).await;
        let itself = driver(&root, "itself", api("driver", "node-1", &first)).await;
        let all = [&by_pod, &by_node, &elsewhere, &other_node, &itself];

        for driver in all {
            tenant.is_forbidden(driver, tenant.volume(driver, "csi-1")).await;
        }
        // Half of what impersonation needs is nothing.
        let halves = [
            ("impersonate:associated-node", "authentication.k8s.io", "nodes"),
            ("impersonate-on:associated-node:get", "", "pods"),
        ];
        for half in halves {
            kubectl(&["apply", "--filename=-"], &role(half));
            for right in halves {
                allowed(right, right == half).await;
            }
            tenant.is_forbidden(&by_node, tenant.volume(&by_node, "csi-1")).await;
        }
        kubectl(&["delete", "clusterrolebinding,clusterrole", "half"], "");
        let apply = |path: &str, namespace: &str| {
            let path = format!("--filename={DEPLOY}/{path}");
            kubectl(&["apply", "--namespace", namespace, &path], "");
        };
        apply("samples/pull-secret-reader.yaml", "team");
        tenant.is_served(&by_pod).await;
        // It names one Secret. Another is noted, and in nobody's way.
        let unused = tenant.volume(&by_pod, "csi-2").attribute("pullSecrets", "unused");
        by_pod.publish(&unused).await.unwrap();
        for driver in &all[1..] {
            tenant.is_forbidden(driver, tenant.volume(driver, "csi-1")).await;
        }

        let component = "kustomize/components/secret-access-impersonate";
        apply(&format!("{component}/clusterrole.yaml"), "skillmount");
        apply(&format!("{component}/clusterrolebinding.yaml"), "skillmount");
        tenant.is_served(&by_node).await;
        // A Secret that no pod refers to is out of the node's reach.
        let api = api("impersonate", "node-1", &first);
        let caller = api.caller("").await.unwrap();
        let [team, login, unused] =
            ["team", "skills-login", "unused"].map(|name| name.parse::<Name>().unwrap());
        let deadline = Instant::now() + CALL_TIMEOUT;
        assert!(api.secret(&caller, &team, &login, deadline).await.is_ok());
        let refused = api.secret(&caller, &team, &unused, deadline).await.unwrap_err();
        assert!(matches!(refused, CallError::Forbidden(_)), "{refused}");
        // As another node than its own, or for a pod of another node, it may not.
        for driver in [&elsewhere, &other_node, &itself] {
            tenant.is_forbidden(driver, tenant.volume(driver, "csi-1")).await;
        }

        apply("kustomize/components/secret-access-driver/clusterrole.yaml", "skillmount");
        tenant.is_served(&itself).await;
        // Another pod of this name is not this one.
        for driver in [&by_pod, &itself] {
            let other = tenant.volume(driver, "csi-3").attribute("csi.storage.k8s.io/pod.uid", "0");
            let (code, message) = super::refused(driver.publish(&other).await);
            assert_eq!(code, Code::FailedPrecondition, "{message}");
        }

        let teller = teller(&root, self::api(&root, "driver", "node-1", &first)).await;
        let told = |id| {
            let volume = tenant.volume(&teller, id).attribute("pullPolicy", "IfNotPresent");
            volume.secret(&registry.host(), "agent", CANARY)
        };
        teller.publish(&told("csi-1")).await.unwrap();
        counted(&teller, "failed", 2).await;
        apply("kustomize/components/events/clusterrole.yaml", "skillmount");
        apply("kustomize/components/events/clusterrolebinding.yaml", "skillmount");
        for right in EVENTS {
            allowed(*right, true).await;
        }
        // The first as a new event, the second as a repeat of it.
        for (id, count) in [("csi-2", 1), ("csi-3", 2)] {
            teller.publish(&told(id)).await.unwrap();
            counted(&teller, "written", count).await;
        }
        let described = kubectl(&["describe", "pod", "agent", "--namespace=team"], "");
        let (_, events) = described.split_once("Events:").expect("events");
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let events: Vec<_> = events.lines().map(words).collect();
        let [_, _, _, event] = &events[..] else { panic!("{described}") };
        let (before, after) = event.split_once(" (x2 over ").expect("a repeat");
        assert!(before.starts_with("Normal Pulled "), "{event}");
        let reference = &tenant.reference;
        let end = format!(") csi.skillmount.dev Skill \"{reference}\" already present on node");
        assert!(after.ends_with(&end), "{event}");
    });
}

/// A driver that reads no Secrets and writes events.
async fn teller(root: &Path, api: Api) -> Driver {
    let root = root.join("teller");
    fs::create_dir(&root).unwrap();
    Driver::start(&root, Setup { events: Some(api), ..Setup::default() }).await
}

/// Waits until so many events have come to this end.
async fn counted(driver: &Driver, outcome: &str, count: u32) {
    let series = format!("skillmount_events_total{{outcome=\"{outcome}\"}} {count}");
    let attempts = async {
        while !driver.series("skillmount_events_total").contains(&series) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), attempts).await.expect("events in time");
}
