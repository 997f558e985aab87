//! Limits: each names itself, and stops the work early.

use std::io::{self, BufReader, Read};

use super::support::*;
use crate::artifact::plan::{Action, Layer};
use crate::unpack::{Exceeded, Limit, Limits, MemorySink, Problem, Unpacker};

#[test]
fn limits_name_themselves() {
    let small = Limits {
        layers: 2,
        entries: 5,
        file_bytes: 100,
        total_bytes: 250,
        depth: 3,
        ..Limits::default()
    };
    let tar = |archive: Tar| vec![(tar_layer(), archive.end())];
    let many = (0..6).fold(Tar::new(), |tar, n| tar.symlink(&format!("l{n}"), "x"));
    let big = "x".repeat(100);
    let total = Tar::new().file("a", &big).file("b", &big).file("c", &big);
    let raw = |title: &str, size| (Action::File { title: path(title) }, vec![b'x'; size]);
    let link = Tar::new().file("a", &big).link("b", "a").link("c", "a").link("d", "a");
    for (id, layers, limit, value) in [
        ("layers", vec![raw("a", 1), raw("b", 1), raw("c", 1)], Limit::Layers, 2),
        ("entries", tar(many), Limit::Entries, 5),
        ("parents", tar(Tar::new().file("a/b/c", "").file("d/e/f", "")), Limit::Entries, 5),
        ("file", tar(Tar::new().file("a", &"x".repeat(101))), Limit::FileBytes, 100),
        ("raw file", vec![raw("a", 101)], Limit::FileBytes, 100),
        ("total", tar(total), Limit::TotalBytes, 250),
        ("depth", tar(Tar::new().file("a/b/c/d", "")), Limit::Depth, 3),
    ] {
        match refuse(id, &layers, &small) {
            Problem::Limit(exceeded) => {
                assert_eq!((exceeded.limit, exceeded.value), (limit, value), "{id}");
                assert!(exceeded.to_string().contains(limit.flag()), "{id}");
                assert!(exceeded.to_string().contains(&value.to_string()), "{id}");
            }
            other => panic!("{id}: {other:?}"),
        }
    }
    unpack_into(MemorySink::new(&small), &small, &tar(link)).unwrap();

    let exceeded = Exceeded { limit: Limit::Depth, value: 3, at: Some("a/b\n".into()) };
    assert_eq!(
        exceeded.to_string(),
        "a path has more than 3 components, at \"a/b\\n\" (--max-depth raises this limit)"
    );
}

#[test]
fn a_raw_file_of_unknown_size_is_limited() {
    let limits = Limits { file_bytes: 1 << 20, ..Limits::default() };
    let mut layer = layer(&Action::File { title: path("a") }, b"");
    layer.descriptor.size = 0;
    let mut endless = Counted { source: io::repeat(b'x'), count: 0 };
    let error = Unpacker::new(MemorySink::new(&limits), limits)
        .layer(&layer, &mut BufReader::new(&mut endless))
        .unwrap_err();
    assert!(matches!(&error.problem, Problem::Limit(e) if e.limit == Limit::FileBytes));
    assert!(error.is_limit());
    assert!(endless.count < 2 << 20, "{}", endless.count);
}

struct Counted<R> {
    source: R,
    count: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.count += count as u64;
        Ok(count)
    }
}

/// A gzip of `header` and 10 GiB of zeros, made while it is read. Only the better levels exceed
/// the ratio: the fast ones compress zeros 158 times, and end at the stream's limit.
fn gzip_bomb(header: Vec<u8>) -> Counted<impl Read> {
    let zeros = io::Cursor::new(header).chain(io::repeat(0).take(10 << 30));
    let source = flate2::read::GzEncoder::new(zeros, flate2::Compression::best());
    Counted { source, count: 0 }
}

fn bomb_layer(action: Action) -> Layer {
    let mut layer = layer(&action, b"");
    layer.descriptor.size = 0;
    layer
}

#[test]
fn gzip_bombs_stop_early() {
    let first = Tar::new().file("SKILL.md", "s").0;
    let file = Header { name: b"zeros", size: 99 << 20, ..Header::default() };
    // As a file's content, and as padding behind the end.
    let content = Tar(first.clone()).header(&file).0;
    for (id, header) in [("content", content), ("padding", first)] {
        let limits = Limits::default();
        let mut bomb = gzip_bomb(header);
        let error = Unpacker::new(MemorySink::new(&limits), limits)
            .layer(&bomb_layer(tar_layer()), &mut BufReader::new(&mut bomb))
            .unwrap_err();
        assert!(
            matches!(&error.problem, Problem::Limit(e) if e.limit == Limit::Ratio),
            "{id}: {error:?}"
        );
        // Far less than 1/1000 of what the bomb would be, and nothing is drained after a limit.
        assert!(bomb.count < 1 << 20, "{id}: {}", bomb.count);
    }
}

#[test]
fn a_large_entry_is_refused_before_it_is_written() {
    let bench = Bench::new();
    let header = Header { name: b"big", size: 7 << 30, ..Header::default() };
    let mut blob = Counted { source: io::repeat(0), count: 0 };
    let mut bytes = io::Cursor::new(Tar::new().header(&header).0).chain(&mut blob);
    let error = Unpacker::new(bench.sink(), Limits::default())
        .layer(&bomb_layer(tar_layer()), &mut BufReader::new(&mut bytes))
        .unwrap_err();
    assert!(matches!(&error.problem, Problem::Limit(e) if e.limit == Limit::FileBytes));
    assert_eq!(listing(&bench.staging()), Vec::<String>::new());
    assert!(blob.count < 1 << 20);
}

#[test]
fn endless_padding_ends_at_the_stream_limit() {
    let limits = Limits { total_bytes: 0, entries: 1, ..Limits::default() };
    let mut blob = io::repeat(0);
    let error = Unpacker::new(MemorySink::new(&limits), limits)
        .layer(&bomb_layer(tar_layer()), &mut BufReader::new(&mut blob))
        .unwrap_err();
    assert!(matches!(&error.problem, Problem::Limit(e) if e.limit == Limit::StreamBytes));
}

#[test]
fn a_zstd_window_is_limited() {
    // Frame header: magic, no flags, window descriptor 2^(10 + 21) = 2 GiB, an RLE block.
    let bytes = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x03, 0x80, 0x00, 0x00];
    match refuse("M10", &vec![(tar_layer(), bytes.to_vec())], &Limits::default()) {
        Problem::ZstdWindow { log: 23 } => {}
        other => panic!("{other:?}"),
    }
}
