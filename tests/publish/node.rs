//! The real binary as a child of the test.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use nix::sys::signal::Signal;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::support::driver::Client;

/// `skillmount node`, serving.
pub(crate) struct Node {
    child: Child,
    pub(crate) client: Client,
    log: Arc<Mutex<String>>,
    reader: JoinHandle<()>,
}

/// The command with its state and socket below `root`.
pub(crate) fn command(root: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skillmount"));
    command
        .env_clear()
        .arg("node")
        .arg("--node-id=node-1")
        .arg(format!("--endpoint=unix://{}", root.join("csi.sock").display()))
        .arg(format!("--state-dir={}", root.join("state").display()))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// What a line of the log says about where HTTP is served.
pub(crate) fn address(line: &str) -> Option<SocketAddr> {
    let is_quote = |c: char| c.is_whitespace() || c == '"';
    let found = line.split_once("address=").or_else(|| line.split_once(r#""address":""#));
    found?.1.split(is_quote).next()?.parse().ok()
}

impl Node {
    /// Starts it and returns when it serves.
    pub(crate) async fn start(root: &Path, flags: &[&str]) -> Self {
        Self::start_with(root, flags, &[]).await
    }

    /// The same with variables in its environment.
    pub(crate) async fn start_with(
        root: &Path,
        flags: &[&str],
        environment: &[(&str, String)],
    ) -> Self {
        let environment = environment.iter().map(|(name, value)| (*name, value.as_str()));
        let mut command = command(root);
        let command = command.args(flags).envs(environment).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(String::new()));
        let (serves, serving) = oneshot::channel();
        let reader = tokio::spawn({
            let (log, mut serves) = (log.clone(), Some(serves));
            async move {
                while let Some(line) = lines.next_line().await.expect("the log") {
                    let done = line.contains("skillmount::cli::node: serving ")
                        || line.contains(r#""message":"serving""#);
                    *log.lock().unwrap() += &format!("{line}\n");
                    if done {
                        let _sent = serves.take().map(|serves| serves.send(()));
                    }
                }
            }
        });
        if serving.await.is_err() {
            panic!("it does not serve:\n{}", log.lock().unwrap());
        }
        let client = Client::connect(&root.join("csi.sock")).await;
        Self { child, client, log, reader }
    }

    /// Where it serves HTTP, if it was told to.
    pub(crate) fn http(&self) -> SocketAddr {
        self.log.lock().unwrap().lines().find_map(address).expect("--http-endpoint")
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// SIGKILL.
    pub(crate) async fn kill(mut self) -> String {
        self.child.start_kill().unwrap();
        self.child.wait().await.unwrap();
        self.ended().await
    }

    /// SIGTERM.
    pub(crate) async fn terminate(self) -> (ExitStatus, String) {
        self.signal(Signal::SIGTERM);
        self.wait().await
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.id()).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), signal).unwrap();
    }

    /// Returns when it has ended.
    pub(crate) async fn wait(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().await.unwrap();
        (status, self.ended().await)
    }

    /// Waits until it ends by itself.
    pub(crate) async fn exited(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().await.unwrap();
        (status, self.ended().await)
    }

    async fn ended(self) -> String {
        self.reader.await.unwrap();
        let log = std::mem::take(&mut *self.log.lock().unwrap());
        assert!(!log.contains("CANARY"), "{log}");
        log
    }
}
