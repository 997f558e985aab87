//! Files of the store that are not what they were.

use serde_json::json;

use super::*;
use crate::gc::skillmount;
use crate::node::Node;
use crate::support::driver::Client;

/// A registry with two skills, and volumes for them.
fn two(root: &Path) -> (Registry, [Volume; 2]) {
    let registry = Registry::start(Options::default());
    let volumes = [("code-review", skills::code_review()), ("docs-writer", skills::docs_writer())];
    let volumes = volumes.map(|(name, skill)| {
        artifacts::skillimage(&registry, &format!("team/{name}"), "v1", &skill);
        Volume::new(root, name, &registry.reference(&format!("team/{name}"), "v1"))
    });
    (registry, volumes)
}

/// The stored SKILL.md of a volume's skill, with one byte changed; and the key of its tree.
fn damage(root: &Path, name: &str) -> String {
    let file = |key: &String| root.join("state/trees").join(key).join("0").join(name);
    let key = stored(root).into_iter().find(|key| file(key).exists()).unwrap();
    let file = file(&key).join("SKILL.md");
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    key
}

#[test]
fn the_command_tells_what_has_changed() {
    run("verify::the_command_tells_what_has_changed", async {
        let root = namespace::scratch();
        let (_registry, volumes) = two(&root);
        let node = Node::start(&root, &[]).await;
        for volume in &volumes {
            node.client.publish(volume).await.unwrap();
        }
        flushed(&root).await;
        let (code, stdout, stderr) = skillmount(&root, &["verify"]).await;
        assert_eq!((code, stderr.as_str()), (Some(0), ""));
        assert_eq!(stdout, "trees whole: 2, damaged: 0, not known: 0\n");
        let key = damage(&root, "code-review");
        let (code, stdout, stderr) = skillmount(&root, &["verify"]).await;
        assert_eq!((code, stderr.as_str()), (Some(1), ""));
        let damage = r#""0/code-review/SKILL.md" has other bytes"#;
        assert_eq!(
            stdout,
            format!("tree {key}: {damage}\ntrees whole: 1, damaged: 1, not known: 0\n")
        );
        let (code, stdout, _) = skillmount(&root, &["verify", "--output=json", &key]).await;
        assert_eq!(code, Some(1));
        let found: serde_json::Value = serde_json::from_str(&stdout).unwrap();
        let tree = json!({ "key": key, "state": "damaged", "damages": [damage] });
        assert_eq!(found, json!({ "trees": [tree] }));
        let (code, _, stderr) = skillmount(&root, &["verify", "x"]).await;
        assert_eq!((code, stderr.as_str()), (Some(1), "error: there is no tree \"x\"\n"));
        // It changed nothing.
        assert_eq!(stored(&root).len(), 2);
        for volume in &volumes {
            node.client.unpublish(volume).await.unwrap();
        }
        node.terminate().await;
    });
}

async fn condition(client: &Client, volume: &Volume) -> (bool, String) {
    let condition = client.condition(volume).await;
    (condition.abnormal, condition.message)
}

#[test]
fn the_driver_drops_what_has_changed() {
    run("verify::the_driver_drops_what_has_changed", async {
        let root = namespace::scratch();
        let (registry, [shown, unused]) = two(&root);
        let flags = ["--scrub-interval=1", "--http-endpoint=127.0.0.1:0"];
        let node = Node::start(&root, &flags).await;
        for volume in [&shown, &unused] {
            node.client.publish(volume).await.unwrap();
        }
        node.client.unpublish(&unused).await.unwrap();
        flushed(&root).await;
        let keys = [damage(&root, "code-review"), damage(&root, "docs-writer")];
        let aside = format!("{}.orphan.0", keys[0]);
        while stored(&root) != [aside.clone()] {
            tokio::task::yield_now().await;
        }
        // Whoever has it keeps it, and is told.
        assert!(shown.target.join("SKILL.md").exists());
        let told =
            format!("files of its stored tree {} are damaged; a new pod gets them anew", keys[0]);
        assert_eq!(condition(&node.client, &shown).await, (true, told.clone()));
        registry.clear();
        let again = Volume::new(&root, "again", &shown.attributes["reference"]);
        node.client.publish(&again).await.unwrap();
        assert_eq!(tree::listing(&again.target), skills::code_review().listing());
        assert_eq!(
            tree::contents(&again.target)["SKILL.md"],
            skills::code_review().files["SKILL.md"].content
        );
        assert!(registry.lines().iter().any(|line| line.contains("/blobs/")));
        let well = (false, "mounted, read-only".to_owned());
        assert_eq!(condition(&node.client, &again).await, well);
        let (_, metrics) = crate::support::http::get(node.http(), "/metrics").await;
        assert!(metrics.contains("skillmount_trees_damaged_total 2\n"), "{metrics}");
        let (_, log) = node.terminate().await;
        for (key, text) in [
            (&keys[0], "files of a tree are damaged and volumes show them; new pods get it anew"),
            (&keys[1], "removed a damaged tree"),
        ] {
            let line = log.lines().find(|line| line.contains(text)).expect(&log);
            assert!(line.contains(&format!("tree=\"{key}\"")), "{line}");
            assert!(line.contains("SKILL.md"), "{line}");
        }

        // The next driver knows of it, and of whom it concerns.
        let node = Node::start(&root, &[]).await;
        for _ in 0..2 {
            assert_eq!(condition(&node.client, &shown).await, (true, told.clone()));
            assert_eq!(condition(&node.client, &again).await, well);
            node.client.publish(&shown).await.unwrap();
        }
        assert!(stored(&root).contains(&aside));
        node.client.unpublish(&shown).await.unwrap();
        assert!(!stored(&root).contains(&aside), "nobody shows it any more");
        // The same volume once more is another one.
        node.client.publish(&shown).await.unwrap();
        assert_eq!(condition(&node.client, &shown).await, well);
        for volume in [&shown, &again] {
            node.client.unpublish(volume).await.unwrap();
        }
        node.terminate().await;
    });
}
