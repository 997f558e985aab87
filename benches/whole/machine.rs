//! Where and when it was measured.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde::Serialize;

#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    processor: String,
    processors: usize,
    /// Of the processors: hashing depends on it.
    sha: bool,
    memory_mib: u64,
    kernel: String,
    file_system: String,
    /// UTC.
    started: String,
    commit: String,
    /// Average of the minute before the run began, and of its last one.
    load: [f64; 2],
}

impl Machine {
    /// `work` is on the file system that is measured.
    pub(crate) fn describe(work: &Path) -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |name: &str| {
            let line = cpuinfo.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_once(": ").map_or("", |(_, value)| value).trim().to_owned()
        };
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let memory = meminfo.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok());
        let text = |command: &mut Command| {
            let output = command.current_dir(work).output();
            let output = output.map(|output| output.stdout).unwrap_or_default();
            String::from_utf8_lossy(&output).trim().to_owned()
        };
        Self {
            processor: field("model name"),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            sha: field("flags").split(' ').any(|flag| flag == "sha_ni"),
            memory_mib: memory.unwrap_or_default() / 1024,
            kernel: text(Command::new("uname").args(["--kernel-name", "--kernel-release"])),
            file_system: text(Command::new("stat").args(["--file-system", "--format=%T", "."])),
            started: text(Command::new("date").args(["--utc", "+%Y-%m-%d %H:%M"])),
            commit: text(
                Command::new("git")
                    .arg("-C")
                    .arg(env!("CARGO_MANIFEST_DIR"))
                    .args(["describe", "--always", "--dirty"]),
            ),
            load: [load(), 0.0],
        }
    }

    /// Whether others were at work too.
    pub(crate) fn was_busy(&self) -> bool {
        self.load[0] > 0.5 * self.processors as f64
    }

    pub(crate) fn finished(&mut self) {
        self.load[1] = load();
    }

    pub(crate) fn sentence(&self) -> String {
        let sha = if self.sha { "with" } else { "without" };
        let busy = match self.was_busy() {
            true => "; **others were at work on it: only the ratios say something**",
            false => "",
        };
        format!(
            "{} UTC, commit {}: {} processors ({}, {sha} SHA instructions), {} MiB, {}, {}; \
             load {:.1} before and {:.1} at the end{busy}.",
            self.started,
            self.commit,
            self.processors,
            self.processor,
            self.memory_mib,
            self.kernel,
            self.file_system,
            self.load[0],
            self.load[1],
        )
    }
}

fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or_default()
}
