//! What kubelet waits for: publish and unpublish over the driver's socket, with a registry in this
//! process. Runs itself again below `unshare`, so that nothing of the machine's is mounted on.

#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs, reason = "a benchmark")]

#[path = "../tests/support/namespace.rs"]
mod namespace;
#[path = "../tests/support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::time::Instant;

use criterion::{BatchSize, Criterion};
use support::driver::{Driver, Setup, Volume};
use support::{Options, Registry, artifacts, skills};
use tokio::runtime::Runtime;

fn main() -> ExitCode {
    namespace::bench_in_namespace("publish", || {
        measure(&mut Criterion::default().configure_from_args());
    })
}

fn measure(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let _entered = runtime.enter();
    let root = tempfile::tempdir().unwrap();
    let registry = Registry::start(Options::default());
    let driver = runtime.block_on(Driver::start(root.path(), Setup::default()));
    let mut number = 0;
    let mut next = |reference: &str| {
        number += 1;
        driver.volume(&format!("csi-{number}"), reference)
    };
    let publish = |volume: &Volume| runtime.block_on(driver.publish(volume)).unwrap();
    let unpublish = |volume: &Volume| runtime.block_on(driver.unpublish(volume)).unwrap();
    artifacts::skillimage(&registry, "team/code-review", "v1", &skills::code_review());
    let reference = registry.reference("team/code-review", "v1");
    let published = next(&reference);
    publish(&published);

    let mut group = criterion.benchmark_group("volume");
    group.sample_size(50);
    group.bench_function("publish, not on the node yet", |bencher| {
        bencher.iter_custom(|rounds| {
            let mut volumes = Vec::new();
            for _ in 0..rounds {
                let skill = skills::code_review();
                let volume = next("x");
                // Another layer each time: the node has none of them.
                let tar = skill.tar().file("number", &volume.id, 0o644);
                let layers = [artifacts::Layer::gzip(tar.build())];
                artifacts::image(&registry, "team/new", &volume.id, &layers);
                let reference = registry.reference("team/new", &volume.id);
                volumes.push(volume.attribute("reference", &reference));
            }
            let start = Instant::now();
            volumes.iter().for_each(&publish);
            let took = start.elapsed();
            volumes.iter().for_each(&unpublish);
            took
        });
    });
    group.bench_function("publish, on the node", |bencher| {
        bencher.iter_custom(|rounds| {
            let volumes: Vec<_> = (0..rounds).map(|_| next(&reference)).collect();
            let start = Instant::now();
            volumes.iter().for_each(&publish);
            let took = start.elapsed();
            volumes.iter().for_each(&unpublish);
            took
        });
    });
    group.bench_function("publish again", |bencher| bencher.iter(|| publish(&published)));
    group.bench_function("unpublish", |bencher| {
        bencher.iter_batched(
            || {
                let volume = next(&reference);
                publish(&volume);
                volume
            },
            |volume| unpublish(&volume),
            BatchSize::PerIteration,
        );
    });
    group.finish();
    unpublish(&published);
    runtime.block_on(driver.stop());
}
