//! Where and when it was measured.

use std::fs;
use std::os::unix::fs::MetadataExt;
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
    /// Share of the processors' time that the host gave to others meanwhile.
    stolen: f64,
    #[serde(skip)]
    before: Ticks,
}

/// Of all processors since the start of the machine (proc_stat(5)).
#[derive(Debug, Clone, Copy)]
struct Ticks {
    all: u64,
    stolen: u64,
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
            file_system: match journal(work) {
                Some(true) => "ext4 with a journal".into(),
                Some(false) => "ext4 without a journal".into(),
                None => text(Command::new("stat").args(["--file-system", "--format=%T", "."])),
            },
            started: text(Command::new("date").args(["--utc", "+%Y-%m-%d %H:%M"])),
            commit: text(
                Command::new("git")
                    .arg("-C")
                    .arg(env!("CARGO_MANIFEST_DIR"))
                    .args(["describe", "--always", "--dirty"]),
            ),
            load: [load(), 0.0],
            stolen: 0.0,
            before: ticks(),
        }
    }

    /// Whether others were at work too.
    pub(crate) fn was_busy(&self) -> bool {
        self.load[0] > 0.5 * self.processors as f64 || self.stolen > 0.02
    }

    pub(crate) fn finished(&mut self) {
        self.load[1] = load();
        let (before, after) = (self.before, ticks());
        let all = after.all.saturating_sub(before.all).max(1);
        self.stolen = after.stolen.saturating_sub(before.stolen) as f64 / all as f64;
    }

    pub(crate) fn sentence(&self) -> String {
        let sha = if self.sha { "with" } else { "without" };
        let busy = match self.was_busy() {
            true => "; **others were at work on it: only the ratios say something**",
            false => "",
        };
        format!(
            "{} UTC, commit {}: {} processors ({}, {sha} SHA instructions), {} MiB, {}, {}; \
             load {:.1} before and {:.1} at the end, {:.1} % of the processors taken by the host{busy}.",
            self.started,
            self.commit,
            self.processors,
            self.processor,
            self.memory_mib,
            self.kernel,
            self.file_system,
            self.load[0],
            self.load[1],
            self.stolen * 100.0,
        )
    }
}

/// Whether an ext4 file system has a journal; of any other nothing.
pub(crate) fn journal(work: &Path) -> Option<bool> {
    let device = fs::metadata(work).ok()?.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let device = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    let task = Path::new("/sys/fs/ext4").join(device.file_name()?).join("journal_task");
    Some(fs::read_to_string(task).ok()?.trim() != "<none>")
}

fn ticks() -> Ticks {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let total = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let fields: Vec<u64> = total.filter_map(|field| field.parse().ok()).collect();
    Ticks { all: fields.iter().take(8).sum(), stolen: fields.get(7).copied().unwrap_or(0) }
}

fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or_default()
}
