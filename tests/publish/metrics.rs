//! Health and metrics of the real binary, over HTTP.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::Stdio;

use skillmount::registration::v1::RegistrationStatus;
use skillmount::registration::v1::registration_client::RegistrationClient;
use tokio::io::{AsyncBufReadExt, BufReader};

use super::*;
use crate::node::{Node, address, command};
use crate::providers::Plugins;
use crate::providers::node::flags;
use crate::support::driver::connect;
use crate::support::http::get;
use crate::support::kube_api::KubeApi;

pub(crate) const HTTP: &str = "--http-endpoint=127.0.0.1:0";

fn page(status: u16, body: &str) -> (u16, String) {
    (status, body.into())
}

/// The series of a scrape and their values, but for those that tell of time.
struct Scrape {
    text: String,
}

impl Scrape {
    async fn of(node: &Node) -> Self {
        let (status, text) = get(node.http(), "/metrics").await;
        assert_eq!(status, 200);
        Self { text }
    }

    fn samples(&self) -> impl Iterator<Item = (&str, &str)> {
        let lines = self.text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.rsplit_once(' ').unwrap())
    }

    /// The series of this name, sorted.
    fn all(&self, name: &str) -> BTreeMap<&str, u64> {
        let own = |series: &&str| series.split('{').next() == Some(name);
        let samples = self.samples().filter(|(series, _)| own(series));
        samples.map(|(series, value)| (&series[name.len()..], value.parse().unwrap())).collect()
    }

    /// The value of the series without labels.
    fn one(&self, name: &str) -> u64 {
        let all = self.all(name);
        assert_eq!(all.keys().collect::<Vec<_>>(), [&""], "{name}");
        all[""]
    }

    /// Name, type and labels of every metric, as people write them.
    fn described(&self) -> BTreeSet<String> {
        let types = self.text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let mut found = BTreeSet::new();
        for (family, kind) in types.map(|line| line.split_once(' ').unwrap()) {
            let name = if kind == "counter" { format!("{family}_total") } else { family.into() };
            let sample = if kind == "histogram" { format!("{name}_count") } else { name.clone() };
            let series = self.all(&sample);
            let labels = |series: &str| {
                let pairs = series.trim_start_matches('{').trim_end_matches('}').split(',');
                let keys = pairs.filter_map(|pair| Some(format!("`{}`", pair.split_once('=')?.0)));
                keys.collect::<Vec<_>>().join(", ")
            };
            let labels: BTreeSet<String> = series.keys().map(|series| labels(series)).collect();
            assert_eq!(labels.len(), 1, "{name}: {labels:?}");
            let labels = labels.first().filter(|labels| !labels.is_empty());
            let labels = labels.map_or("none", String::as_str);
            found.insert(format!("`{name}` | {kind} | {labels}"));
        }
        found
    }
}

