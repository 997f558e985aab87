//! The whole, beside what people would use instead and beside the floors: `make bench`.
//!
//! Starts Debian's docker-registry, pushes skills of three sizes, and measures in turns. Runs itself
//! again below `unshare`, so that nothing of the machine's is mounted on. Only ratios within one run
//! count.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a benchmark")]
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a benchmark tells people")]
#![allow(missing_docs, reason = "a benchmark")]
#![allow(
    clippy::disallowed_methods,
    reason = "it removes what it made, and waits outside of tasks"
)]

mod bench;
mod book;
mod caller;
mod cold;
mod containerd;
mod contest;
mod crowd;
mod driver;
mod floors;
mod footprint;
mod machine;
#[path = "../../tests/support/namespace.rs"]
mod namespace;
mod options;
mod page;
mod peers;
mod plot;
#[path = "../../tests/conformance/process.rs"]
#[allow(dead_code, reason = "shared with the conformance tier")]
mod process;
mod proxy;
mod registry;
mod report;
mod sharing;
mod skills;
#[path = "../../tests/support/mod.rs"]
mod support;
mod table;
mod targets;
mod times;
mod tools;
mod trips;
mod warm;

use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Parser;
use skillmount::registry::install_crypto_provider;

use bench::Bench;
use machine::Machine;
use options::{Options, Part};
use report::Report;

fn main() -> ExitCode {
    let options = Options::parse();
    if !options.bench && !options.quick {
        eprintln!("whole is not measured: `make bench` does, and --quick tries it");
        return ExitCode::SUCCESS;
    }
    namespace::bench_in_namespace("whole", || run(options))
}

fn run(options: Options) {
    install_crypto_provider();
    let mut bench = Bench::new(options.clone());
    let machine = Machine::describe(bench.root());
    eprintln!("making and pushing the skills");
    bench.push();
    let mut report = measure(&bench, machine);
    report.machine.finished();
    report.targets = targets::targets(&bench, &report);
    bench.stop();
    println!("{}", page::text(&report));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let json =
        options.json.unwrap_or_else(|| root.join(format!("target/bench/whole-{}.json", report.at)));
    std::fs::create_dir_all(json.parent().unwrap_or(root)).unwrap();
    std::fs::write(&json, serde_json::to_vec(&report).unwrap()).unwrap();
    println!("all samples: {}", json.display());
    if options.write_docs {
        page::write(&report, &root.join("docs"));
    }
}

fn measure(bench: &Bench, machine: Machine) -> Report {
    let options = &bench.options;
    let skills = bench.artifacts.iter().map(|artifact| {
        let (size, kind) = (artifact.size.title, artifact.compressed);
        format!("{size}: {:.3} MB of {kind:?}", artifact.layer_bytes as f64 / 1e6)
    });
    let wants = |part| options.wants(part);
    Report {
        machine,
        at: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        trial: options.quick || cfg!(debug_assertions),
        versions: bench.tools.versions(),
        skills: skills.collect(),
        warm: if wants(Part::Warm) { warm::contests(bench) } else { vec![] },
        trips: if wants(Part::Trips) { trips::measure(bench) } else { vec![] },
        crowds: if wants(Part::Crowd) { crowd::crowds(bench) } else { vec![] },
        series: wants(Part::Crowd).then(|| crowd::series(bench)),
        sharing: wants(Part::Sharing).then(|| sharing::measure(bench)),
        footprint: wants(Part::Footprint).then(|| footprint::measure(bench)),
        cold: if wants(Part::Cold) { cold::contests(bench) } else { vec![] },
        targets: vec![],
    }
}
