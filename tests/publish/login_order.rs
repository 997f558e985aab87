//! The sources of logins and their order, as the registry sees it; and what a Secret that is known
//! by its coordinates is good for.

use super::*;
use crate::pod_secrets::Shelf;
use crate::support::auth::User;
use crate::support::driver::POD_UID;
use crate::support::kube_api::{KubeApi, docker_config};

/// Every combination of sources, all of whose logins are wrong: all are tried, in one order.
#[test]
fn sources_are_tried_in_their_order() {
    run("login_order::sources_are_tried_in_their_order", async {
        let registry = Registry::start(Options::basic([User::new("nobody", CANARY)]));
        artifacts::skillimage(&registry, "team/code-review", "v1", &skills::code_review());
        let (host, root, api) = (registry.host(), namespace::scratch(), KubeApi::start().await);
        let wrong = |user: &str| docker_config(&host, user, "CANARY-wrong");
        for name in ["named-1", "named-2", "image-1", "image-2"] {
            api.secret("team", name, name, &wrong(name));
        }
        let file = root.join("config.json");
        let driver = Driver::start(
            &root,
            Setup {
                pod_secrets: Some(api.pod_secrets(&root, "driver", true)),
                node_credentials: vec![file.clone()],
                ..Setup::default()
            },
        )
        .await;
        for combination in 0..16 {
            let has = |bit: u32| combination & (1 << bit) != 0;
            let mut volume = driver.volume("csi-1", &registry.reference("team/code-review", "v1"));
            let mut expected = vec![];
            if has(0) {
                volume = volume.secret(&host, "referenced", "CANARY-wrong");
                expected.push("referenced");
            }
            if has(1) {
                // In the order in which they are named, not that of their names.
                volume = volume.attribute("pullSecrets", "named-2,named-1");
                expected.extend(["named-2", "named-1"]);
            }
            let images: &[&str] = if has(2) { &["image-2", "image-1"] } else { &[] };
            api.pod("team", "agent", POD_UID, images);
            expected.extend(images);
            fs::write(&file, if has(3) { wrong("node") } else { r#"{"auths":{}}"#.into() })
                .unwrap();
            expected.extend(has(3).then_some("node"));
            let (code, message) = refused(driver.publish(&volume).await);
            assert_eq!(code, Code::Unauthenticated, "{message}");
            assert_eq!(shown(&registry), expected, "{combination:04b}");
            let places: Vec<_> = [
                (0, "nodePublishSecretRef"),
                (1, "pullSecrets \"named-2\""),
                (1, "pullSecrets \"named-1\""),
                (2, "imagePullSecrets \"image-2\""),
                (2, "imagePullSecrets \"image-1\""),
            ]
            .into_iter()
            .filter(|(bit, _)| has(*bit))
            .map(|(_, place)| format!("{place}: {host}"))
            .collect();
            let noted = format!("(logins: {}", places.join("; "));
            assert!(message.contains(&noted), "{combination:04b}: {message}");
            assert!(!message.contains("CANARY"), "{message}");
        }
    });
}

/// As kubelet sorts the keys of all of a pod's Secrets together.
#[test]
fn the_keys_of_one_list_are_sorted_together() {
    run("login_order::the_keys_of_one_list_are_sorted_together", async {
        let shelf = Shelf::new(Some("driver"), true).await;
        let host = shelf.registry.host();
        let put = |name: &str, key: &str| {
            let config = docker_config(&format!("{host}{key}"), name, "CANARY-wrong");
            shelf.api.secret("team", name, name, &config);
        };
        put("host", "");
        put("path", "/team/");
        put("whole", "/team/code-review");
        put("other", "/other/");
        shelf.pod(&["host", "other", "path"]);
        let volume = shelf.volume("csi-1").attribute("pullSecrets", "host,whole");
        shelf.refused(&volume).await;
        // The lists stay apart: what the volume names comes first, however unspecific.
        assert_eq!(shown(&shelf.registry), ["whole", "host", "path"]);
    });
}

/// KEP-2535's coordinates: what a Secret was granted, it keeps when its password changes.
#[test]
fn a_secret_keeps_its_grant_when_it_is_rotated() {
    run("login_order::a_secret_keeps_its_grant_when_it_is_rotated", async {
        let shelf = Shelf::new(Some("driver"), true).await;
        let volume = |id: &str| shelf.volume(id).attribute("pullPolicy", "IfNotPresent");
        shelf.pod(&["image"]);
        shelf.login("image", "uid-1", "agent", CANARY);
        shelf.driver.publish(&volume("csi-1")).await.unwrap();
        assert_eq!(shown(&shelf.registry), ["agent"]);
        // Another login in the same Secret, which the registry would even refuse: it is not asked.
        shelf.login("image", "uid-1", "agent", "CANARY-rotated");
        shelf.driver.publish(&volume("csi-2")).await.unwrap();
        assert_eq!(shelf.registry.lines(), [""; 0]);
        // By the same name, but another Secret: it has to show its login.
        shelf.login("image", "uid-2", "agent", "CANARY-rotated");
        let (code, _) = shelf.refused(&volume("csi-3")).await;
        assert_eq!((code, shown(&shelf.registry)), (Code::Unauthenticated, vec!["agent".into()]));
        shelf.login("image", "uid-2", "agent2", CANARY);
        let (code, _) = shelf.refused(&volume("csi-3")).await;
        assert_eq!((code, shown(&shelf.registry)), (Code::Unauthenticated, vec!["agent2".into()]));
        // A Secret of the other list is the same Secret.
        shelf.pod(&[]);
        shelf.login("image", "uid-1", "agent", "CANARY-rotated");
        let named = volume("csi-4").attribute("pullSecrets", "image");
        shelf.driver.publish(&named).await.unwrap();
        // The same login in another Secret needs no coordinates.
        shelf.login("other", "uid-3", "agent", CANARY);
        shelf.driver.publish(&volume("csi-5").attribute("pullSecrets", "other")).await.unwrap();
        assert_eq!(shelf.registry.lines(), [""; 0]);
    });
}
