//! What the driver takes of the node at one moment, and what was done until then.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::driver::Driver;
use crate::support::Registry;

/// What the callers have done.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) published: AtomicU64,
    /// With a final code.
    pub(crate) refused: AtomicU64,
    /// With another code, or given up by the caller.
    pub(crate) unfinished: AtomicU64,
    pub(crate) unpublished: AtomicU64,
    /// Requests that the registry has answered.
    requests: AtomicU64,
    wrong: Mutex<Vec<String>>,
}

impl Counts {
    /// Notes what must not be.
    pub(crate) fn wrong(&self, what: &str) {
        eprintln!("wrong: {what}");
        self.wrong.lock().unwrap().push(what.into());
    }

    pub(crate) fn wrongs(&self) -> Vec<String> {
        self.wrong.lock().unwrap().clone()
    }
}

/// The values, in the order of [`SERIES`].
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    /// Since the load began.
    pub(crate) seconds: f64,
    pub(crate) values: [f64; SERIES.len()],
}

/// What a value is.
pub(crate) struct Series {
    pub(crate) name: &'static str,
    /// For people; empty for a number of things.
    pub(crate) unit: &'static str,
}

const fn series(name: &'static str, unit: &'static str) -> Series {
    Series { name, unit }
}

pub(crate) const RSS: usize = 0;
pub(crate) const DESCRIPTORS: usize = 1;
pub(crate) const THREADS: usize = 2;
pub(crate) const TASKS: usize = 3;
pub(crate) const MOUNTS: usize = 4;
pub(crate) const RECORDS: usize = 5;
pub(crate) const TREES: usize = 6;
pub(crate) const FILES: usize = 7;
pub(crate) const BYTES: usize = 8;
pub(crate) const NOTES: usize = 9;
pub(crate) const PUBLISHED: usize = 10;
pub(crate) const REFUSED: usize = 11;
pub(crate) const UNFINISHED: usize = 12;
pub(crate) const UNPUBLISHED: usize = 13;
pub(crate) const REQUESTS: usize = 14;

pub(crate) const SERIES: [Series; 15] = [
    series("memory (RSS)", "MiB"),
    series("file descriptors", ""),
    series("threads", ""),
    series("tasks", ""),
    series("mounts", ""),
    series("records", ""),
    series("trees", ""),
    series("files of trees", ""),
    series("bytes of trees", "MiB"),
    series("manifests, references, grants", ""),
    series("published", ""),
    series("refused", ""),
    series("unfinished", ""),
    series("unpublished", ""),
    series("requests", ""),
];

impl Sample {
    pub(crate) async fn take(
        driver: &Driver,
        counts: &Counts,
        registry: &Registry,
        since: Duration,
    ) -> Self {
        let tasks = driver.metric("skillmount_tasks").await;
        counts.requests.fetch_add(registry.requests().len() as u64, Relaxed);
        registry.clear();
        let state = driver.root.join("state");
        let mut trees = (0, 0);
        measure(&state.join("trees"), &mut trees);
        let names = |name: &str| fs::read_dir(state.join(name)).map_or(0, Iterator::count);
        let notes = ["manifests", "references", "grants"].map(names);
        let descriptors = fs::read_dir(format!("/proc/{}/fd", driver.id()));
        let mib = f64::from(1 << 20);
        let mut values = [0.0; SERIES.len()];
        for (series, value) in [
            (RSS, driver.status("VmRSS") as f64 * 1024.0 / mib),
            // Another user's, to whoever is root in a namespace of their own only.
            (DESCRIPTORS, descriptors.map_or(f64::NAN, |found| found.count() as f64)),
            (THREADS, driver.threads() as f64),
            (TASKS, tasks as f64),
            (MOUNTS, mounts(&driver.root) as f64),
            (RECORDS, names("volumes") as f64),
            (TREES, described(&state.join("trees")) as f64),
            (FILES, trees.0 as f64),
            (BYTES, trees.1 as f64 / mib),
            (NOTES, notes.iter().sum::<usize>() as f64),
            (PUBLISHED, counts.published.load(Relaxed) as f64),
            (REFUSED, counts.refused.load(Relaxed) as f64),
            (UNFINISHED, counts.unfinished.load(Relaxed) as f64),
            (UNPUBLISHED, counts.unpublished.load(Relaxed) as f64),
            (REQUESTS, counts.requests.load(Relaxed) as f64),
        ] {
            values[series] = value;
        }
        Self { seconds: since.as_secs_f64(), values }
    }

    /// For whoever waits.
    pub(crate) fn line(&self) -> String {
        let mut line = format!("{:.0} s:", self.seconds);
        for (series, value) in SERIES.iter().zip(self.values) {
            write!(line, " {} {value:.1}{},", series.name, series.unit).unwrap();
        }
        line
    }
}

/// All samples, with a heading.
pub(crate) fn csv(samples: &[Sample]) -> String {
    let mut text = String::from("seconds");
    for Series { name, unit } in &SERIES {
        let name = name.replace(", ", " ");
        match *unit {
            "" => write!(text, ",{name}").unwrap(),
            unit => write!(text, ",{name} {unit}").unwrap(),
        }
    }
    text.push('\n');
    for sample in samples {
        write!(text, "{:.3}", sample.seconds).unwrap();
        for value in sample.values {
            write!(text, ",{value}").unwrap();
        }
        text.push('\n');
    }
    text
}

/// Files and bytes below a directory. What goes meanwhile does not count.
fn measure(directory: &Path, sum: &mut (u64, u64)) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(found) if found.is_dir() => measure(&entry.path(), sum),
            Ok(found) => *sum = (sum.0 + 1, sum.1 + found.len()),
            Err(_) => {}
        }
    }
}

fn described(trees: &Path) -> usize {
    let names = fs::read_dir(trees).into_iter().flatten().flatten();
    names.filter(|entry| entry.file_name().to_string_lossy().ends_with(".json")).count()
}

/// Below a directory, in this namespace.
fn mounts(root: &Path) -> usize {
    let table = fs::read("/proc/self/mountinfo").unwrap();
    let mounts = skillmount::mount::parse_mountinfo(&table).unwrap();
    mounts.iter().filter(|mount| mount.mount_point.starts_with(root)).count()
}
