//! With a lenient validation, what is odd about a skill is no error.

use super::*;
use crate::node::Node;
use crate::support::Tar;
use crate::support::artifacts::Layer;

#[test]
fn they_are_logged_and_recorded() {
    run("warnings::they_are_logged_and_recorded", async {
        let root = namespace::scratch();
        let registry = Registry::start(Options::default());
        let tar = Tar::new().file("SKILL.md", "---\nname: review\n---\n# Review\n", 0o644);
        artifacts::image(&registry, "team/review", "v1", &[Layer::gzip(tar.build())]);
        let reference = registry.reference("team/review", "v1");
        let volume = Volume::new(&root, "csi-1", &reference);
        let node = Node::start(&root, &[]).await;
        node.client.publish(&volume).await.unwrap();
        node.client.publish(&volume).await.unwrap();
        let (records, _) = skillmount::store::peek_records(&root.join("state")).unwrap();
        let warning = "SKILL.md: has no description [agentskills.io: description]";
        assert_eq!(records[0].warnings, [format!("{reference}: {warning}")]);
        node.client.unpublish(&volume).await.unwrap();
        let (_, log) = node.terminate().await;
        let lines: Vec<_> = log.lines().filter(|line| line.contains(" WARN ")).collect();
        assert_eq!(lines.len(), 1, "{log}");
        for part in [warning, &format!("reference={reference}"), "volume_id=\"csi-1\""] {
            assert!(lines[0].contains(part), "{part} is not in {}", lines[0]);
        }
    });
}
