//! What `kubectl describe pod` shows of each failure: the table of docs/troubleshooting.md, row
//! by row, against what the driver answers.

use std::time::{Duration, Instant};

use super::*;
use crate::support::artifacts::Layer;
use crate::support::auth::{Auth, User};
use crate::support::blobs::{Entry, Tar, gzip, header};
use crate::support::{Fault, Gate, On};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/troubleshooting.md");

/// A row: situation, code, message.
type Row = (String, String, String);

/// The document's rows. A message stands in backquotes.
fn documented() -> Vec<Row> {
    let text = fs::read_to_string(DOCUMENT).unwrap_or_default();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let cells = rows.map(|row| row.split(" | ").collect::<Vec<_>>());
    cells
        .filter_map(|cells| {
            let message = cells.get(2)?.strip_prefix('`')?.strip_suffix('`')?;
            assert_eq!(cells.len(), 4, "{cells:?}");
            let code = cells[1].trim_matches('`');
            Some((cells[0].to_owned(), code.to_owned(), message.to_owned()))
        })
        .collect()
}

/// A message with addresses, paths and digests made the document's.
fn generic(message: &str, hosts: &[String], root: &Path) -> String {
    let mut text =
        message.replace(&root.join("state").display().to_string(), "/var/lib/skillmount");
    for host in hosts {
        text = text.replace(host, "registry.example");
    }
    let mut out = String::new();
    let mut run = String::new();
    for character in text.chars().chain(std::iter::once('\n')) {
        if character.is_ascii_digit() || ('a'..='f').contains(&character) {
            run.push(character);
            continue;
        }
        // A digest, short or whole.
        out.push_str(if run.len() >= 12 { "…" } else { &run });
        run.clear();
        out.push(character);
    }
    out.pop();
    out
}

/// A gzip'd tar of one file of 3 GiB, in many members: real, and made in no time.
fn bomb() -> Vec<u8> {
    let zeros = gzip(&vec![0; 64 << 20]);
    let entry = Entry { size: Some(3 << 30), ..Entry::new("SKILL.md", b'0', 0o644) };
    let mut bytes = gzip(&header(&entry, b"ustar\x0000"));
    for _ in 0..48 {
        bytes.extend_from_slice(&zeros);
    }
    bytes.extend(gzip(&[0; 1024]));
    bytes
}

struct Table {
    rows: Vec<Row>,
    hosts: Vec<String>,
}

impl Table {
    async fn add(&mut self, driver: &Driver, situation: &str, volume: &Volume) {
        let (code, message) = refused(driver.publish(volume).await);
        assert!(!volume.target.exists(), "{situation}");
        self.push(driver, situation, code, &message);
    }

    fn push(&mut self, driver: &Driver, situation: &str, code: Code, message: &str) {
        assert!(!message.contains("CANARY"), "{message}");
        let message = generic(message, &self.hosts, &driver.root);
        self.rows.push((situation.into(), format!("{code:?}"), message));
    }
}

