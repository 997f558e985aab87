//! What the driver takes of a node: memory, disk for the binary, time to start.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde::Serialize;
use skillmount::csi::v1::ProbeRequest;

use crate::bench::{Bench, LARGE_VARIANTS, VARIANTS};
use crate::driver::{Driver, node};
use crate::skills::Compressed;
use crate::support::driver::Client;
use crate::times::Times;

const ROUNDS: usize = 9;

#[derive(Debug, Serialize)]
pub(crate) struct Footprint {
    pub(crate) builds: Vec<Build>,
    /// The most memory, in KiB, of the build that is shipped while it pulled the large skill: once,
    /// with zstd, eight at once.
    pub(crate) gzip: u64,
    pub(crate) zstd: u64,
    pub(crate) eight: u64,
    pub(crate) crowded: Crowded,
}

/// A start of the build that is shipped on a node that has volumes.
#[derive(Debug, Serialize)]
pub(crate) struct Crowded {
    /// Published, each with a tree of its own.
    pub(crate) volumes: usize,
    /// From the start of the process to the answer to the first Probe.
    pub(crate) ready: Times,
}

/// One way to build the binary.
#[derive(Debug, Serialize)]
pub(crate) struct Build {
    /// cargo's profile.
    pub(crate) profile: &'static str,
    pub(crate) bytes: u64,
    /// From the start of the process to the answer to the first Probe.
    pub(crate) ready: Times,
    /// Memory in KiB when it has nothing to do.
    pub(crate) idle: u64,
    /// Cold publishes of the medium and the large skill.
    pub(crate) medium: Times,
    pub(crate) large: Times,
}

pub(crate) fn measure(bench: &Bench) -> Footprint {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    // As the image has it, if there is a compiler for that.
    let musl = format!("{}-unknown-linux-musl/dist/skillmount", std::env::consts::ARCH);
    let dist = [("dist, static", musl.as_str()), ("dist", "dist/skillmount")];
    let mut dist = dist.map(|(profile, path)| (profile, target.join(path))).into_iter();
    let measured = if cfg!(debug_assertions) { "dev" } else { "release" };
    let mut binaries: Vec<(&'static str, PathBuf)> = vec![(measured, bench.options.binary.clone())];
    binaries.extend(dist.find(|(_, path)| path.is_file()));
    // What is shipped, if it is there: a binary's pages are part of its memory.
    let shipped = binaries.last().map_or(&bench.options.binary, |(_, path)| path).clone();
    let builds = builds(bench, binaries);
    let [gzip, zstd] = [Compressed::Gzip, Compressed::Zstd].map(|compressed| {
        let repository = &bench.artifact("large", compressed).repository;
        peak(bench, &shipped, &[(repository, "image".to_owned())])
    });
    let eight: Vec<_> = (1..=8).map(|tag: u32| (LARGE_VARIANTS, tag.to_string())).collect();
    let eight = peak(bench, &shipped, &eight);
    Footprint { builds, gzip, zstd, eight, crowded: crowded(bench, &shipped) }
}

fn builds(bench: &Bench, binaries: Vec<(&'static str, PathBuf)>) -> Vec<Build> {
    let mut builds: Vec<Build> = binaries
        .iter()
        .map(|(profile, path)| Build {
            profile,
            bytes: path.metadata().unwrap().len(),
            ready: Times::default(),
            idle: idle(bench, path),
            medium: Times::default(),
            large: Times::default(),
        })
        .collect();
    for round in 0..bench.options.rounds(ROUNDS) {
        eprintln!("builds: round {}", round + 1);
        for (build, (_, path)) in builds.iter_mut().zip(&binaries) {
            build.ready.push(ready(bench, path, &bench.directory("start")));
            build.medium.push(cold(bench, path, "medium"));
            if binaries.len() > 1 {
                build.large.push(cold(bench, path, "large"));
            }
        }
    }
    builds
}

fn cold(bench: &Bench, binary: &Path, name: &str) -> Duration {
    let driver = Driver::start_binary(bench, &bench.registry.plain, binary);
    bench.settle();
    let volume = driver.volume(&bench.artifact(name, Compressed::Gzip).repository, "image");
    let took = driver.publish(&volume);
    driver.unpublish(&volume);
    driver.stop();
    took
}

fn idle(bench: &Bench, binary: &Path) -> u64 {
    let driver = Driver::start_binary(bench, &bench.registry.plain, binary);
    let memory = driver.memory("VmRSS");
    driver.stop();
    memory
}

/// Publishes all at once; returns the most memory that the driver had.
fn peak(bench: &Bench, binary: &Path, references: &[(&str, String)]) -> u64 {
    eprintln!("memory: {} at once", references.len());
    bench.settle();
    let driver = Driver::start_binary(bench, &bench.registry.plain, binary);
    let volumes: Vec<_> =
        references.iter().map(|(repository, tag)| driver.volume(repository, tag)).collect();
    let publish = async |volume| driver.client.publish(volume).await.unwrap();
    driver.caller.block_on(join_all(volumes.iter().map(publish)));
    let memory = driver.memory("VmHWM");
    volumes.iter().for_each(|volume| _ = driver.unpublish(volume));
    driver.stop();
    memory
}

fn crowded(bench: &Bench, binary: &Path) -> Crowded {
    let (access, count) = (&bench.registry.plain, bench.options.crowd());
    eprintln!("start: {count} volumes published");
    let driver = Driver::start_binary(bench, access, binary);
    let volumes: Vec<_> =
        (1..=count).map(|tag| driver.volume(VARIANTS, &tag.to_string())).collect();
    volumes.iter().for_each(|volume| _ = driver.publish(volume));
    let root = driver.stop();
    bench.settle();
    let mut times = Times::default();
    // The first brings the trees to the disk that the last driver has not.
    for round in 0..=bench.options.rounds(ROUNDS) {
        let took = ready(bench, binary, &root);
        if round > 0 {
            times.push(took);
        }
    }
    let driver = Driver::start_in(bench, access, binary, root);
    volumes.iter().for_each(|volume| _ = driver.unpublish(volume));
    driver.stop();
    Crowded { volumes: count, ready: times }
}

/// From the start of the process, on what `root` has, to its answer.
fn ready(bench: &Bench, binary: &Path, root: &Path) -> Duration {
    let sockets = tempfile::tempdir().unwrap();
    let socket = sockets.path().join("csi.sock");
    let mut command = node(binary, &bench.registry.plain, root, &socket);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    bench.runtime.block_on(async {
        let start = Instant::now();
        let mut child = command.spawn().unwrap();
        while tokio::net::UnixStream::connect(&socket).await.is_err() {
            assert!(start.elapsed() < Duration::from_secs(60), "the driver does not start");
            std::thread::sleep(Duration::from_micros(200));
        }
        Client::connect(&socket).await.identity().probe(ProbeRequest {}).await.unwrap();
        let took = start.elapsed();
        child.kill().await.unwrap();
        took
    })
}
