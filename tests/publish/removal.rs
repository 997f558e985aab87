//! SIGKILL before every step of a publish that has to remove a tree first, since the disk is full.

use std::collections::BTreeSet;

use nix::mount::MsFlags;

use super::*;
use crate::crash::killed_at;
use crate::node::Node;
use crate::support::Skill;
use crate::support::driver::Client;

/// There is space for one.
fn skill(name: &str) -> Skill {
    Skill::new(name, "Is large.").file("data", name.repeat(100_000), 0o644)
}

/// As kubelet does: until the tree that is to go is on the disk, it is in use.
async fn publish(client: Client, volume: Volume) -> Result<(), Status> {
    loop {
        match client.publish(&volume).await {
            Err(status) if status.code() == Code::ResourceExhausted => {}
            outcome => return outcome,
        }
    }
}

/// Kills the driver before each step of publishing `b` for which `a` has to go, and tells of each
/// whether `a`'s description was left, and its directory.
async fn scan(root: &Path, a: &Volume, b: &Volume, left: &mut BTreeSet<[bool; 2]>) {
    let state = root.join("state");
    let flags = ["--gc-min-age=0", "--gc-high-threshold=100"];
    let mut steps = vec![];
    loop {
        let node = Node::start(root, &flags).await;
        publish(node.client.clone(), a.clone()).await.unwrap();
        assert_eq!(tree::listing(&a.target), skill("a").listing(), "{steps:?}");
        node.client.unpublish(a).await.unwrap();
        flushed(root).await;
        let [key, description, _list] = names(&state.join("trees")).try_into().unwrap();
        let call = publish(node.client.clone(), b.clone());
        let step = killed_at(node, steps.len(), root, call).await;
        let there = [&description, &key].map(|name| state.join("trees").join(name).exists());
        left.insert(there);

        let node = Node::start(root, &flags).await;
        flushed(root).await;
        assert_whole(root);
        publish(node.client.clone(), b.clone()).await.unwrap();
        assert_eq!(tree::listing(&b.target), skill("b").listing(), "{steps:?}");
        node.client.unpublish(b).await.unwrap();
        node.terminate().await;
        assert_whole(root);
        let mounted: Vec<_> = mounts(root).into_iter().map(|m| m.mount_point).collect();
        assert_eq!(mounted, std::slice::from_ref(&state));
        // Once it has gone, and the pull begins again, this is a publish like any other.
        let step = step.expect("it has something to remove");
        if there == [false, false] && step == "open" {
            break;
        }
        steps.push(step);
    }
    println!("{} steps: {}", steps.len(), steps.join(" "));
}

/// How often all steps are gone through, until each state has been left by one.
const SCANS: usize = 5;

#[test]
fn kill_before_every_step_of_a_removal_leaves_whole_trees_or_none() {
    run("removal::kill_before_every_step_of_a_removal_leaves_whole_trees_or_none", async {
        let root = namespace::scratch();
        let state = root.join("state");
        fs::create_dir(&state).unwrap();
        let (tmpfs, size) = (Some("tmpfs"), Some("size=220k"));
        nix::mount::mount(tmpfs, &state, tmpfs, MsFlags::empty(), size).unwrap();
        let registry = Registry::start(Options::default());
        let [a, b] = ["a", "b"].map(|name| {
            artifacts::skillimage(&registry, &format!("team/{name}"), "v1", &skill(name));
            Volume::new(&root, name, &registry.reference(&format!("team/{name}"), "v1"))
        });
        // Whether the old tree's description was left, and its directory.
        let all = BTreeSet::from([[true, true], [false, true], [false, false]]);
        let mut left = BTreeSet::new();
        // What else the driver does at the time comes between the steps as it likes, and one may be
        // passed over.
        for _ in 0..SCANS {
            scan(&root, &a, &b, &mut left).await;
            if left == all {
                break;
            }
        }
        assert_eq!(left, all);
    });
}
