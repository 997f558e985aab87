//! What the driver takes of a node: memory, disk for the binary, time to start.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde::Serialize;
use skillmount::csi::v1::ProbeRequest;

use crate::bench::{Artifact, Bench, LARGE_VARIANTS, VARIANTS};
use crate::driver::{Driver, node};
use crate::skills::Compressed;
use crate::support::driver::Client;
use crate::times::Times;

const ROUNDS: usize = 9;

/// Publishes of what is stored, after each that was not.
const STORED: usize = 30;

#[derive(Debug, Serialize)]
pub(crate) struct Footprint {
    pub(crate) builds: Vec<Build>,
    /// The most memory, in KiB, while it pulled the large skill: once, with zstd, eight at once.
    pub(crate) gzip: u64,
    pub(crate) zstd: u64,
    pub(crate) eight: u64,
    pub(crate) crowded: Crowded,
}

/// A start on a node that has volumes.
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
    /// How; none of the one that all else is measured of.
    pub(crate) name: Option<String>,
    pub(crate) bytes: u64,
    /// From the start of the process to the answer to the first Probe.
    pub(crate) ready: Times,
    /// Memory in KiB when it has nothing to do.
    pub(crate) idle: u64,
    /// Cold publishes of the medium and the large skill.
    pub(crate) medium: Times,
    pub(crate) gzip: Times,
    pub(crate) zstd: Times,
    /// Publishes of what is stored.
    pub(crate) stored: Times,
}

pub(crate) fn measure(bench: &Bench) -> Footprint {
    let binary = &bench.options.binary;
    let others = bench.options.compare.iter();
    let mut binaries = vec![(None, binary.as_path())];
    binaries.extend(others.map(|other| (Some(other.name.clone()), other.binary.as_path())));
    let builds = builds(bench, &binaries);
    let [gzip, zstd] = [Compressed::Gzip, Compressed::Zstd].map(|compressed| {
        let repository = &bench.artifact("large", compressed).repository;
        peak(bench, binary, &[(repository, "image".to_owned())])
    });
    let eight: Vec<_> = (1..=8).map(|tag: u32| (LARGE_VARIANTS, tag.to_string())).collect();
    let eight = peak(bench, binary, &eight);
    Footprint { builds, gzip, zstd, eight, crowded: crowded(bench, binary) }
}

fn builds(bench: &Bench, binaries: &[(Option<String>, &Path)]) -> Vec<Build> {
    let mut builds: Vec<Build> = binaries
        .iter()
        .map(|(name, path)| Build {
            name: name.clone(),
            bytes: path.metadata().unwrap().len(),
            ready: Times::default(),
            idle: idle(bench, path),
            medium: Times::default(),
            gzip: Times::default(),
            zstd: Times::default(),
            stored: Times::default(),
        })
        .collect();
    for round in 0..bench.options.rounds(ROUNDS) {
        eprintln!("builds: round {}", round + 1);
        for (build, (_, path)) in builds.iter_mut().zip(binaries) {
            build.ready.push(ready(bench, path, &bench.directory("start")));
            for (times, name, compressed) in [
                (&mut build.medium, "medium", Compressed::Gzip),
                (&mut build.gzip, "large", Compressed::Gzip),
                (&mut build.zstd, "large", Compressed::Zstd),
            ] {
                cold(bench, path, bench.artifact(name, compressed), times, &mut build.stored);
            }
        }
    }
    builds
}

/// A publish by a driver that was just started; then many of what it has.
fn cold(bench: &Bench, binary: &Path, artifact: &Artifact, times: &mut Times, stored: &mut Times) {
    let driver = Driver::start_binary(bench, &bench.registry.plain, binary);
    bench.settle();
    for round in 0..=STORED {
        let volume = driver.volume(&artifact.repository, "image");
        let took = driver.publish(&volume);
        driver.unpublish(&volume);
        match round {
            0 => times.push(took),
            _ => stored.push(took),
        }
    }
    driver.stop();
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
    driver.alone.block_on(join_all(volumes.iter().map(publish)));
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
    let root = driver.leave();
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
