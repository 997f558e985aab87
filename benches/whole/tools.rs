//! Programs beside the driver: which there are, and how long they take.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::Serialize;

/// Where to look: `.tools/bin`, where the conformance tier puts what it installs, then `PATH`.
#[derive(Debug, Clone)]
pub(crate) struct Tools {
    path: Vec<PathBuf>,
}

/// A program and what it says of itself.
#[derive(Debug, Serialize)]
pub(crate) struct Version {
    pub(crate) tool: &'static str,
    /// None: it is not here.
    pub(crate) version: Option<String>,
}

const VERSIONS: &[(&str, &[&str])] = &[
    ("rustc", &["--version"]),
    ("docker-registry", &["--version"]),
    ("crane", &["version"]),
    ("oras", &["version"]),
    ("skopeo", &["--version"]),
    ("umoci", &["--version"]),
    ("containerd", &["--version"]),
    ("curl", &["--version"]),
    ("gzip", &["--version"]),
    ("zstd", &["--version"]),
    ("tar", &["--version"]),
];

impl Tools {
    pub(crate) fn find() -> Self {
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/bin");
        let path = std::env::var_os("PATH").unwrap_or_default();
        Self { path: std::iter::once(own).chain(std::env::split_paths(&path)).collect() }
    }

    pub(crate) fn get(&self, tool: &str) -> Option<PathBuf> {
        self.path.iter().map(|directory| directory.join(tool)).find(|path| path.is_file())
    }

    /// Whether all of them are here.
    pub(crate) fn have(&self, tools: &[&str]) -> bool {
        tools.iter().all(|tool| self.get(tool).is_some())
    }

    /// A command of a tool that [`Self::have`] has found.
    pub(crate) fn command(&self, tool: &str) -> Command {
        Command::new(self.get(tool).unwrap_or_else(|| tool.into()))
    }

    pub(crate) fn versions(&self) -> Vec<Version> {
        let ask = |&(tool, arguments): &(&'static str, &[&str])| {
            let output = self.get(tool).map(|path| Command::new(path).args(arguments).output());
            let text = output.map(|output| output.map(|o| o.stdout).unwrap_or_default());
            let version = text.map(|text| {
                let text = String::from_utf8_lossy(&text).into_owned();
                let mut words = text.split_whitespace().map(|word| word.trim_start_matches('v'));
                let version = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit());
                words.find(version).unwrap_or_default().trim_end_matches(',').to_owned()
            });
            Version { tool, version }
        };
        VERSIONS.iter().map(ask).collect()
    }
}

/// Runs the commands side by side, each reading what the one before it writes. Fails if one does.
pub(crate) fn pipe(commands: &mut [Command]) -> Result<Duration, String> {
    let start = Instant::now();
    let mut input = Stdio::null();
    let mut children = Vec::new();
    let last = commands.len() - 1;
    for (number, command) in commands.iter_mut().enumerate() {
        let output = if number == last { Stdio::null() } else { Stdio::piped() };
        command.stdin(input).stdout(output).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
        input = child.stdout.take().map_or_else(Stdio::null, Stdio::from);
        children.push(child);
    }
    let mut failed = None;
    for (child, command) in children.into_iter().zip(commands) {
        let output = child.wait_with_output().map_err(|error| error.to_string())?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            let said = text.trim().lines().last().unwrap_or_default();
            let name = Path::new(command.get_program()).file_name().unwrap_or_default();
            failed = Some(format!("{}: {}: {said}", name.display(), output.status));
        }
    }
    match failed {
        Some(why) => Err(why),
        None => Ok(start.elapsed()),
    }
}
