//! Logins of the node: for every pod, after its own, and never in the way of its own.

use std::time::Duration;

use super::*;
use crate::support::auth::User;

const NODE: &str = "CANARY-node";

/// A registry that knows `agent`, a pod's user, and `node`; and a driver with a file.
struct Shelf {
    registry: Registry,
    driver: Driver,
    file: PathBuf,
}

impl Shelf {
    async fn new() -> Self {
        let users = [User::new("agent", CANARY), User::new("node", NODE)];
        let registry = Registry::start(Options::basic(users));
        artifacts::skillimage(&registry, "team/code-review", "v1", &skills::code_review());
        let root = namespace::scratch();
        let file = root.join("config.json");
        let setup = Setup {
            node_credentials: vec![file.clone()],
            backoff: Duration::from_secs(300),
            ..Setup::default()
        };
        let driver = Driver::start(&root, setup).await;
        Self { registry, driver, file }
    }

    fn write(&self, registry: &str, password: &str) {
        let text = format!(
            r#"{{"auths":{{"{registry}":{{"username":"node","password":"{password}"}}}}}}"#
        );
        fs::write(&self.file, text).unwrap();
    }

    fn volume(&self, id: &str) -> Volume {
        self.driver.volume(id, &self.registry.reference("team/code-review", "v1"))
    }

    /// Who showed a login since the last call: the users' names, each once.
    fn shown(&self) -> Vec<String> {
        shown(&self.registry)
    }
}

#[test]
fn every_pod_may_use_the_nodes_login() {
    run("node_credentials::every_pod_may_use_the_nodes_login", async {
        let shelf = Shelf::new().await;
        shelf.write(&shelf.registry.host(), NODE);
        shelf.driver.publish(&shelf.volume("csi-1")).await.unwrap();
        assert_eq!(shelf.shown(), ["node"]);
        // The login was verified for the first pod, and any other has it as well.
        let second = shelf.volume("csi-2").attribute("pullPolicy", "Never");
        shelf.driver.publish(&second).await.unwrap();
        assert_eq!(shelf.registry.lines(), [""; 0]);
        // Without the file the right is gone.
        fs::remove_file(&shelf.file).unwrap();
        let third = shelf.volume("csi-3");
        let (code, _) = refused(shelf.driver.publish(&third).await);
        assert_eq!(code, Code::Unauthenticated);
        assert_eq!(shelf.shown(), [""; 0]);
    });
}

#[test]
fn the_pods_own_login_comes_first() {
    run("node_credentials::the_pods_own_login_comes_first", async {
        let shelf = Shelf::new().await;
        let host = shelf.registry.host();
        shelf.write(&host, NODE);
        let volume = shelf.volume("csi-1").attribute("pullPolicy", "Always");
        shelf.driver.publish(&volume.secret(&host, "agent", CANARY)).await.unwrap();
        assert_eq!(shelf.shown(), ["agent"]);
        let volume = shelf.volume("csi-2").attribute("pullPolicy", "Always");
        shelf.driver.publish(&volume.secret(&host, "agent", "CANARY-not-it")).await.unwrap();
        assert_eq!(shelf.shown(), ["agent", "node"]);
        // A login for another registry is not shown to this one.
        shelf.write("other.example", NODE);
        let other = shelf.volume("csi-3").secret("another.example", "agent", CANARY);
        let (code, message) = refused(shelf.driver.publish(&other).await);
        assert_eq!(code, Code::Unauthenticated);
        assert_eq!(shelf.shown(), [""; 0]);
        let file = shelf.file.display();
        let looked = format!(
            "(logins: nodePublishSecretRef: another.example; node file \"{file}\": other.example)"
        );
        assert!(message.contains(&looked), "{message}");
    });
}

#[test]
fn a_changed_file_counts_at_once() {
    run("node_credentials::a_changed_file_counts_at_once", async {
        let shelf = Shelf::new().await;
        let host = shelf.registry.host();
        let volume = shelf.volume("csi-1");
        shelf.write(&host, "CANARY-nope");
        let (code, message) = refused(shelf.driver.publish(&volume).await);
        assert_eq!(code, Code::Unauthenticated);
        let tried = format!("node file {:?}, entry {host:?}: 401", shelf.file);
        assert!(message.contains(&tried), "{message}");
        assert!(!message.contains("CANARY"), "{message}");
        let (_, message) = refused(shelf.driver.publish(&volume).await);
        assert!(message.starts_with("Back-off pulling "), "{message}");
        // Of the same length, and another fingerprint: there is nothing to wait for.
        shelf.write(&host, NODE);
        shelf.driver.publish(&volume).await.unwrap();
    });
}

#[test]
fn a_broken_file_is_in_nobodys_way() {
    run("node_credentials::a_broken_file_is_in_nobodys_way", async {
        let shelf = Shelf::new().await;
        let host = shelf.registry.host();
        for (number, content) in [None, Some(""), Some("{\"auths\": CANARY")].iter().enumerate() {
            if let Some(content) = content {
                fs::write(&shelf.file, content).unwrap();
            }
            let volume = shelf.volume(&format!("own-{number}")).secret(&host, "agent", CANARY);
            shelf.driver.publish(&volume).await.unwrap();
            let (code, _) = refused(shelf.driver.publish(&shelf.volume("none")).await);
            assert_eq!(code, Code::Unauthenticated);
        }
    });
}
