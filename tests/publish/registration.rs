//! The real binary and a kubelet that registers it. src/registration/tests.rs has the socket's own
//! ways; here is what kubelet makes of it, and what the driver tells of that.

use skillmount::registration::v1::PluginInfo;

use super::*;
use crate::metrics::HTTP;
use crate::node::Node;
use crate::support::Kubelet;
use crate::support::http::get;
use crate::support::kubelet::Registered;

const REASON: &str = "Another driver with the same name is already registered";

/// A driver that is to be registered, and its kubelet.
struct Cluster {
    root: PathBuf,
    flags: Vec<String>,
    kubelet: Kubelet,
}

impl Cluster {
    fn new() -> Self {
        let root = namespace::scratch();
        let directory = root.join("plugins_registry");
        fs::create_dir(&directory).unwrap();
        let kubelet = Kubelet::watch(&directory);
        let flags = vec![
            HTTP.to_owned(),
            format!("--registration-dir={}", directory.display()),
            format!("--kubelet-endpoint={}", root.join("csi.sock").display()),
        ];
        Self { root, flags, kubelet }
    }

    fn directory(&self) -> PathBuf {
        self.root.join("plugins_registry")
    }

    fn wipe(&self) {
        for name in names(&self.directory()) {
            fs::remove_file(self.directory().join(name)).unwrap();
        }
    }

    /// What kubelet has to learn.
    fn expected(&self) -> Registered {
        let info = PluginInfo {
            r#type: "CSIPlugin".into(),
            name: "csi.skillmount.dev".into(),
            endpoint: self.root.join("csi.sock").display().to_string(),
            supported_versions: vec!["1.0.0".into()],
        };
        Registered { info, node_id: "node-1".into() }
    }
}

/// The state of the registration that the metrics tell, and whether the driver is ready.
async fn state(node: &Node) -> (String, u16) {
    let (_, text) = get(node.http(), "/metrics").await;
    let states = text.lines().filter_map(|line| {
        line.strip_prefix("skillmount_registration{state=\"")?.strip_suffix("\"} 1")
    });
    (states.collect::<Vec<_>>().join(" "), get(node.http(), "/readyz").await.0)
}

#[test]
fn kubelet_registers_it_again_after_its_directory_was_wiped() {
    run("registration::kubelet_registers_it_again_after_its_directory_was_wiped", async {
        let mut cluster = Cluster::new();
        let expected = cluster.expected();
        let flags: Vec<&str> = cluster.flags.iter().map(String::as_str).collect();
        // Kubelet acts on the name's appearance, however far the driver says it is.
        let (node, registered) =
            tokio::join!(Node::start(&cluster.root, &flags), cluster.kubelet.registers());
        assert_eq!(registered, expected);
        assert_eq!(state(&node).await, ("registered".into(), 200));

        cluster.wipe();
        assert_eq!(cluster.kubelet.registers().await, expected);

        cluster.wipe();
        fs::remove_dir(cluster.directory()).unwrap();
        fs::create_dir(cluster.directory()).unwrap();
        let mut kubelet = Kubelet::watch(&cluster.directory());
        assert_eq!(kubelet.registers().await, expected);
        assert_eq!(state(&node).await, ("registered".into(), 200));

        let (status, log) = node.terminate().await;
        assert_eq!(status.code(), Some(0), "{log}");
        assert_eq!(log.matches("kubelet registered the driver").count(), 3, "{log}");
        assert_eq!(names(&cluster.directory()), [""; 0], "kubelet would believe it is there");
    });
}

#[test]
fn a_refusal_is_told_and_followed_by_another_attempt() {
    run("registration::a_refusal_is_told_and_followed_by_another_attempt", async {
        let mut cluster = Cluster::new();
        let expected = cluster.expected();
        let flags: Vec<&str> = cluster.flags.iter().map(String::as_str).collect();
        let (node, ()) =
            tokio::join!(Node::start(&cluster.root, &flags), cluster.kubelet.refuses(REASON));
        // Ready: what is mounted does not depend on it, and a restart would not help.
        assert_eq!(state(&node).await, ("refused".into(), 200));
        assert_eq!(cluster.kubelet.registers().await, expected);
        assert_eq!(state(&node).await, ("registered".into(), 200));
        let (status, log) = node.terminate().await;
        assert_eq!(status.code(), Some(0), "{log}");
        assert_eq!(log.matches(REASON).count(), 1, "{log}");
    });
}
