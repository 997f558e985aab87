//! `skillmount node` in a process of its own, and what the node sees of it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use crate::process::{Server, without_settings};
use crate::support::Registry;
use crate::support::driver::Client;
use crate::support::http;

/// Bytes that all trees may have: a collection every five minutes finds more.
const BUDGET: u64 = 16 << 20;

pub(crate) struct Driver {
    binary: PathBuf,
    /// With the state directory and the pods.
    pub(crate) root: PathBuf,
    /// Not below the root, whose path may be too long for a socket.
    _socket: tempfile::TempDir,
    server: Server,
    pub(crate) client: Client,
    http: SocketAddr,
}

impl Driver {
    pub(crate) async fn start(binary: &Path, root: &Path, registry: &Registry) -> Self {
        let socket = tempfile::tempdir().unwrap();
        let path = socket.path().join("csi.sock");
        let mut command = without_settings(Command::new(binary));
        command.args(["node", "--node-id=node-1", "--http-endpoint=127.0.0.1:0"]);
        command.args(["--log-level=warn,skillmount::cli=info", "--scrub-interval=10"]);
        command.args(["--gc-min-age=1", &format!("--gc-max-bytes={BUDGET}")]);
        command.args(["--plain-http", &registry.host(), "--endpoint"]).arg(&path);
        command.arg("--state-dir").arg(root.join("state"));
        let mut address = None;
        let address = &mut address;
        let ready = std::cell::RefCell::new(address);
        let (server, http) = Server::start(&mut command, |line| {
            let found = line.split_once("address=").map(|(_, rest)| rest.split(' ').next());
            if let Some(Some(found)) = found {
                **ready.borrow_mut() = found.parse::<SocketAddr>().ok();
            }
            if line.contains("serving endpoint=") { **ready.borrow() } else { None }
        })
        .await;
        let client = Client::connect(&path).await;
        let (binary, root) = (binary.to_owned(), root.to_owned());
        Self { binary, root, _socket: socket, server, client, http }
    }

    pub(crate) fn id(&self) -> u32 {
        self.server.id()
    }

    /// A metric without labels.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        let (_, text) = http::get(self.http, "/metrics").await;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("{name}: {text}")).parse().unwrap()
    }

    /// Waits until there are no more than so many tasks. What still is under way then, is counted.
    pub(crate) async fn settle(&self, tasks: f64) {
        for _ in 0..60 {
            if self.metric("skillmount_tasks").await as f64 <= tasks {
                break;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// A line of `/proc/PID/status`, as a number.
    pub(crate) fn status(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim_matches([':', ' ', '\t', 'k', 'B']).parse().unwrap()
    }

    pub(crate) fn threads(&self) -> u64 {
        self.status("Threads")
    }

    /// Ends it, and removes what no volume uses: everything.
    pub(crate) async fn stop(self) {
        let (status, log) = self.server.stop().await;
        let tail = log.iter().rev().take(5).rev().cloned().collect::<Vec<_>>().join("\n");
        assert!(status.success(), "{status}: {tail}");
        assert!(!log.iter().any(|line| line.contains("CANARY")), "a password is in the log");
        let mut prune = without_settings(Command::new(&self.binary));
        prune.arg("prune").arg("--state-dir").arg(self.root.join("state"));
        let output = prune.output().await.unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.ends_with("; in use: 0\n"), "{output:?}");
        assert_eq!(fs::read_dir(self.root.join("state/trees")).unwrap().count(), 0);
    }
}
