//! The real binary ends and starts again: what is published stays.

use super::*;
use crate::node::{Node, command};

#[test]
fn published_volumes_outlive_the_driver() {
    run("restart::published_volumes_outlive_the_driver", async {
        let root = namespace::scratch();
        let registry = Registry::start(Options::default());
        let skill = skills::code_review();
        artifacts::skillimage(&registry, "team/code-review", "v1", &skill);
        let volume = Volume::new(&root, "csi-1", &registry.reference("team/code-review", "v1"));
        let node = Node::start(&root, &[]).await;
        node.client.publish(&volume).await.unwrap();
        let mounted = mounts(&root);
        registry.stop().await;
        registry.clear();

        node.kill().await;
        assert_eq!(tree::listing(&volume.target), skill.listing());
        let node = Node::start(&root, &[]).await;
        node.client.publish(&volume).await.unwrap();
        let (status, log) = node.terminate().await;
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(log.contains("published=1 unmounted=0 unclear=0 half_made=0"), "{log}");
        assert!(log.contains("stopped; published volumes stay mounted"), "{log}");
        assert_eq!(tree::listing(&volume.target), skill.listing());
        let node = Node::start(&root, &[]).await;
        node.client.publish(&volume).await.unwrap();
        assert_eq!(mounts(&root), mounted);
        assert_eq!(registry.lines(), [""; 0]);
        node.client.unpublish(&volume).await.unwrap();
        assert_clean(&root);

        // A reboot takes the mounts and leaves the directories.
        registry.restart().await;
        node.client.publish(&volume).await.unwrap();
        node.kill().await;
        nix::mount::umount(&volume.target).unwrap();
        let node = Node::start(&root, &[]).await;
        node.client.publish(&volume).await.unwrap();
        assert_eq!(tree::listing(&volume.target), skill.listing());
        node.client.unpublish(&volume).await.unwrap();
        let (_, log) = node.terminate().await;
        assert!(log.contains("published=0 unmounted=1 unclear=0 half_made=0"), "{log}");
        assert_clean(&root);
    });
}

#[test]
fn two_instances_do_not_share_a_state_directory() {
    run("restart::two_instances_do_not_share_a_state_directory", async {
        let root = namespace::scratch();
        let node = Node::start(&root, &[]).await;
        let lock = root.join("state/lock");
        let message = format!(
            "error: {} is locked: another skillmount uses this state directory; stop it, or give \
             this one another directory\n",
            lock.display()
        );
        let output = command(&root).arg("--log-level=error").output().await.unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(String::from_utf8(output.stderr).unwrap(), message);
        // With another state directory, the socket is what they must not share.
        let mut third = tokio::process::Command::new(env!("CARGO_BIN_EXE_skillmount"));
        let socket = root.join("csi.sock");
        third.env_clear().args(["node", "--node-id=node-1", "--log-level=error", "--endpoint"]);
        third.arg(&socket).arg("--state-dir").arg(root.join("other"));
        let output = third.output().await.unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(
            String::from_utf8(output.stderr).unwrap(),
            format!("error: another process serves on {}\n", socket.display())
        );
        // The first one is none the worse for it.
        let volume = Volume::new(&root, "csi-1", "registry.invalid/team/skill:v1");
        node.client.unpublish(&volume).await.unwrap();
        node.terminate().await;
    });
}
