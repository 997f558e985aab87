//! The real binary is told to stop while it is at work.

use nix::sys::signal::Signal;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use super::*;
use crate::node::Node;
use crate::support::{Fault, Gate, On};

/// A registry that has sent nothing of the skill's layer yet, when the call is at that.
async fn held(
    node: &Node,
    root: &Path,
) -> (Registry, Gate, Volume, JoinHandle<Result<(), Status>>) {
    let registry = Registry::start(Options::default());
    artifacts::skillimage(&registry, "team/code-review", "v1", &skills::code_review());
    let layer = &registry.layers("team/code-review", "v1")[0];
    let gate = Gate::held();
    registry.fault(On::blob(layer), Fault::Hold { after: 0, gate: gate.clone() });
    let volume = Volume::new(root, "csi-1", &registry.reference("team/code-review", "v1"));
    let call = tokio::spawn({
        let (client, volume) = (node.client.clone(), volume.clone());
        async move { client.publish(&volume).await }
    });
    gate.wait_for_waiting(1).await;
    while names(&root.join("state/staging")).is_empty() {
        tokio::task::yield_now().await;
    }
    (registry, gate, volume, call)
}

/// Waits until nobody can connect any more.
async fn refuses(root: &Path) {
    while UnixStream::connect(root.join("csi.sock")).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_call_that_waits_is_told_to_come_again() {
    run("stopping::a_call_that_waits_is_told_to_come_again", async {
        let root = namespace::scratch();
        let node = Node::start(&root, &["--stop-grace=0"]).await;
        let (registry, gate, volume, call) = held(&node, &root).await;
        let (status, log) = node.terminate().await;
        let size = skills::code_review().tar().gzip().len();
        let expected = format!(
            "the driver is stopping while it pulls {}: downloading and unpacking, 0 B of {size} B; \
             kubelet tries again",
            volume.attributes["reference"]
        );
        assert_eq!(refused(call.await.unwrap()), (Code::Unavailable, expected));
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(log.contains("stopping: calls in flight are finished signal=\"SIGTERM\""), "{log}");
        assert!(log.contains("stopped; published volumes stay mounted"), "{log}");
        assert!(!volume.target.exists());

        registry.clear_faults();
        gate.release();
        let node = Node::start(&root, &[]).await;
        assert_clean(&root);
        node.client.publish(&volume).await.unwrap();
        assert_eq!(tree::listing(&volume.target), skills::code_review().listing());
        node.client.unpublish(&volume).await.unwrap();
        node.terminate().await;
        assert_clean(&root);
    });
}

#[test]
fn a_call_that_ends_in_time_is_finished() {
    run("stopping::a_call_that_ends_in_time_is_finished", async {
        let root = namespace::scratch();
        let node = Node::start(&root, &["--stop-grace=600"]).await;
        let (_registry, gate, volume, call) = held(&node, &root).await;
        node.signal(Signal::SIGTERM);
        refuses(&root).await;
        gate.release();
        call.await.unwrap().unwrap();
        let (status, log) = node.wait().await;
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(!log.contains("told to come again"), "{log}");
        assert_eq!(tree::listing(&volume.target), skills::code_review().listing());

        let node = Node::start(&root, &[]).await;
        node.client.unpublish(&volume).await.unwrap();
        let (_, log) = node.terminate().await;
        assert!(log.contains("published=1 unmounted=0 unclear=0 half_made=0"), "{log}");
        assert_clean(&root);
    });
}

#[test]
fn a_second_signal_is_not_kept_waiting() {
    run("stopping::a_second_signal_is_not_kept_waiting", async {
        let root = namespace::scratch();
        let node = Node::start(&root, &["--stop-grace=600"]).await;
        let (_registry, _gate, volume, call) = held(&node, &root).await;
        node.signal(Signal::SIGTERM);
        refuses(&root).await;
        node.signal(Signal::SIGINT);
        let (status, log) = node.wait().await;
        assert_eq!(status.code(), Some(1), "{log}");
        assert!(log.ends_with("error: stopped at once by a second signal, SIGINT\n"), "{log}");
        refused(call.await.unwrap());
        assert!(!volume.target.exists());
        let node = Node::start(&root, &[]).await;
        assert_clean(&root);
        node.terminate().await;
    });
}
