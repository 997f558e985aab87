//! A long run of the driver under load, with a registry that fails: `make soak`.
//!
//! One process of the driver publishes and unpublishes as fast as its callers ask, while tags move,
//! blobs disappear, answers break off and trees are collected and verified. What it takes of the
//! node is written down all the time; in the end it must be what it was. `cargo test` tries a few
//! seconds of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a benchmark")]
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a benchmark tells people")]
#![allow(missing_docs, reason = "a benchmark")]
#![allow(clippy::disallowed_methods, reason = "a load waits")]

#[path = "../whole/book.rs"]
mod book;
mod caller;
mod content;
mod driver;
#[path = "../whole/machine.rs"]
mod machine;
#[path = "../../tests/support/namespace.rs"]
mod namespace;
mod page;
mod plot;
#[path = "../../tests/conformance/process.rs"]
#[allow(dead_code, reason = "shared with the conformance tier")]
mod process;
mod sample;
#[path = "../../tests/support/mod.rs"]
mod support;
#[path = "../whole/table.rs"]
#[allow(dead_code, reason = "shared with another benchmark")]
mod table;
mod trouble;
mod verdict;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use tokio::sync::watch;

use caller::Caller;
use content::Content;
use driver::Driver;
use machine::Machine;
use sample::{Counts, Sample};
use support::{Random, Registry};

/// Runs the driver under load for a long time, and asserts that it stays as it is.
#[derive(Debug, Clone, Parser)]
#[command(name = "soak")]
struct Options {
    /// How long
    #[arg(long, value_name = "N", default_value_t = 30.0)]
    minutes: f64,
    /// Calls at a time
    #[arg(long, value_name = "N", default_value_t = 32)]
    callers: usize,
    /// Of what is chosen at random [default: the time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// The driver's binary [default: the one that cargo built with the harness]
    #[arg(long, value_name = "FILE", default_value = env!("CARGO_BIN_EXE_skillmount"))]
    binary: PathBuf,
    /// Directory for the state directory, on the file system that is to be used
    #[arg(long, value_name = "DIR", default_value = env!("CARGO_TARGET_TMPDIR"))]
    work: PathBuf,
    /// File for all samples [default: target/soak/SECONDS.csv]
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write docs/reliability.md and its plot anew
    #[arg(long)]
    write_docs: bool,
    /// cargo says so when it wants benchmarks measured, not tried
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    /// A few seconds, for whether the harness works.
    fn is_trial(&self) -> bool {
        !self.bench
    }

    fn duration(&self) -> Duration {
        if self.is_trial() {
            Duration::from_secs(4)
        } else {
            Duration::from_secs_f64(self.minutes * 60.0)
        }
    }

    /// Between two samples.
    fn period(&self) -> Duration {
        (self.duration() / 120).clamp(Duration::from_millis(100), Duration::from_secs(5))
    }
}

/// All of a run.
struct Report {
    machine: Machine,
    seed: u64,
    callers: usize,
    duration: Duration,
    /// Not long enough, or not built for speed: the numbers say nothing.
    trial: bool,
    /// Before the load, with the connections that it needs.
    idle: Sample,
    samples: Vec<Sample>,
    /// After it, with nothing published.
    after: Sample,
    counts: Arc<Counts>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    namespace::bench_in_namespace("soak", || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let report = runtime.block_on(run(&options));
        runtime.shutdown_timeout(Duration::from_secs(5));
        tell(&options, &report);
    })
}

async fn run(options: &Options) -> Report {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let seed = options.seed.unwrap_or(time);
    eprintln!("soak: {:?}, {} callers, seed {seed}", options.duration(), options.callers);
    std::fs::create_dir_all(&options.work).unwrap();
    let work = tempfile::tempdir_in(&options.work).unwrap();
    let mut machine = Machine::describe(work.path());
    let registry = Arc::new(Registry::start(content::options()));
    let content = Arc::new(Content::new(&registry));
    let driver = Arc::new(Driver::start(&options.binary, work.path(), &registry).await);
    let counts = Arc::<Counts>::default();
    let mut random = Random::new(seed);

    // What every run needs: connections, threads, sessions.
    let caller = Caller::new(0, &driver, &content, &counts, random.fork());
    caller.warm_up().await;
    let idle = Sample::take(&driver, &counts, &registry, Duration::ZERO).await;

    let (stop, stopped) = watch::channel(false);
    let begun = Instant::now();
    let callers = (1..=options.callers).map(|number| {
        let caller = Caller::new(number, &driver, &content, &counts, random.fork());
        tokio::spawn(caller.run(stopped.clone()))
    });
    let callers: Vec<_> = callers.collect();
    let troubling = trouble::run(registry.clone(), content, random.fork(), stopped.clone());
    let troubling = tokio::spawn(troubling);
    let mut samples = Vec::new();
    while begun.elapsed() < options.duration() {
        tokio::time::sleep(options.period()).await;
        samples.push(Sample::take(&driver, &counts, &registry, begun.elapsed()).await);
        let every = samples.len().is_multiple_of(12);
        if let Some(sample) = samples.last().filter(|_| every) {
            eprintln!("{}", sample.line());
        }
    }
    stop.send_replace(true);
    troubling.await.unwrap();
    for caller in callers {
        caller.await.unwrap();
    }
    // Connections to it are kept for a while.
    registry.stop().await;
    driver.settle(idle.values[sample::TASKS]).await;
    let after = Sample::take(&driver, &counts, &registry, begun.elapsed()).await;
    machine.finished();
    let trial = options.is_trial() || cfg!(debug_assertions);
    let driver = Arc::into_inner(driver).expect("all callers have ended");
    driver.stop().await;
    let (duration, callers) = (options.duration(), options.callers);
    Report { machine, seed, callers, duration, trial, idle, samples, after, counts }
}

fn tell(options: &Options, report: &Report) {
    println!("{}", page::text(report));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let default = || root.join(format!("target/soak/{}.csv", report.seed));
    let csv = options.csv.clone().unwrap_or_else(default);
    std::fs::create_dir_all(csv.parent().unwrap_or(root)).unwrap();
    std::fs::write(&csv, sample::csv(&report.samples)).unwrap();
    std::fs::write(csv.with_extension("svg"), plot::panels(report).unwrap()).unwrap();
    println!("all samples: {}", csv.display());
    if options.write_docs {
        page::write(report, &root.join("docs"));
    }
    let failed = verdict::failed(report);
    assert!(failed.is_empty(), "seed {}: {}", report.seed, failed.join("; "));
}