#[test]
fn ready_when_both_sockets_are_served() {
    run("metrics::ready_when_both_sockets_are_served", async {
        let root = namespace::scratch();
        for directory in ["state", "registration", "pods"] {
            fs::create_dir(root.join(directory)).unwrap();
        }
        // The driver opens its state directory until somebody writes into this.
        let format = root.join("state/format");
        nix::unistd::mkfifo(&format, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut child = command(&root)
            .args([HTTP, &format!("--registration-dir={}", root.join("registration").display())])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut until = async |text: &str| loop {
            let line = lines.next_line().await.unwrap().expect("the driver goes on");
            if line.contains(text) {
                break line;
            }
        };
        let address = address(&until("serving /metrics").await).unwrap();
        let fifo = format.clone();
        let open =
            tokio::task::spawn_blocking(move || fs::OpenOptions::new().write(true).open(fifo));
        let mut writer = open.await.unwrap().unwrap();
        assert_eq!(get(address, "/livez").await, page(200, "ok\n"));
        let not = page(503, "not ready: the CSI socket is not served yet\n");
        assert_eq!(get(address, "/readyz").await, not);
        let (status, text) = get(address, "/metrics").await;
        assert_eq!(status, 200);
        let version = env!("CARGO_PKG_VERSION");
        assert!(text.contains(&format!("skillmount_build_info{{version=\"{version}\"}} 1\n")));
        assert!(!text.contains("skillmount_registration"), "{text}");

        // It is read twice, the second time as a file like any other.
        let plain = root.join("plain");
        fs::write(&plain, "1\n").unwrap();
        fs::rename(&plain, &format).unwrap();
        writer.write_all(b"1\n").unwrap();
        drop(writer);
        until("waiting for kubelet to register the driver").await;
        assert_eq!(get(address, "/readyz").await, page(200, "ok\n"));
        assert_eq!(get(address, "/livez").await, page(200, "ok\n"));
        child.start_kill().unwrap();
        child.wait().await.unwrap();
    });
}

#[test]
fn every_call_and_pull_is_counted() {
    run("metrics::every_call_and_pull_is_counted", async {
        let root = namespace::scratch();
        fs::create_dir(root.join("registration")).unwrap();
        let registry = Registry::start(Options::default());
        let skill = skills::code_review();
        artifacts::skillimage(&registry, "team/code-review", "v1", &skill);
        let directory = format!("--registration-dir={}", root.join("registration").display());
        let mut plugins = Plugins::new(&root);
        plugins.add("cloud", &["unused.example".into()]);
        let [config, bin_dir] = flags(&plugins);
        let api = KubeApi::start().await;
        let kubeconfig = format!("--kubeconfig={}", api.kubeconfig(&root).display());
        let flags = [HTTP, &directory, &config, &bin_dir, "--events", &kubeconfig];
        let node = Node::start(&root, &flags).await;
        let volume = |id, tag| Volume::new(&root, id, &registry.reference("team/code-review", tag));

        let scrape = Scrape::of(&node).await;
        assert_eq!(scrape.one("skillmount_volumes"), 0);
        let [pulled, stored, absent] =
            [("pulled", "v1"), ("stored", "v1"), ("absent", "v9")].map(|(id, tag)| volume(id, tag));
        node.client.publish(&pulled).await.unwrap();
        node.client.publish(&stored).await.unwrap();
        assert_eq!(refused(node.client.publish(&absent).await).0, Code::NotFound);
        node.client.unpublish(&stored).await.unwrap();
        let registered = RegistrationStatus { plugin_registered: true, error: String::new() };
        let socket = root.join("registration/csi.skillmount.dev-reg.sock");
        let mut kubelet = RegistrationClient::new(connect(&socket).await);
        kubelet.notify_registration_status(registered).await.unwrap();

        // Of the first Pulling and Pulled, of the second Pulled, of the third Pulling and Failed.
        let events = "skillmount_events_total";
        while Scrape::of(&node).await.all(events)[r#"{outcome="written"}"#] < 5 {
            tokio::task::yield_now().await;
        }
        let scrape = Scrape::of(&node).await;
        assert_eq!(scrape.all(events).values().sum::<u64>(), 5);
        let calls = [
            (r#"{method="NodePublishVolume",code="NotFound"}"#, 1),
            (r#"{method="NodePublishVolume",code="Ok"}"#, 2),
            (r#"{method="NodeUnpublishVolume",code="Ok"}"#, 1),
        ];
        assert_eq!(scrape.all("skillmount_csi_operations_total"), calls.into());
        assert_eq!(scrape.all("skillmount_csi_operation_duration_seconds_count"), calls.into());
        assert_eq!(
            scrape.all("skillmount_pulls_total"),
            [
                (r#"{outcome="not_found",local="false"}"#, 1),
                (r#"{outcome="ok",local="false"}"#, 1),
                (r#"{outcome="ok",local="true"}"#, 1),
            ]
            .into()
        );
        assert_eq!(scrape.one("skillmount_pull_duration_seconds_count"), 1);
        assert_eq!(
            scrape.all("skillmount_pulls_in_flight"),
            [(r#"{state="running"}"#, 0), (r#"{state="waiting"}"#, 0)].into()
        );
        assert_eq!(
            scrape.all("skillmount_phase_duration_seconds_count"),
            [
                (r#"{phase="download"}"#, 1),
                (r#"{phase="mount"}"#, 2),
                (r#"{phase="resolve"}"#, 1),
                (r#"{phase="store"}"#, 1),
                (r#"{phase="wait"}"#, 2),
            ]
            .into()
        );
        // What the registry saw: a manifest, a config, a layer, and a tag that is not there.
        let mut seen = BTreeMap::new();
        for request in registry.requests().iter().filter(|request| request.status > 0) {
            *seen.entry(format!("{{code=\"{}\"}}", request.status)).or_insert(0) += 1;
        }
        let seen = seen.iter().map(|(series, count)| (series.as_str(), *count)).collect();
        assert_eq!(scrape.all("skillmount_registry_requests_total"), seen);
        assert_eq!(scrape.one("skillmount_downloaded_bytes_total"), blob_bytes(&registry));

        assert_eq!(scrape.one("skillmount_volumes"), 1);
        assert_eq!(scrape.one("skillmount_store_trees"), 1);
        let bytes: usize = skill.files.values().map(|file| file.content.len()).sum();
        assert_eq!(scrape.one("skillmount_store_bytes"), bytes as u64);
        let registered = [("absent", 0), ("refused", 0), ("registered", 1), ("waiting", 0)]
            .map(|(state, value)| (format!("{{state=\"{state}\"}}"), value));
        assert_eq!(
            scrape.all("skillmount_registration"),
            registered.iter().map(|(series, value)| (series.as_str(), *value)).collect()
        );

        let provided = ["cached", "failed", "ok", "timeout"]
            .map(|outcome| (format!("{{provider=\"cloud\",outcome=\"{outcome}\"}}"), 0));
        assert_eq!(
            scrape.all("skillmount_credential_provider_requests_total"),
            provided.iter().map(|(series, value)| (series.as_str(), *value)).collect()
        );

        assert_eq!(scrape.described(), documented());
        let (status, log) = node.terminate().await;
        assert_eq!(status.code(), Some(0), "{log}");
    });
}

#[tokio::test]
async fn an_endpoint_that_cannot_be_served_is_told() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    let root = tempfile::tempdir().unwrap();
    for (endpoint, code, expected) in [
        (
            taken.to_string(),
            1,
            format!("error: cannot serve HTTP on {taken}: Address already in use"),
        ),
        ("9808".into(), 64, "not of the form :PORT".into()),
    ] {
        let flag = format!("--http-endpoint={endpoint}");
        let output = command(root.path()).arg(flag).output().await.unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{log}");
        assert!(log.contains(&expected), "{log}");
    }
}

/// The bytes of the blobs that the manifest of the fixture names.
fn blob_bytes(registry: &Registry) -> u64 {
    let manifest = registry.manifest("team/code-review", "v1").unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let layers = manifest["layers"].as_array().unwrap();
    layers.iter().chain([&manifest["config"]]).map(|blob| blob["size"].as_u64().unwrap()).sum()
}

/// The first three cells of the table of metrics.
fn documented() -> BTreeSet<String> {
    let book = include_str!("../../docs/operations.md");
    let (_, section) = book.split_once("\n## Metrics\n").expect("a section on metrics");
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `skillmount_"));
    let cells = rows.map(|row| row.split(" | ").take(3).collect::<Vec<_>>().join(" | "));
    cells.map(|row| row.trim_start_matches("| ").to_owned()).collect()
}
