//! Secrets through the Kubernetes API: who is asked for what, as whom, and nothing more.

use serde_json::json;

use super::*;
use crate::support::auth::User;
use crate::support::driver::POD_UID;
use crate::support::kube_api::{DRIVER_TOKEN, KubeApi, docker_config, path, rights};
use crate::support::rights::{self as table, RIGHTS};

/// The token of the pod's service account.
const POD_TOKEN: &str = "CANARY-pod-token";

/// A registry that wants the login of `agent`, an API server with the pod, and a driver.
pub(super) struct Shelf {
    pub(super) registry: Registry,
    pub(super) api: KubeApi,
    pub(super) driver: Driver,
}

impl Shelf {
    /// With access of this kind; none for a driver without.
    pub(super) async fn new(access: Option<&str>, image_pull_secrets: bool) -> Self {
        let users = [User::new("agent", CANARY)];
        let registry = Registry::start(Options::basic(users));
        artifacts::skillimage(&registry, "team/code-review", "v1", &skills::code_review());
        let (root, api) = (namespace::scratch(), KubeApi::start().await);
        let secrets = access.map(|access| api.pod_secrets(&root, access, image_pull_secrets));
        let setup = Setup { pod_secrets: secrets, ..Setup::default() };
        let driver = Driver::start(&root, setup).await;
        Self { registry, api, driver }
    }

    pub(super) fn volume(&self, id: &str) -> Volume {
        let reference = self.registry.reference("team/code-review", "v1");
        self.driver.volume(id, &reference).attribute("pullPolicy", "Always")
    }

    /// A Secret in the pod's namespace with the right login.
    pub(super) fn secret(&self, name: &str) {
        self.login(name, "uid-1", "agent", CANARY);
    }

    pub(super) fn login(&self, name: &str, uid: &str, user: &str, password: &str) {
        let config = docker_config(&self.registry.host(), user, password);
        self.api.secret("team", name, uid, &config);
    }

    pub(super) fn pod(&self, secrets: &[&str]) {
        self.api.pod("team", "agent", POD_UID, secrets);
    }

    pub(super) async fn refused(&self, volume: &Volume) -> (Code, String) {
        let (code, message) = refused(self.driver.publish(volume).await);
        assert!(!message.contains("CANARY"), "{message}");
        assert!(!volume.target.exists(), "{message}");
        (code, message)
    }
}

