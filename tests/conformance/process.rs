//! Child processes that say on standard error when they are ready.

use std::path::Path;
use std::process::{ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::task::JoinHandle;

/// A server in a process of its own. Killed when dropped.
pub(crate) struct Server {
    child: Child,
    log: JoinHandle<Vec<String>>,
}

impl Server {
    /// Starts `command` and waits for the first line that `ready` makes something of.
    ///
    /// # Panics
    /// With all that it wrote, if it ends before.
    pub(crate) async fn start<T>(
        command: &mut Command,
        ready: impl Fn(&str) -> Option<T>,
    ) -> (Self, T) {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let spawned = command.kill_on_drop(true).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut seen = Vec::new();
        let found = loop {
            let Some(line) = lines.next_line().await.unwrap() else {
                panic!("{command:?} ended before it was ready:\n{}", seen.join("\n"));
            };
            let found = ready(&line);
            seen.push(line);
            if let Some(found) = found {
                break found;
            }
        };
        // Read on, or the server would block on a full pipe.
        let log = tokio::spawn(drain(lines, seen));
        (Self { child, log }, found)
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("it still runs")
    }

    /// SIGKILL.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Sends SIGTERM and waits for the end: how it went, and what was logged.
    pub(crate) async fn stop(mut self) -> (ExitStatus, Vec<String>) {
        kill(Pid::from_raw(self.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
        (self.child.wait().await.unwrap(), self.log.await.unwrap())
    }
}

async fn drain(mut lines: Lines<BufReader<ChildStderr>>, mut seen: Vec<String>) -> Vec<String> {
    while let Some(line) = lines.next_line().await.unwrap() {
        seen.push(line);
    }
    seen
}

/// The driver's binary, with none of the caller's settings.
pub(crate) fn skillmount() -> Command {
    without_settings(Command::new(env!("CARGO_BIN_EXE_skillmount")))
}

/// A command that gets none of the caller's settings of the driver.
pub(crate) fn without_settings(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("SKILLMOUNT_") || text == "NODE_NAME" || text == "CSI_ENDPOINT" {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a tool to its end: whether it succeeded, and what it wrote on both outputs.
///
/// # Panics
/// If there is no such tool: in this tier that is a failure.
pub(crate) async fn run(command: &mut Command) -> (bool, String) {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
    let output = output.unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text += &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text)
}

/// As [`run`], for what must succeed.
pub(crate) async fn succeed(command: &mut Command) -> String {
    let (success, text) = run(command).await;
    assert!(success, "{command:?}:\n{text}");
    text
}

/// Where this tier's tools and reports lie: ignored by git.
pub(crate) fn tools() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.tools"))
}
