//! From a registry's bytes to an archive's: size and digest checked, decompressed, metered.

use std::io::{self, BufReader, Chain, Cursor, Read};

use flate2::bufread::MultiGzDecoder;

use crate::artifact::descriptor::Descriptor;
use crate::reference::{Digest, Hasher};

use super::error::Problem;
use super::limits::{Exceeded, Limit, Limits, OVERHEAD, RATIO_FLOOR};

/// The buffer between source and decoder, in bytes.
const BUFFER: usize = 128 << 10;

/// A blob as it arrives: hashed and counted on its way.
#[derive(Debug)]
pub struct Blob<R> {
    source: R,
    digest: Digest,
    size: u64,
    cap: u64,
    read: u64,
    hasher: Option<Hasher>,
}

impl<R: Read> Blob<R> {
    /// A blob that must be what `descriptor` says. A descriptor of size 0 does not know the
    /// size; `cap` is then the limit, in bytes.
    pub fn new(source: R, descriptor: &Descriptor, cap: u64) -> Self {
        let digest = descriptor.digest.clone();
        let hasher = Some(Hasher::new(digest.algorithm()));
        Self { source, digest, size: descriptor.size, cap, read: 0, hasher }
    }

    /// How many bytes have arrived.
    pub fn bytes_read(&self) -> u64 {
        self.read
    }

    /// Reads what is left, and compares size and digest.
    pub fn finish(&mut self) -> Result<(), Problem> {
        let mut rest = vec![0; BUFFER];
        loop {
            match self.read(&mut rest) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => return Err(from_stream(error)),
            }
        }
        if self.size > 0 && self.read < self.size {
            return Err(Problem::TooShort { size: self.size, got: self.read });
        }
        // Only the first call has a digest to compare.
        match self.hasher.take().map(Hasher::finish) {
            Some(actual) if actual != self.digest => {
                Err(Problem::DigestMismatch { expected: self.digest.clone(), actual })
            }
            _ => Ok(()),
        }
    }
}

impl<R: Read> Read for Blob<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = loop {
            match self.source.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(Problem::Read { source }.into_io()),
                Ok(count) => break count,
            }
        };
        self.read = self.read.saturating_add(count as u64);
        if self.size > 0 && self.read > self.size {
            return Err(Problem::TooLong { size: self.size }.into_io());
        }
        if self.read > self.cap {
            return Err(exceeded(Limit::StreamBytes, self.cap).into_io());
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..count]);
        }
        Ok(count)
    }
}

/// A problem that came through a reader as an io error.
pub(super) fn from_stream(error: io::Error) -> Problem {
    error.downcast().unwrap_or_else(|source| Problem::Read { source })
}

fn exceeded(limit: Limit, value: u64) -> Problem {
    Problem::Limit(Exceeded { limit, value, at: None })
}

/// Reads the first `count` bytes, or all if there are fewer.
pub(super) fn head(source: &mut dyn Read, count: u64) -> Result<Vec<u8>, Problem> {
    let mut head = Vec::new();
    source.take(count).read_to_end(&mut head).map_err(from_stream)?;
    Ok(head)
}

/// Counts what a decoder has taken.
struct Counter<R> {
    source: R,
    read: u64,
}

impl<R: Read> Read for Counter<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.read = self.read.saturating_add(count as u64);
        Ok(count)
    }
}

/// A blob with its first bytes put back.
type Source<R> = Chain<Cursor<Vec<u8>>, BufReader<Counter<R>>>;

enum Decoder<R: Read> {
    Plain(Source<R>),
    Gzip(Box<MultiGzDecoder<Source<R>>>),
    Zstd(Box<zstd::Decoder<'static, Source<R>>>),
}

impl<R: Read> Decoder<R> {
    /// How many compressed bytes were taken from the blob, the buffered ones included.
    fn taken(&self) -> u64 {
        let chain = match self {
            Self::Plain(chain) => chain,
            Self::Gzip(decoder) => decoder.get_ref(),
            Self::Zstd(decoder) => decoder.get_ref(),
        };
        let (head, rest) = chain.get_ref();
        rest.get_ref().read.saturating_add(head.get_ref().len() as u64)
    }

