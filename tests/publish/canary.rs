//! No password in a log, a file or an answer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use skillmount::csi::v1::NodeGetVolumeStatsRequest;

use super::*;
use crate::node::Node;
use crate::support::auth::{Bearer, User};
use crate::support::http::get;

fn assert_absent(place: &str, bytes: &[u8], secrets: &[String]) {
    for secret in secrets {
        let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{place} holds {secret:?}");
    }
}

fn search(directory: &Path, secrets: &[String]) -> usize {
    let mut files = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        assert_absent("a file's name", path.as_os_str().as_encoded_bytes(), secrets);
        if path.is_dir() {
            files += search(&path, secrets);
        } else if path.is_file() {
            files += 1;
            assert_absent(&path.display().to_string(), &fs::read(&path).unwrap(), secrets);
        }
    }
    files
}

#[test]
fn no_password_is_written_or_shown() {
    run("canary::no_password_is_written_or_shown", async {
        let user = User::new("agent", CANARY);
        let base = namespace::scratch();
        for options in [Options::basic([user.clone()]), Options::bearer([user], Bearer::default())]
        {
            let kind = format!("{:?}", options.auth);
            let root = base.join(kind.split('(').next().unwrap());
            fs::create_dir(&root).unwrap();
            let registry = Registry::start(options);
            artifacts::skillimage(&registry, "team/code-review", "v1", &skills::code_review());
            let reference = registry.reference("team/code-review", "v1");
            let host = registry.host();
            let wrong = format!("{CANARY}-wrong");
            let volume = |id| Volume::new(&root, id, &reference);
            let nested = format!(
                r#"{{"auths":{{"https://agent:{CANARY}@{host}/":{{"auth":"{}"}}}}}}"#,
                STANDARD.encode(format!("agent:{wrong}"))
            );
            let refusals = [
                volume("wrong").secret(&host, "agent", &wrong),
                volume("other").secret("other.example", "agent", CANARY),
                volume("json").raw_secret(".dockerconfigjson", &format!("{{\"auths\": {CANARY}")),
                volume("type").raw_secret(
                    ".dockerconfigjson",
                    &format!(r#"{{"auths":{{"{host}":{{"auth":"{CANARY}"}}}}}}"#),
                ),
                volume("url").raw_secret(".dockerconfigjson", &nested),
                volume("key").raw_secret("password", CANARY),
            ];
            let mut secrets: Vec<String> = vec![
                CANARY.to_owned(),
                STANDARD.encode(format!("agent:{CANARY}")),
                STANDARD.encode(format!("agent:{wrong}")),
                STANDARD.encode(CANARY),
            ];
            // The tokens that the registry gives for the password.
            secrets.extend((1..20).map(|number| format!("CANARY-token-{number}")));
            // The node's own login is tried as well, and is wrong too.
            let file = root.join("config.json");
            let auths =
                format!(r#"{{"auths":{{"{host}":{{"username":"agent","password":"{wrong}"}}}}}}"#);
            fs::write(&file, auths).unwrap();
            let file = format!("--node-credentials={}", file.display());
            let flags =
                ["--log-level=trace,skillmount=trace", "--http-endpoint=127.0.0.1:0", &file];
            let node = Node::start(&root, &flags).await;
            for volume in &refusals {
                let (_, message) = refused(node.client.publish(volume).await);
                assert_absent(&volume.id, message.as_bytes(), &secrets);
                let (_, again) = refused(node.client.publish(volume).await);
                assert_absent(&volume.id, again.as_bytes(), &secrets);
                // Some of the secrets hold the same login, so the first answer may be one too.
                let asked = !message.starts_with("cannot read a pull secret ");
                assert_eq!(again.starts_with("Back-off pulling "), asked, "{again}");
            }
            let right = volume("right").secret(&host, "agent", CANARY);
            node.client.publish(&right).await.unwrap();
            assert!(search(&root.join("state"), &secrets) > 5, "{kind}");
            let request = NodeGetVolumeStatsRequest {
                volume_id: right.id.clone(),
                volume_path: right.target.display().to_string(),
                ..Default::default()
            };
            let stats = node.client.node().node_get_volume_stats(request).await.unwrap();
            assert_absent("the statistics", format!("{stats:?}").as_bytes(), &secrets);
            node.client.unpublish(&right).await.unwrap();
            let (_, metrics) = get(node.http(), "/metrics").await;
            assert!(metrics.contains("outcome=\"unauthenticated\""), "{metrics}");
            assert_absent("the metrics", metrics.as_bytes(), &secrets);
            // Nothing that a pod chooses is in them either.
            assert_absent("the metrics", metrics.as_bytes(), &[host, "code-review".into()]);
            let (status, log) = node.terminate().await;
            assert_eq!(status.code(), Some(0));
            for library in ["skillmount::", "h2::", "hyper_util::"] {
                assert!(log.contains(&format!(" {library}")), "{library} is not loud:\n{log}");
            }
            assert!(log.contains(" TRACE "), "the log is as loud as it gets");
            assert_absent("the log", log.as_bytes(), &secrets);
            assert_clean(&root);
        }
    });
}

#[test]
fn a_crash_writes_no_memory_anywhere() {
    run("canary::a_crash_writes_no_memory_anywhere", async {
        let node = Node::start(&namespace::scratch(), &[]).await;
        let proc = PathBuf::from(format!("/proc/{}", node.id()));
        let limits = fs::read_to_string(proc.join("limits")).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        let values: Vec<_> = core.split_whitespace().skip(4).collect();
        assert_eq!(values, ["0", "0", "bytes"]);
        node.terminate().await;
    });
}