#[test]
fn the_document_shows_what_the_driver_says() {
    run("messages::the_document_shows_what_the_driver_says", async {
        let users = [User::new("agent", CANARY), User::reader("guest", CANARY, &["else"])];
        let options = Options { users: users.to_vec(), ..Options::default() };
        let registry = Registry::start(options.rule("private", Auth::Basic));
        let tls = Registry::start(Options::tls());
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let hosts = vec![registry.host(), tls.host(), gone.to_string()];
        let mut table = Table { rows: vec![], hosts };
        let skill = skills::code_review();
        artifacts::skillimage(&registry, "private/skill", "v1", &skill);
        artifacts::helm_chart(&registry, "team/chart", "v1");
        artifacts::skillimage(&tls, "team/skill", "v1", &skill);
        artifacts::skillimage_bundle(
            &registry,
            "team/all",
            "v1",
            &[skills::code_review(), skills::docs_writer()],
        );
        for tag in ["limited", "down", "altered", "slow"] {
            artifacts::skillimage(&registry, "team/skill", tag, &skill.clone().version(tag));
        }
        let image = |tag: &str, tar: Vec<u8>, gzipped: Vec<u8>| {
            let layer = Layer::raw(artifacts::LAYER, gzipped, &tar);
            artifacts::image(&registry, "team/skill", tag, &[layer]);
        };
        let tar = Tar::new().file("README.md", "x", 0o644).file("bin/tool", "x", 0o755).build();
        image("not-a-skill", tar.clone(), gzip(&tar));
        let tar = skill.tar().symlink("references/passwd", "../../../etc/passwd").build();
        image("link", tar.clone(), gzip(&tar));
        image("bomb", vec![], bomb());

        let driver = Driver::start(&namespace::scratch(), Setup::default()).await;
        let host = registry.host();
        let volume = |repository: &str, tag: &str| {
            driver.volume("csi-1", &registry.reference(repository, tag))
        };
        let private = volume("private/skill", "v1");
        let wrong = private.clone().secret(&host, "agent", "CANARY-not-it");
        table.add(&driver, "The password in the secret is wrong", &wrong).await;
        table.add(&driver, "The registry is private and the volume has no secret", &private).await;
        let other = private.clone().secret("other.example", "agent", CANARY);
        table.add(&driver, "The secret is for another registry", &other).await;
        let broken = private.clone().raw_secret(".dockerconfigjson", "{\"auths\": CANARY");
        table.add(&driver, "The secret is not valid JSON", &broken).await;
        let useless = private.clone().raw_secret("token", CANARY);
        table.add(&driver, "The secret holds no registry login", &useless).await;
        table.add(&driver, "The tag does not exist", &volume("team/skill", "v9")).await;
        let never = volume("team/skill", "v1").attribute("pullPolicy", "Never");
        table.add(&driver, "`pullPolicy: Never`, and the skill is not on the node", &never).await;
        let untrusted = driver.volume("csi-1", &tls.reference("team/skill", "v1"));
        table.add(&driver, "The registry's certificate is not trusted", &untrusted).await;
        let gone = driver.volume("csi-1", &format!("{gone}/team/skill:v1"));
        table.add(&driver, "The registry is down", &gone).await;
        registry.fault(On::manifest("limited"), Fault::status(429));
        table.add(&driver, "The registry limits requests", &volume("team/skill", "limited")).await;
        registry.fault(On::manifest("down"), Fault::status(503));
        table.add(&driver, "The registry fails", &volume("team/skill", "down")).await;
        let layer = &registry.layers("team/skill", "altered")[0];
        registry.fault(On::blob(layer).times(1), Fault::WrongBytes);
        table.add(&driver, "The content was altered", &volume("team/skill", "altered")).await;
        let typo = volume("team/skill", "v1").attribute("pullpolicy", "Always");
        table.add(&driver, "An attribute is misspelt", &typo).await;
        table.add(&driver, "The artifact is a Helm chart", &volume("team/chart", "v1")).await;
        let none = volume("team/skill", "not-a-skill");
        table.add(&driver, "The image holds no skill", &none).await;
        table.add(&driver, "A link leads out of the skill", &volume("team/skill", "link")).await;
        let start = Instant::now();
        table
            .add(&driver, "The layer is a decompression bomb", &volume("team/skill", "bomb"))
            .await;
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        let flat = volume("team/all", "v1").attribute("layout", "flat");
        table.add(&driver, "`layout: flat`, and the artifact has several skills", &flat).await;
        let bind = volume("team/all", "v1").attribute("seal", "bind").read_only(false);
        table.add(&driver, "`seal: bind` without `readOnly: true`", &bind).await;

        // A call that waits for a pull, a second one for the same volume, and one for another
        // volume that runs out of time.
        let gate = Gate::held();
        let layer = &registry.layers("team/skill", "slow")[0];
        registry.clear_faults();
        registry.fault(On::blob(layer), Fault::Stall(gate.clone()));
        let slow = driver.volume("csi-2", &registry.reference("team/skill", "slow"));
        let call = tokio::spawn({
            let (client, slow) = (driver.client(), slow.clone());
            async move { client.publish(&slow).await }
        });
        gate.wait_for_waiting(1).await;
        let late = driver.volume("csi-3", &registry.reference("team/skill", "slow"));
        let (code, message) =
            refused(driver.publish_within(&late, Duration::from_millis(100)).await);
        table.push(&driver, "The pull takes longer than kubelet waits", code, &message);
        table.add(&driver, "An earlier call is still at work", &slow).await;
        gate.release();
        call.await.unwrap().unwrap();
        driver.unpublish(&slow).await.unwrap();
        assert_clean(&driver.root);

        let root = driver.root.clone();
        driver.stop().await;
        let driver = Driver::start(&root, NoOverlay::setup()).await;
        let sealed = driver.volume("csi-1", &registry.reference("team/skill", "slow"));
        let writable = sealed.read_only(false);
        table
            .add(&driver, "The kernel has no overlayfs, and `readOnly` is not set", &writable)
            .await;
        let many = driver.volume("csi-1", &registry.reference("team/all", "v1"));
        let situation = "The kernel has no overlayfs, and the volume has several skills";
        table.add(&driver, situation, &many).await;
        assert_clean(&driver.root);

        let documented = documented();
        let told: Vec<_> = table
            .rows
            .iter()
            .filter(|row| !documented.contains(row))
            .map(|(situation, code, message)| format!("| {situation} | `{code}` | `{message}` |"))
            .collect();
        assert!(told.is_empty(), "docs/troubleshooting.md should say:\n{}", told.join("\n"));
        assert_eq!(documented, table.rows, "the same rows in the same order");
        for (situation, _, message) in &table.rows {
            let mentions = message.matches("registry.example/").count();
            assert!(mentions <= 1, "{situation} repeats the reference: {message}");
            assert!(!message.contains('|') && !message.contains('\n'), "{message}");
        }
    });
}
