//! From compressed bytes to files, beside the floors: inflating and hashing the same bytes, and
//! writing the same files. Ratios within one run are what counts.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark, and criterion's macros")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::fs;
use std::hint::black_box;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use skillmount::artifact::path::TreePath;
use skillmount::artifact::plan::{Action, Layer};
use skillmount::reference::Digest;
use skillmount::unpack::{DiskSink, Limits, MemorySink, Sink, Unpacker};
use support::{Tar, gzip, zstd};

const FILES: usize = 300;
const BYTES: usize = 10_000_000;

/// A file of text that compresses about as well as scripts and prose do.
fn content(number: usize) -> Vec<u8> {
    let mut state = number as u64 + 1;
    let mut text = Vec::with_capacity(BYTES / FILES);
    while text.len() < BYTES / FILES {
        // xorshift64: the same on every machine.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.extend_from_slice(format!("step {} of {number}\n", state % 100_000).as_bytes());
    }
    text
}

fn tar() -> Vec<u8> {
    let skill = Tar::new().file("SKILL.md", "---\nname: large\ndescription: Large.\n---\n", 0o644);
    (0..FILES).fold(skill, |tar, n| tar.file(&format!("data/{n:03}.md"), content(n), 0o644)).build()
}

fn layer(blob: &[u8]) -> Layer {
    let descriptor = serde_json::json!({
        "mediaType": "application/vnd.agentskills.skill.content.v1.tar",
        "digest": Digest::sha256(blob),
        "size": blob.len(),
    });
    Layer {
        descriptor: serde_json::from_value(descriptor).unwrap(),
        action: Action::Tar { under: TreePath::root() },
        diff_id: None,
    }
}

fn unpack<S: Sink>(sink: S, layer: &Layer, mut blob: &[u8]) {
    let mut unpacker = Unpacker::new(sink, Limits::default());
    unpacker.layer(layer, &mut blob).unwrap();
    black_box(unpacker.finish());
}

fn directory() -> (tempfile::TempDir, OwnedFd) {
    let directory = tempfile::tempdir().unwrap();
    let fd = fs::File::open(directory.path()).unwrap().into();
    (directory, fd)
}

fn benchmark(criterion: &mut Criterion) {
    let tar = tar();
    let mut group = criterion.benchmark_group("unpack 10 MB, 300 files");
    group.throughput(Throughput::Bytes(tar.len() as u64)).sample_size(20);
    group.bench_function("floor: write the files", |bencher| {
        let contents: Vec<_> = (0..FILES).map(content).collect();
        bencher.iter_batched(
            directory,
            |(directory, _)| {
                for (number, content) in contents.iter().enumerate() {
                    fs::write(directory.path().join(number.to_string()), content).unwrap();
                }
                directory
            },
            BatchSize::PerIteration,
        );
    });
    for (name, blob) in [("plain", tar.clone()), ("gzip", gzip(&tar)), ("zstd", zstd(&tar))] {
        let layer = layer(&blob);
        group.bench_function(format!("{name}, floor: inflate and hash"), |bencher| {
            bencher.iter(|| {
                black_box(Digest::sha256(&blob));
                let mut plain: Box<dyn Read> = match name {
                    "gzip" => Box::new(flate2::read::GzDecoder::new(&blob[..])),
                    "zstd" => Box::new(zstd::Decoder::new(&blob[..]).unwrap()),
                    _ => Box::new(&blob[..]),
                };
                io::copy(&mut plain, &mut io::sink()).unwrap()
            });
        });
        group.bench_function(format!("{name}, into memory"), |bencher| {
            bencher.iter(|| unpack(MemorySink::new(&Limits::default()), &layer, &blob));
        });
        group.bench_function(format!("{name}, to disk"), |bencher| {
            bencher.iter_batched(
                directory,
                |(directory, fd)| {
                    unpack(DiskSink::new(fd), &layer, &blob);
                    directory
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
