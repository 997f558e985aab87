//! What `kubectl describe pod` shows of each failure: the table of docs/troubleshooting.md, row
//! by row, against what the driver answers.

mod secrets;
mod waits;

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::providers::Plugins;
use crate::support::artifacts::{Layer, platforms};
use crate::support::auth::{Auth, User};
use crate::support::blobs::{Entry, Tar, gzip, gzip_bomb, header};
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
            Some((cells[0].to_owned(), code.to_owned(), unmeasured(message)))
        })
        .collect()
}

/// A message without how much of a disk is free, which depends on what else is written just then.
fn unmeasured(message: &str) -> String {
    let between = [
        ("(without this pull ", " of "),
        (" kB and ", " of 1000 inodes"),
        (" MB, and ", " are free, of which"),
    ];
    between.into_iter().fold(message.to_owned(), |text, (before, after)| {
        let parts = text.split_once(before);
        let parts = parts.and_then(|(start, rest)| Some((start, rest.split_once(after)?.1)));
        parts.map_or(text.clone(), |(start, end)| format!("{start}{before}N{after}{end}"))
    })
}

/// A message with addresses, paths and digests made the document's.
pub(crate) fn generic(message: &str, hosts: &[String], root: &Path) -> String {
    let mut text = message
        .replace(&root.join("state").display().to_string(), "/var/lib/skillmount")
        .replace(&root.join("pods").display().to_string(), "/var/lib/kubelet/pods")
        .replace(&root.join("hosts").display().to_string(), "/etc/containerd/certs.d")
        .replace(
            &root.join("registries.conf").display().to_string(),
            "/etc/containers/registries.conf",
        );
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

/// 3 GiB of zeros in a gzip'd tar of 3 MB, in 48 files of 64 MiB, each of which is allowed.
fn bomb() -> Vec<u8> {
    const FILE: usize = 64 << 20;
    let zeros = gzip(&vec![0; FILE]);
    let mut bytes = vec![];
    for number in 0..48 {
        let entry =
            Entry { size: Some(FILE as u64), ..Entry::new(format!("{number}"), b'0', 0o644) };
        bytes.extend(gzip(&header(&entry, b"ustar\x0000")));
        bytes.extend_from_slice(&zeros);
    }
    bytes.extend(gzip(&[0; 1024]));
    bytes
}

/// What the driver said, and of which registries and where.
struct Table {
    rows: Vec<Row>,
    hosts: Vec<String>,
    root: PathBuf,
}

impl Table {
    /// Publishes a volume, which must fail and leave nothing.
    async fn add(&mut self, driver: &Driver, situation: &str, volume: &Volume) {
        let outcome = driver.publish(volume).await;
        assert!(outcome.is_err(), "{situation}: it is published");
        let (code, message) = refused(outcome);
        assert!(!volume.target.exists(), "{situation}");
        self.push(situation, code, &message);
    }

    fn push(&mut self, situation: &str, code: Code, message: &str) {
        assert!(!message.contains(CANARY), "{message}");
        let message = unmeasured(&generic(message, &self.hosts, &self.root));
        self.rows.push((situation.into(), format!("{code:?}"), message));
    }

    /// The document and the driver agree row by row, and the messages read well.
    fn compare(&self) {
        let documented = documented();
        let told: Vec<_> = self
            .rows
            .iter()
            .filter(|row| !documented.contains(row))
            .map(|(situation, code, message)| format!("| {situation} | `{code}` | `{message}` |"))
            .collect();
        assert!(told.is_empty(), "docs/troubleshooting.md should say:\n{}", told.join("\n"));
        assert_eq!(documented, self.rows, "the same rows in the same order");
        let text = fs::read_to_string(DOCUMENT).unwrap();
        for (situation, code, message) in &self.rows {
            assert!(text.contains(&format!("\n| `{code}` | ")), "{code} is not explained");
            let mentions = message.matches("registry.example/").count();
            assert!(mentions <= 1, "{situation} repeats the reference: {message}");
            assert!(!message.contains('|') && !message.contains('\n'), "{message}");
            assert!(message.chars().count() < 500, "{situation} is too long to be read: {message}");
        }
    }
}

/// The registry with what the rows need.
fn shelf() -> Registry {
    let users = [User::new("agent", CANARY), User::reader("guest", CANARY, &["else"])];
    let options = Options { users: users.to_vec(), ..Options::default() };
    let registry = Registry::start(options.rule("private", Auth::Basic));
    let skill = skills::code_review();
    artifacts::skillimage(&registry, "private/skill", "v1", &skill);
    artifacts::helm_chart(&registry, "team/chart", "v1");
    let both = [skills::code_review(), skills::docs_writer()];
    artifacts::skillimage_bundle(&registry, "team/all", "v1", &both);
    artifacts::skillimage_status(&registry, "team/skill", "archived", &skill, "archived");
    for tag in ["v1", "limited", "down", "silent", "short", "altered", "slow"] {
        artifacts::skillimage(&registry, "team/skill", tag, &skill.clone().version(tag));
    }
    let image = |tag: &str, tar: Vec<u8>, gzipped: Vec<u8>| {
        let layer = Layer::raw(artifacts::LAYER, gzipped, &tar);
        artifacts::image(&registry, "team/skill", tag, &[layer]);
    };
    let tar = |tag: &str, tar: Tar| {
        let tar = tar.build();
        image(tag, tar.clone(), gzip(&tar));
    };
    tar("not-a-skill", Tar::new().file("README.md", "x", 0o644).file("bin/tool", "x", 0o755));
    tar("link", skill.tar().symlink("references/passwd", "../../../etc/passwd"));
    tar("device", skill.tar().device("dev/null", b'3', 1, 3));
    tar("escape", skill.tar().file("../../etc/passwd", "x", 0o644));
    tar("untidy", Tar::new().file("SKILL.md", "---\nname: Code Review\n---\n# Review\n", 0o644));
    let many = (0..10_001).fold(skill.tar(), |tar, n| tar.file(&format!("data/{n}"), "", 0o644));
    tar("many", many);
    image("large", vec![], gzip_bomb("data/model.bin", 200 << 20));
    image("bomb", vec![], bomb());
    let other = |text: &str| vec![Layer::gzip(skill.tar().file("other", text, 0o644).build())];
    let images = [("s390x", other("s390x")), ("ppc64le", other("ppc64le"))];
    platforms(&registry, "team/skill", "mainframe", &images);
    registry
}

/// What each failure says: the rows of the document in their order.
#[test]
fn the_document_shows_what_the_driver_says() {
    run("messages::the_document_shows_what_the_driver_says", async {
        let registry = shelf();
        let tls = Registry::start(Options::tls());
        artifacts::skillimage(&tls, "team/skill", "v1", &skills::code_review());
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let hosts = vec![registry.host(), tls.host(), gone.to_string()];
        let root = namespace::scratch();
        let mut table = Table { rows: vec![], hosts, root: root.clone() };
        let driver = Driver::start(&root, Setup::default()).await;
        logins(&mut table, &driver, &registry).await;
        secrets::secrets(&mut table, &driver, &registry).await;
        references(&mut table, &driver, &registry).await;
        attributes(&mut table, &driver, &registry).await;
        registries(&mut table, &driver, &registry, &tls, &gone.to_string()).await;
        contents(&mut table, &driver, &registry).await;
        assert_clean(&root);
        waits::waits(&mut table, &driver, &registry).await;
        driver.stop().await;
        nodes(&mut table, &registry).await;
        table.compare();
    });
}

fn volume(driver: &Driver, registry: &Registry, repository: &str, tag: &str) -> Volume {
    driver.volume("csi-1", &registry.reference(repository, tag))
}

/// A driver that is set up in another way, with a state of its own.
async fn another(driver: &Driver, name: &str, setup: Setup) -> Driver {
    let root = driver.root.join(name);
    fs::create_dir(&root).unwrap();
    Driver::start(&root, setup).await
}

async fn logins(table: &mut Table, driver: &Driver, registry: &Registry) {
    let host = registry.host();
    let private = volume(driver, registry, "private/skill", "v1");
    let wrong = private.clone().secret(&host, "agent", "CANARY-not-it");
    table.add(driver, "The password in the Secret is wrong", &wrong).await;
    table.add(driver, "The registry wants a login, and the volume names no Secret", &private).await;
    let other = private.clone().secret("other.example", "agent", CANARY);
    table.add(driver, "The Secret is for another registry", &other).await;
    let guest = private.clone().secret(&host, "guest", CANARY);
    table.add(driver, "The login may not pull this repository", &guest).await;
    let broken = private.clone().raw_secret(".dockerconfigjson", "{\"auths\": CANARY");
    table.add(driver, "The Secret is not valid JSON", &broken).await;
    let useless = private.clone().raw_secret("token", CANARY);
    table.add(driver, "The Secret holds no registry login", &useless).await;
    providers(table, driver, registry).await;
}

/// Credential providers that give no login.
async fn providers(table: &mut Table, driver: &Driver, registry: &Registry) {
    let hosts = [registry.host()];
    let tokens = json!({ "tokenAttributes": {
        "serviceAccountTokenAudience": "sts.example",
        "cacheType": "ServiceAccount",
        "requireServiceAccount": true,
    } });
    for (situation, root, fields) in [
        ("A credential provider of the node fails", "failing", json!({})),
        ("A credential provider wants a token that kubelet does not send", "tokens", tokens),
    ] {
        let root = driver.root.join(root);
        fs::create_dir(&root).unwrap();
        let mut plugins = Plugins::new(&root);
        plugins.add_with("cloud", &hosts, fields);
        plugins.script("cloud", "exit 1");
        let failing = plugins.driver().await;
        table.add(&failing, situation, &volume(&failing, registry, "private/skill", "v1")).await;
        failing.stop().await;
    }
}

async fn references(table: &mut Table, driver: &Driver, registry: &Registry) {
    let none = volume(driver, registry, "team/skill", "v9");
    table.add(driver, "The tag does not exist", &none).await;
    let upper = driver.volume("csi-1", "registry.example/Team/Skill:v1");
    table.add(driver, "The reference is malformed", &upper).await;
    let never = volume(driver, registry, "team/skill", "v1").attribute("pullPolicy", "Never");
    table.add(driver, "`pullPolicy: Never`, and the skill is not on the node", &never).await;
    let mainframe = volume(driver, registry, "team/skill", "mainframe");
    let mut node = Setup::default();
    node.platform.architecture = "amd64".into();
    let amd64 = another(driver, "amd64", node).await;
    table.add(&amd64, "The artifact is for other machines only", &mainframe).await;
    amd64.stop().await;
}

async fn attributes(table: &mut Table, driver: &Driver, registry: &Registry) {
    let skill = volume(driver, registry, "team/skill", "v1");
    let typo = skill.clone().attribute("pullpolicy", "Always");
    table.add(driver, "An attribute is misspelt", &typo).await;
    let value = skill.clone().attribute("pullPolicy", "always");
    table.add(driver, "An attribute has a value that it cannot have", &value).await;
    let mut missing = skill;
    missing.attributes.clear();
    table.add(driver, "There is no `reference`", &missing).await;
    let all = volume(driver, registry, "team/all", "v1");
    let flat = all.clone().attribute("layout", "flat");
    table.add(driver, "`layout: flat`, and the artifact has several skills", &flat).await;
    let absent = all.clone().attribute("skills", "code-review, release-notes");
    table.add(driver, "`skills` names one that the artifact does not have", &absent).await;
    let bind = all.clone().attribute("seal", "bind").read_only(false);
    table.add(driver, "`seal: bind` without `readOnly: true`", &bind).await;
    let bind = all.attribute("seal", "bind");
    table.add(driver, "`seal: bind`, and the volume has several skills", &bind).await;
}

async fn registries(
    table: &mut Table,
    driver: &Driver,
    registry: &Registry,
    tls: &Registry,
    gone: &str,
) {
    let skill = |tag: &str| volume(driver, registry, "team/skill", tag);
    let untrusted = volume(driver, tls, "team/skill", "v1");
    table.add(driver, "The registry's certificate is not trusted", &untrusted).await;
    let nobody = driver.volume("csi-1", &format!("{gone}/team/skill:v1"));
    table.add(driver, "Nothing answers at the registry's address", &nobody).await;
    let gate = Gate::held();
    registry.fault(On::manifest("silent"), Fault::Stall(gate.clone()));
    let mut setup = Setup::default();
    setup.registry.read_timeout = Duration::from_millis(100);
    let impatient = another(driver, "impatient", setup).await;
    table.add(&impatient, "The registry hangs", &skill("silent")).await;
    impatient.stop().await;
    gate.release();
    let layer = registry.layers("team/skill", "slow").remove(0);
    let strict = another(driver, "strict", crate::trickle::strict()).await;
    let slow = volume(&strict, registry, "team/skill", "slow");
    // Its layer is another.
    let meanwhile = volume(driver, registry, "team/all", "v1");
    let others = (&layer, driver, &meanwhile);
    let (code, message) = crate::trickle::trickled(registry, &strict, &slow, others).await;
    table.push("The registry sends a byte now and then", code, &message);
    strict.stop().await;
    registry.fault(On::manifest("limited"), Fault::status(429));
    table.add(driver, "The registry limits requests", &skill("limited")).await;
    registry.fault(On::manifest("down"), Fault::status(503));
    table.add(driver, "The registry fails", &skill("down")).await;
    let layer = &registry.layers("team/skill", "short")[0];
    registry.fault(On::blob(layer), Fault::Truncate(100));
    registry.fault(On::blob(layer), Fault::IgnoreRange);
    table.add(driver, "The connection breaks again and again", &skill("short")).await;
    registry.clear_faults();
    let layer = &registry.layers("team/skill", "altered")[0];
    registry.fault(On::blob(layer), Fault::WrongBytes);
    table.add(driver, "The content is not what its digest says", &skill("altered")).await;
    registry.clear_faults();
    mirrors(table, driver, registry, gone).await;
}

async fn mirrors(table: &mut Table, driver: &Driver, registry: &Registry, gone: &str) {
    let skill = |tag: &str| volume(driver, registry, "team/skill", tag);
    let hosts = table.root.join("hosts/_default");
    let conf = table.root.join("registries.conf");
    fs::create_dir_all(&hosts).unwrap();
    let mut setup = Setup::default();
    setup.registry.hosts.directories = vec![table.root.join("hosts")];
    let mirrored = another(driver, "mirrored", setup).await;
    fs::write(hosts.join("hosts.toml"), format!("[host.\"http://{gone}\"]")).unwrap();
    table.add(&mirrored, "Neither a mirror nor the registry delivers", &skill("v9")).await;
    fs::write(hosts.join("hosts.toml"), "[host.m]\ncapabilities = [\"pul\"]").unwrap();
    table.add(&mirrored, "A `hosts.toml` of the node is broken", &skill("v1")).await;
    mirrored.stop().await;
    let host = registry.host();
    fs::write(&conf, format!("[[registry]]\nlocation = \"{host}\"\nblocked = true")).unwrap();
    let mut setup = Setup::default();
    setup.registry.hosts.registries_conf = Some(conf);
    let blocking = another(driver, "blocking", setup).await;
    table.add(&blocking, "The node blocks the registry", &skill("v1")).await;
    blocking.stop().await;
}

async fn contents(table: &mut Table, driver: &Driver, registry: &Registry) {
    let skill = |tag: &str| volume(driver, registry, "team/skill", tag);
    let chart = volume(driver, registry, "team/chart", "v1");
    table.add(driver, "The artifact is a Helm chart", &chart).await;
    table.add(driver, "The artifact holds no skill", &skill("not-a-skill")).await;
    table.add(driver, "A link leads out of the skill", &skill("link")).await;
    table.add(driver, "A path leads out of the artifact", &skill("escape")).await;
    table.add(driver, "The artifact holds a device", &skill("device")).await;
    let strict = skill("untidy").attribute("validation", "strict");
    table.add(driver, "`validation: strict`, and the skill breaks rules", &strict).await;
    table.add(driver, "The skill is archived", &skill("archived")).await;
    table.add(driver, "A layer of 3 MB decompresses to 3 GiB", &skill("bomb")).await;
    table.add(driver, "A file is too large", &skill("large")).await;
    table.add(driver, "There are too many files", &skill("many")).await;
}

async fn nodes(table: &mut Table, registry: &Registry) {
    let root = table.root.clone();
    let driver = Driver::start(&root, NoOverlay::setup()).await;
    let writable = volume(&driver, registry, "team/skill", "slow").read_only(false);
    let situation = "The kernel refuses overlays, and the volume does not say `readOnly: true`";
    table.add(&driver, situation, &writable).await;
    let many = volume(&driver, registry, "team/all", "v1");
    table
        .add(&driver, "The kernel refuses overlays, and the volume has several skills", &many)
        .await;
    assert_clean(&root);
    driver.stop().await;

    let root = root.join("small");
    let state = root.join("state");
    fs::create_dir_all(&state).unwrap();
    nix::mount::mount(
        Some("small"),
        &state,
        Some("tmpfs"),
        nix::mount::MsFlags::empty(),
        Some("size=256k,nr_inodes=1000"),
    )
    .unwrap();
    artifacts::skillimage(registry, "team/skill", "big", &skills::large(10, 100_000));
    artifacts::skillimage(registry, "team/skill", "huge", &skills::large(50, 100_000));
    let driver = Driver::start(&root, Setup::default()).await;
    table.root = root;
    table
        .add(&driver, "The node's disk is full", &volume(&driver, registry, "team/skill", "big"))
        .await;
    let huge = volume(&driver, registry, "team/skill", "huge");
    table.add(&driver, "The node's disk has no room for the skill", &huge).await;
    driver.stop().await;
}