    fn format(&self) -> &'static str {
        match self {
            Self::Plain(_) => "plain",
            Self::Gzip(_) => "gzip",
            Self::Zstd(_) => "zstd",
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(source) => source.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
        }
    }
}

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// What a registry may hold and this cannot read: (magic, name).
const OTHERS: &[(&[u8], &str)] = &[
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], "xz"),
    (b"BZh", "bzip2"),
    (&[0x04, 0x22, 0x4d, 0x18], "lz4"),
];
/// The longest magic, in bytes.
pub(super) const MAGIC: u64 = 6;

/// The name of a compression that is known and not supported.
pub(super) fn unsupported(head: &[u8]) -> Option<&'static str> {
    OTHERS.iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, name)| *name)
}

/// The decompressed bytes of a layer, metered.
pub struct Decompressed<R: Read> {
    decoder: Decoder<R>,
    out: u64,
    /// What is left for this layer, and the limit it is left of.
    cap: (u64, u64),
    ratio: u32,
    forgiven: u64,
    window_log: u32,
    hasher: Option<Hasher>,
}

impl<R: Read> std::fmt::Debug for Decompressed<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decompressed").field("out", &self.out).finish_non_exhaustive()
    }
}

/// Decompresses `head` followed by `source`, told by magic bytes alone: media types lie.
/// `spent` is how much of [`Limits::stream_bytes`] earlier layers used.
pub fn decompress<R: Read>(
    head: Vec<u8>,
    source: R,
    limits: &Limits,
    spent: u64,
) -> Result<Decompressed<R>, Problem> {
    let (gzip, zstd) = (head.starts_with(GZIP), head.starts_with(ZSTD));
    if let Some(name) = unsupported(&head) {
        return Err(Problem::Compression(name));
    }
    let source = BufReader::with_capacity(BUFFER, Counter { source, read: 0 });
    let source = Cursor::new(head).chain(source);
    let decoder = match (gzip, zstd) {
        (true, _) => Decoder::Gzip(Box::new(MultiGzDecoder::new(source))),
        (_, true) => {
            let damaged = |source| Problem::Decompress { format: "zstd", source };
            let mut decoder = zstd::Decoder::with_buffer(source).map_err(damaged)?;
            decoder.window_log_max(limits.zstd_window_log).map_err(damaged)?;
            Decoder::Zstd(Box::new(decoder))
        }
        _ => Decoder::Plain(source),
    };
    let value = limits.stream_bytes();
    Ok(Decompressed {
        decoder,
        out: 0,
        cap: (value.saturating_sub(spent), value),
        ratio: limits.ratio,
        forgiven: 0,
        window_log: limits.zstd_window_log,
        hasher: None,
    })
}

impl<R: Read> Decompressed<R> {
    /// How many bytes came out.
    pub fn bytes_out(&self) -> u64 {
        self.out
    }

    /// Also hashes what comes out, for [`Decompressed::digest`].
    pub fn hash(&mut self, algorithm: crate::reference::Algorithm) {
        self.hasher = Some(Hasher::new(algorithm));
    }

    /// The digest of what came out.
    pub fn digest(self) -> Option<Digest> {
        self.hasher.map(Hasher::finish)
    }

    /// From here on there is padding, 64 MiB of which say nothing about a bomb: zeros compress
    /// a thousandfold, and tools pad as they like.
    pub fn forgive_padding(&mut self) {
        self.forgiven = OVERHEAD;
    }
}

impl<R: Read> Read for Decompressed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = loop {
            match self.decoder.read(buffer) {
                Ok(count) => break count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.damaged(error).into_io()),
            }
        };
        self.out = self.out.saturating_add(count as u64);
        let (left, cap) = self.cap;
        if self.out > left {
            return Err(exceeded(Limit::StreamBytes, cap).into_io());
        }
        let weighed = self.out.saturating_sub(self.forgiven);
        let allowed = self.decoder.taken().saturating_mul(u64::from(self.ratio));
        if weighed > RATIO_FLOOR && weighed > allowed {
            return Err(exceeded(Limit::Ratio, u64::from(self.ratio)).into_io());
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..count]);
        }
        Ok(count)
    }
}

impl<R: Read> Decompressed<R> {
    /// A decoder's error, or the one of its source that passed through it.
    fn damaged(&self, error: io::Error) -> Problem {
        error.downcast().unwrap_or_else(|source: io::Error| {
            // libzstd tells the reason by its text alone (ZSTD_error_frameParameter_windowTooLarge).
            if source.to_string().contains("requires too much memory") {
                return Problem::ZstdWindow { log: self.window_log };
            }
            Problem::Decompress { format: self.decoder.format(), source }
        })
    }
}
