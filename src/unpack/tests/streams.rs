//! Sizes, digests, compression, and sources that fail.

use std::io::{self, BufReader, Read};

use super::support::*;
use crate::artifact::plan::{Action, Layer};
use crate::reference::Digest;
use crate::unpack::{Limits, MemorySink, Problem, UnpackError, Unpacker};

fn unpack(layer: &Layer, blob: &mut (dyn Read + Send)) -> Result<(), UnpackError> {
    let limits = Limits::default();
    Unpacker::new(MemorySink::new(&limits), limits).layer(layer, &mut BufReader::new(blob))
}

#[test]
fn bytes_must_be_those_of_the_manifest() {
    let tar = gzip(&Tar::new().file("a", &"content ".repeat(1000)).end());
    let good = layer(&tar_layer(), &tar);
    unpack(&good, &mut Slow(&tar)).unwrap();
    let mut sizeless = good.clone();
    sizeless.descriptor.size = 0;
    unpack(&sizeless, &mut Slow(&tar)).unwrap();

    let cut = &tar[..tar.len() - 10];
    let error = unpack(&good, &mut Slow(cut)).unwrap_err();
    assert!(matches!(error.problem, Problem::TooShort { .. }), "{error:?}");
    let error = unpack(&sizeless, &mut Slow(cut)).unwrap_err();
    assert!(matches!(error.problem, Problem::DigestMismatch { .. }), "{error:?}");
    let more = [tar.as_slice(), b"x"].concat();
    let error = unpack(&good, &mut Slow(&more)).unwrap_err();
    assert!(matches!(error.problem, Problem::TooLong { .. }), "{error:?}");

    // Whatever the damage looks like, the digest is what is wrong.
    for at in [0, 5, 20, tar.len() - 4] {
        let mut bad = tar.clone();
        bad[at] ^= 0x55;
        let error = unpack(&good, &mut Slow(&bad)).unwrap_err();
        assert!(matches!(error.problem, Problem::DigestMismatch { .. }), "{at}: {error:?}");
    }
    let mut other = good.clone();
    other.descriptor.digest = Digest::sha256(b"other");
    let error = unpack(&other, &mut Slow(&tar)).unwrap_err();
    let short = Digest::sha256(b"other").short();
    let actual = Digest::sha256(&tar);
    assert_eq!(
        chain(&error),
        format!(
            "cannot unpack layer {short}: its bytes have digest {actual}, the manifest says {}",
            Digest::sha256(b"other")
        )
    );
    assert!(!error.is_read() && !error.is_limit());
    let raw = Layer { action: Action::File { title: path("a") }, ..other };
    let error = unpack(&raw, &mut Slow(&tar)).unwrap_err();
    assert!(matches!(error.problem, Problem::DigestMismatch { .. }), "{error:?}");
}

#[test]
fn compressions() {
    let tar = Tar::new().file("a", "x").end();
    for (tail, name) in [(&b"garbage"[..], "text"), (&[0; 512], "zeros"), (b"\x1f", "half a magic")]
    {
        let bytes = [gzip(&tar).as_slice(), tail].concat();
        let error = unpack(&layer(&tar_layer(), &bytes), &mut Slow(&bytes)).unwrap_err();
        assert!(matches!(error.problem, Problem::Decompress { format: "gzip", .. }), "{name}");
    }
    let zstd = zstd::encode_all(tar.as_slice(), 3).unwrap();
    for bytes in [[zstd.as_slice(), b"garbage"].concat(), zstd[..zstd.len() - 2].to_vec()] {
        let error = unpack(&layer(&tar_layer(), &bytes), &mut Slow(&bytes)).unwrap_err();
        assert!(matches!(error.problem, Problem::Decompress { format: "zstd", .. }), "{error:?}");
    }
    for (magic, name) in
        [(&b"\xfd7zXZ\0"[..], "xz"), (b"BZh9", "bzip2"), (b"\x04\x22\x4d\x18", "lz4")]
    {
        for action in [tar_layer(), Action::ImageLayer, Action::Unknown] {
            let error = unpack(&layer(&action, magic), &mut Slow(magic)).unwrap_err();
            assert!(matches!(error.problem, Problem::Compression(found) if found == name));
        }
    }
}

/// Breaks after some bytes, as connections do.
struct Broken<'a>(&'a [u8]);

impl Read for Broken<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::Error::new(io::ErrorKind::ConnectionReset, "reset by peer")),
            count => Ok(count),
        }
    }
}

#[test]
fn a_broken_source_is_told_apart() {
    let plain = Tar::new().file("a", &"content ".repeat(1000)).end();
    let zipped = gzip(&plain);
    let zstd = zstd::encode_all(plain.as_slice(), 3).unwrap();
    let file = Action::File { title: path("a") };
    for action in [tar_layer(), file, Action::Unknown, Action::TitledArchive { title: path("a") }] {
        for bytes in [&plain, &zipped, &zstd] {
            for cut in [0, 3, bytes.len() / 2, bytes.len() - 1] {
                let error = unpack(&layer(&action, bytes), &mut Broken(&bytes[..cut])).unwrap_err();
                assert!(error.is_read() && !error.is_limit(), "{action:?} {cut}: {error:?}");
                let Problem::Read { source } = error.problem else { panic!() };
                assert_eq!(source.kind(), io::ErrorKind::ConnectionReset);
            }
        }
    }
}

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(next).collect()
}

#[test]
fn what_was_looked_at_is_not_lost() {
    let noise = noise(600 << 10);
    let tar = Tar::new()
        .header(&Header { name: b"noise", size: noise.len() as u64, ..Header::default() })
        .body(&noise)
        .end();
    let zstd = zstd::encode_all(tar.as_slice(), 1).unwrap();
    let zipped_noise = gzip(&noise);
    let archive = || Action::TitledArchive { title: path("title") };
    for (action, bytes, name, expected) in [
        (archive(), &noise, "title", &noise),
        (archive(), &zipped_noise, "title", &zipped_noise),
        (archive(), &tar, "noise", &noise),
        (archive(), &gzip(&tar), "noise", &noise),
        (archive(), &zstd, "noise", &noise),
        (Action::Unknown, &zstd, "noise", &noise),
    ] {
        let bench = Bench::new();
        let layers = vec![(action, bytes.clone())];
        unpack_into(bench.sink(), &Limits::default(), &layers).unwrap();
        assert!(std::fs::read(bench.staging().join(name)).unwrap() == *expected, "{name}");
    }
}

#[test]
fn a_layer_that_claims_too_much_is_not_read() {
    let limits = Limits::default();
    let mut claim = layer(&tar_layer(), b"");
    claim.descriptor.size = limits.stream_bytes() + 1;
    let mut blob = BufReader::new(Broken(b""));
    let error = Unpacker::new(MemorySink::new(&limits), limits).layer(&claim, &mut blob);
    assert!(error.unwrap_err().is_limit());
}

#[test]
fn damage_with_a_right_digest_is_blamed_on_the_bytes() {
    let bytes = [gzip(b"not a tar, but long enough for none").as_slice(), &[0x1f; 100]].concat();
    let mut honest = layer(&tar_layer(), &bytes);
    for size in [bytes.len() as u64, 0] {
        honest.descriptor.size = size;
        let error = unpack(&honest, &mut Slow(&bytes)).unwrap_err();
        assert!(matches!(error.problem, Problem::Decompress { .. }), "{error:?}");
    }
    // Once the source breaks, nobody knows what the bytes would have been.
    let error = unpack(&honest, &mut Broken(&bytes)).unwrap_err();
    assert!(error.is_read(), "{error:?}");
}
