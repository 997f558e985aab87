//! Somebody removes the state directory, or puts a driver of another version on it, while pods
//! have volumes.

use serde_json::json;

use super::*;
use crate::gc::skillmount;
use crate::node::{Node, command};

/// A node with a sealed volume and a bound one.
async fn two(root: &Path) -> (Registry, [Volume; 2], Node) {
    let registry = Registry::start(Options::default());
    artifacts::skillimage(&registry, "team/code-review", "v1", &skills::code_review());
    let reference = registry.reference("team/code-review", "v1");
    let sealed = Volume::new(root, "sealed", &reference);
    let bound = Volume::new(root, "bound", &reference).attribute("seal", "bind");
    let node = Node::start(root, &[]).await;
    for volume in [&sealed, &bound] {
        node.client.publish(volume).await.unwrap();
    }
    flushed(root).await;
    (registry, [sealed, bound], node)
}

/// `rm -rf` of what is in the state directory.
fn wipe(root: &Path) {
    for name in names(&root.join("state")) {
        let path = root.join("state").join(name);
        #[expect(clippy::disallowed_methods, reason = "nothing is mounted below it")]
        let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        removed.unwrap();
    }
}

/// Mounts with nothing below them: kubelet's calls for them come as ever.
async fn assert_mended(node: &Node, [sealed, bound]: &[Volume; 2], root: &Path) {
    for volume in [sealed, bound] {
        assert_eq!(tree::listing(&volume.target), [""; 0], "a pod has lost its files");
    }
    assert_eq!(mounts(root).len(), 2);
    // One is published again, the other's pod ends.
    for _ in 0..2 {
        node.client.publish(sealed).await.unwrap();
        assert_eq!(tree::listing(&sealed.target), skills::code_review().listing());
        assert_eq!(mounts(root).len(), 2, "not mounted over the other");
    }
    for volume in [bound, sealed] {
        node.client.unpublish(volume).await.unwrap();
        node.client.unpublish(volume).await.unwrap();
    }
    assert_clean(root);
}

#[test]
fn a_state_directory_wiped_under_a_stopped_driver_costs_files_and_no_more() {
    run("wiped::a_state_directory_wiped_under_a_stopped_driver_costs_files_and_no_more", async {
        let root = namespace::scratch();
        let (_registry, volumes, node) = two(&root).await;
        let open = fs::File::open(volumes[0].target.join("SKILL.md")).unwrap();
        node.terminate().await;
        wipe(&root);
        let node = Node::start(&root, &[]).await;
        assert_mended(&node, &volumes, &root).await;
        // What a container has open it can read to the end.
        let text = std::io::read_to_string(open).unwrap();
        assert_eq!(text.as_bytes(), skills::code_review().files["SKILL.md"].content);
        node.terminate().await;
    });
}

#[test]
fn a_state_directory_wiped_under_the_running_driver_ends_it() {
    run("wiped::a_state_directory_wiped_under_the_running_driver_ends_it", async {
        let root = namespace::scratch();
        let (_registry, volumes, node) = two(&root).await;
        let ended = Volume::new(&root, "ended", &volumes[0].attributes["reference"]);
        node.client.publish(&ended).await.unwrap();
        wipe(&root);
        node.client.unpublish(&ended).await.unwrap();
        let (status, log) = node.exited().await;
        assert_eq!(status.code(), Some(1));
        let told = format!(
            "error: {} was removed or replaced under the running driver; the next start makes the \
             state directory anew, and volumes stay mounted\n",
            root.join("state/lock").display()
        );
        assert!(log.ends_with(&told), "{log}");
        let node = Node::start(&root, &[]).await;
        assert_mended(&node, &volumes, &root).await;
        node.terminate().await;
    });
}

#[test]
fn part_of_a_state_directory_removed_under_the_running_driver_ends_it_too() {
    run("wiped::part_of_a_state_directory_removed_under_the_running_driver_ends_it_too", async {
        for part in ["trees", "staging", "volumes", "grants"] {
            let root = namespace::scratch();
            let (_registry, volumes, node) = two(&root).await;
            #[expect(clippy::disallowed_methods, reason = "nothing is mounted below it")]
            fs::remove_dir_all(root.join("state").join(part)).unwrap();
            let (status, log) = node.exited().await;
            assert_eq!(status.code(), Some(1));
            assert!(log.contains(&format!("/state/{part} was removed or replaced")), "{log}");
            let node = Node::start(&root, &[]).await;
            for volume in &volumes {
                if part == "trees" {
                    let told = "its files were removed from the node; a new pod gets them anew";
                    assert_eq!(node.client.condition(volume).await.message, told);
                }
                for _ in 0..2 {
                    node.client.publish(volume).await.unwrap();
                    assert_eq!(tree::listing(&volume.target), skills::code_review().listing());
                }
                assert!(!node.client.condition(volume).await.abnormal);
                node.client.unpublish(volume).await.unwrap();
            }
            assert_eq!(mounts(&root), [], "{part}");
            node.terminate().await;
        }
    });
}