#[test]
fn each_kind_of_access_asks_as_it_says() {
    run("pod_secrets::each_kind_of_access_asks_as_it_says", async {
        let node = format!("{DRIVER_TOKEN} impersonate-user=system:node:node-1");
        for (access, caller) in
            [("pod-token", POD_TOKEN), ("impersonate", &node), ("driver", DRIVER_TOKEN)]
        {
            let shelf = Shelf::new(Some(access), true).await;
            shelf.pod(&["image"]);
            shelf.secret("image");
            shelf.login("named", "uid-2", "agent", "CANARY-wrong");
            let volume = shelf.volume("csi-1").attribute("pullSecrets", "named");
            // Where kubelet passes the token among the secrets, the attribute is somebody else's.
            let tokens = format!(r#"{{"":{{"token":"{POD_TOKEN}"}}}}"#);
            let volume = match access {
                "pod-token" => volume
                    .api_token("CANARY-forged")
                    .raw_secret("csi.storage.k8s.io/serviceAccount.tokens", &tokens),
                _ => volume.api_token(POD_TOKEN),
            };
            shelf.driver.publish(&volume).await.unwrap();
            let asked = shelf.api.asked();
            let mut lines: Vec<_> = asked.iter().map(|asked| asked.line()).collect();
            lines.sort();
            let line =
                |resource, name| format!("GET {} as {caller} 200", path("team", resource, name));
            let expected = [("pods", "agent"), ("secrets", "image"), ("secrets", "named")];
            assert_eq!(lines, expected.map(|(resource, name)| line(resource, name)), "{access}");
            assert_eq!(rights(&asked), table::of(access), "{access}");
            // What is published needs nobody.
            shelf.driver.publish(&volume).await.unwrap();
            assert_eq!(shelf.api.lines(), [""; 0]);
            shelf.driver.unpublish(&volume).await.unwrap();
            assert_eq!(shelf.api.lines(), [""; 0]);
            shelf.driver.stop().await;
        }
        assert_eq!(RIGHTS.len(), 3, "each is here");
    });
}

#[test]
fn nothing_is_read_that_is_not_needed() {
    run("pod_secrets::nothing_is_read_that_is_not_needed", async {
        for (access, image_pull_secrets, named, expected) in [
            (None, true, "", vec![]),
            (Some("driver"), false, "", vec![]),
            (Some("pod-token"), false, "", vec![]),
            (Some("driver"), false, "named", vec![("secrets", "named", 200)]),
            (Some("driver"), true, "", vec![("pods", "agent", 200), ("secrets", "image", 200)]),
            // Empty names are passed over, and of duplicates one is read.
            (
                Some("driver"),
                true,
                "gone, ,named,gone",
                vec![
                    ("pods", "agent", 200),
                    ("secrets", "gone", 404),
                    ("secrets", "image", 200),
                    ("secrets", "named", 200),
                ],
            ),
        ] {
            let shelf = Shelf::new(access, image_pull_secrets).await;
            shelf.pod(&["image", "", "image"]);
            shelf.secret("image");
            shelf.secret("named");
            let host = shelf.registry.host();
            let volume = shelf.volume("csi-1").attribute("pullSecrets", named);
            // Without a token, which nothing here needs.
            shelf.driver.publish(&volume.secret(&host, "agent", CANARY)).await.unwrap();
            let line = |(resource, name, status)| {
                format!("GET {} as {DRIVER_TOKEN} {status}", path("team", resource, name))
            };
            let expected: Vec<_> = expected.into_iter().map(line).collect();
            assert_eq!(shelf.api.lines(), expected, "{access:?} {image_pull_secrets} {named}");
            shelf.driver.stop().await;
        }
    });
}

#[test]
fn without_what_it_needs_nothing_is_asked() {
    run("pod_secrets::without_what_it_needs_nothing_is_asked", async {
        let none = Shelf::new(None, true).await;
        let volume = none.volume("csi-1").attribute("pullSecrets", "named");
        let (code, message) = none.refused(&volume).await;
        assert_eq!(code, Code::FailedPrecondition);
        assert_eq!(
            message,
            "the volume names Secrets in \"pullSecrets\", and this driver reads none: have \
             --secret-access set, or name one Secret in nodePublishSecretRef"
        );
        let pod = Shelf::new(Some("pod-token"), true).await;
        for volume in [
            pod.volume("csi-1"),
            pod.volume("csi-1").attribute(
                "csi.storage.k8s.io/serviceAccount.tokens",
                r#"{"registry.example":{"token":"CANARY-other"}}"#,
            ),
        ] {
            let (code, message) = pod.refused(&volume).await;
            assert_eq!(code, Code::FailedPrecondition);
            assert!(message.ends_with("needs tokenRequests with audience \"\""), "{message}");
        }
        assert_eq!(pod.registry.lines(), [""; 0], "the registry is not asked either");
        // Who the pod is only kubelet says.
        let driver = Shelf::new(Some("driver"), true).await;
        for key in ["pod.name", "pod.namespace", "pod.uid"] {
            for value in ["", "../kube-system"] {
                if key == "pod.uid" && !value.is_empty() {
                    continue;
                }
                let mut request = driver.volume("csi-1").publish();
                request.volume_context.insert(format!("csi.storage.k8s.io/{key}"), value.into());
                let outcome = driver.driver.client().node().node_publish_volume(request).await;
                let (code, message) = refused(outcome.map(drop));
                assert_eq!(code, Code::FailedPrecondition);
                assert!(message.ends_with("needs podInfoOnMount: true"), "{message}");
            }
        }
        for shelf in [&none, &pod, &driver] {
            assert_eq!(shelf.api.lines(), [""; 0]);
        }
    });
}

#[test]
fn the_pod_has_to_be_the_one_that_kubelet_means() {
    run("pod_secrets::the_pod_has_to_be_the_one_that_kubelet_means", async {
        let shelf = Shelf::new(Some("driver"), true).await;
        shelf.secret("image");
        shelf.api.pod("team", "agent", "uid-of-another", &["image"]);
        let (code, message) = shelf.refused(&shelf.volume("csi-1")).await;
        assert_eq!(code, Code::FailedPrecondition);
        assert_eq!(
            message,
            format!(
                "pod team/agent has uid uid-of-another in the API server, and kubelet says \
                 {POD_UID}: another pod has taken its name, whose Secrets are not used"
            )
        );
        let pod = format!("GET {} as {DRIVER_TOKEN} 200", path("team", "pods", "agent"));
        assert_eq!(shelf.api.lines(), [pod.as_str()], "no Secret was read");
        assert_eq!(shelf.registry.lines(), [""; 0]);
        // The API server knows a static pod by a mirror, which has a uid of its own.
        let mirror = json!({"kubernetes.io/config.mirror": POD_UID});
        shelf.api.pod_with("team", "agent", "uid-of-mirror", &["image"], mirror);
        let host = shelf.registry.host();
        let volume = shelf.volume("csi-1").secret(&host, "agent", CANARY);
        shelf.driver.publish(&volume).await.unwrap();
        assert_eq!(shelf.api.lines(), [pod], "nothing of it is used");
        let other = json!({"kubernetes.io/config.mirror": "another"});
        shelf.api.pod_with("team", "agent", "uid-of-mirror", &["image"], other);
        let (code, _) = shelf.refused(&shelf.volume("csi-2")).await;
        assert_eq!(code, Code::FailedPrecondition);
    });
}

#[test]
fn a_pod_may_have_more_secrets_than_are_read() {
    run("pod_secrets::a_pod_may_have_more_secrets_than_are_read", async {
        let shelf = Shelf::new(Some("driver"), true).await;
        let names: Vec<_> = (0..60).map(|number| format!("s-{number:02}")).collect();
        let mut listed: Vec<_> = names.iter().map(String::as_str).collect();
        listed.insert(0, "../../kube-system/secrets/admin");
        shelf.pod(&listed);
        names.iter().for_each(|name| shelf.login(name, name, name, "CANARY-wrong"));
        let (code, message) = shelf.refused(&shelf.volume("csi-1")).await;
        assert_eq!(code, Code::Unauthenticated);
        let noted = "imagePullSecrets: a name that no Secret can have; imagePullSecrets: there are \
                     more than 50; the rest is not read; imagePullSecrets \"s-00\": ";
        assert!(message.contains(noted), "{message}");
        let mut expected =
            vec![format!("GET {} as {DRIVER_TOKEN} 200", path("team", "pods", "agent"))];
        expected.extend(
            names[..50]
                .iter()
                .map(|name| format!("GET {} as {DRIVER_TOKEN} 200", path("team", "secrets", name))),
        );
        assert_eq!(shelf.api.lines(), expected);
    });
}
