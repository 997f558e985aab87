//! What the real binary logs: which lines belong to which call, and at which level.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::node::Node;

async fn put(node: &Node, path: &str) -> String {
    let mut stream = TcpStream::connect(node.http()).await.unwrap();
    let request = format!("PUT {path} HTTP/1.1\r\nHost: node\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

fn lines(log: &str) -> Vec<Value> {
    let is_json = |line: &&str| line.starts_with('{');
    log.lines().filter(is_json).map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_call_ties_all_its_lines_together() {
    run("logs::a_call_ties_all_its_lines_together", async {
        let registry = Registry::start(Options::default());
        artifacts::skillimage(&registry, "team/code-review", "v1", &skills::code_review());
        let root = namespace::scratch();
        let flags = ["--log-format=json", "--log-level=debug"];
        let node = Node::start(&root, &flags).await;
        for id in ["csi-1", "csi-2"] {
            let reference = registry.reference("team/code-review", "v1");
            let volume = Volume::new(&root, id, &reference).attribute("pullPolicy", "Always");
            node.client.publish(&volume).await.unwrap();
            node.client.unpublish(&volume).await.unwrap();
        }
        let (_, log) = node.terminate().await;
        let lines = lines(&log);
        let publishes: Vec<_> = lines
            .iter()
            .filter(|line| line["message"] == "done" && line["rpc"] == "NodePublishVolume")
            .map(|line| (line["volume_id"].as_str().unwrap(), line["call"].as_u64().unwrap()))
            .collect();
        assert_eq!(publishes, [("csi-1", 0), ("csi-2", 2)]);
        // The pull runs in a task of its own, which may outlive the call.
        let resolved: Vec<_> = lines
            .iter()
            .filter(|line| line["message"] == "resolved")
            .map(|line| line["span"]["call"].as_u64().unwrap())
            .collect();
        assert_eq!(resolved, [0, 2]);
    });
}

#[test]
fn the_level_changes_while_the_driver_runs() {
    run("logs::the_level_changes_while_the_driver_runs", async {
        let registry = Registry::start(Options::default());
        artifacts::skillimage(&registry, "team/code-review", "v1", &skills::code_review());
        let root = namespace::scratch();
        let flags = ["--log-format=json", "--http-endpoint=127.0.0.1:0"];
        let node = Node::start(&root, &flags).await;
        let publish = async |id: &str| {
            let reference = registry.reference("team/code-review", "v1");
            let volume = Volume::new(&root, id, &reference).attribute("pullPolicy", "Always");
            node.client.publish(&volume).await.unwrap();
            node.client.unpublish(&volume).await.unwrap();
        };
        publish("quiet-1").await;
        assert_eq!(put(&node, "/log-level/debug").await, "logging at debug\n");
        publish("loud").await;
        assert_eq!(put(&node, "/log-level/error").await, "logging at error\n");
        publish("quiet-2").await;
        let wrong = put(&node, "/log-level/skillmount=loud").await;
        assert!(wrong.starts_with("--log-level \"skillmount=loud\" is not a level"), "{wrong}");
        let (_, log) = node.terminate().await;
        let lines = lines(&log);
        let told = |message: &str| lines.iter().filter(|line| line["message"] == message).count();
        assert_eq!(told("publish"), 1, "{log}");
        // Of the first publish and unpublish, and of the loud ones.
        assert_eq!(told("done"), 4, "{log}");
        assert_eq!(told("the log level is another from here on"), 2, "{log}");
    });
}