/// Versions before this one wrote a record in one piece, and no digests of a tree's files.
#[test]
fn an_upgrade_finds_the_volumes_of_the_version_before() {
    run("wiped::an_upgrade_finds_the_volumes_of_the_version_before", async {
        let root = namespace::scratch();
        let (registry, volumes, node) = two(&root).await;
        node.terminate().await;
        for volume in &volumes {
            let path = root.join("state/volumes").join(format!("{}.json", volume.id));
            let text = fs::read_to_string(&path).unwrap();
            let lines: Vec<serde_json::Value> =
                text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            let [mut record, mounted] = <[_; 2]>::try_from(lines).unwrap();
            record["state"] = json!("published");
            record["mount"] = mounted["mount"].clone();
            record["seal"] = mounted["seal"].clone();
            fs::write(&path, record.to_string()).unwrap();
        }
        let trees = root.join("state/trees");
        for key in stored(&root) {
            fs::remove_file(trees.join(format!("{key}.sha256"))).unwrap();
            let path = trees.join(format!("{key}.json"));
            let mut description: serde_json::Value =
                serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            description.as_object_mut().unwrap().remove("sums").unwrap();
            fs::write(&path, description.to_string()).unwrap();
        }
        registry.clear();
        let mounted = mounts(&root);

        let node = Node::start(&root, &[]).await;
        for volume in &volumes {
            node.client.publish(volume).await.unwrap();
            assert!(!node.client.condition(volume).await.abnormal);
            assert_eq!(tree::listing(&volume.target), skills::code_review().listing());
        }
        assert_eq!(mounts(&root), mounted);
        assert_eq!(registry.lines(), [""; 0]);
        let (code, stdout, _) = skillmount(&root, &["verify"]).await;
        assert_eq!(code, Some(0));
        assert!(stdout.ends_with("trees whole: 0, damaged: 0, not known: 1\n"), "{stdout}");
        for volume in &volumes {
            node.client.unpublish(volume).await.unwrap();
        }
        assert_clean(&root);
        let (_, log) = node.terminate().await;
        assert!(log.contains("published=2 unmounted=0"), "{log}");
    });
}

/// Whoever goes back to an older version than that of the layout is told, and nothing is touched.
#[test]
fn a_newer_layout_is_refused_and_its_volumes_stay() {
    run("wiped::a_newer_layout_is_refused_and_its_volumes_stay", async {
        let root = namespace::scratch();
        let (_registry, volumes, node) = two(&root).await;
        node.terminate().await;
        let format = root.join("state/format");
        fs::write(&format, "2\n").unwrap();
        let before = mounts(&root);
        let output = command(&root).arg("--log-level=error").output().await.unwrap();
        let told = format!(
            "error: {} says layout version 2, and this skillmount knows versions up to 1; run the \
             newer version, or drain the node and empty the directory\n",
            format.display()
        );
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(String::from_utf8(output.stderr).unwrap(), told);
        for command in ["volumes", "prune", "verify"] {
            let (code, stdout, stderr) = skillmount(&root, &[command]).await;
            assert_eq!((code, stdout.as_str()), (Some(1), ""), "{command}");
            assert!(stderr.contains("says layout version 2"), "{command}: {stderr}");
        }
        assert_eq!(mounts(&root), before);
        for volume in &volumes {
            assert_eq!(tree::listing(&volume.target), skills::code_review().listing());
        }
        // The newer version, again.
        fs::write(&format, "1\n").unwrap();
        let node = Node::start(&root, &[]).await;
        for volume in &volumes {
            node.client.unpublish(volume).await.unwrap();
        }
        assert_clean(&root);
        node.terminate().await;
    });
}

/// A record of a newer version in a layout that is known: put aside, and its tree stays.
#[test]
fn a_record_that_is_not_understood_costs_a_mount_and_no_files() {
    run("wiped::a_record_that_is_not_understood_costs_a_mount_and_no_files", async {
        let root = namespace::scratch();
        let (registry, volumes, node) = two(&root).await;
        node.terminate().await;
        for volume in &volumes {
            let path = root.join("state/volumes").join(format!("{}.json", volume.id));
            let text = fs::read_to_string(&path).unwrap();
            fs::write(&path, text.replacen(r#""version":1"#, r#""version":2"#, 1)).unwrap();
        }
        registry.clear();
        let collect = ["--gc-max-bytes=1", "--gc-min-age=0"];
        let node = Node::start(&root, &collect).await;
        assert_eq!(names(&root.join("state/quarantine")).len(), 2);
        assert_eq!(names(&root.join("state/volumes")), [""; 0]);
        for volume in &volumes {
            assert_eq!(tree::listing(&volume.target), skills::code_review().listing());
            node.client.publish(volume).await.unwrap();
            assert_eq!(tree::listing(&volume.target), skills::code_review().listing());
        }
        assert_eq!((mounts(&root).len(), registry.lines().len()), (2, 0));
        for volume in &volumes {
            node.client.unpublish(volume).await.unwrap();
        }
        assert_eq!(mounts(&root), []);
        let (_, log) = node.terminate().await;
        assert!(log.contains("a tree is mounted without a record"), "{log}");
    });
}
