//! From a registry's bytes to an archive's: size and digest checked, decompressed, metered.

use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};

use flate2::bufread::MultiGzDecoder;

use crate::artifact::descriptor::Descriptor;
use crate::reference::{Digest, Hasher};

use super::ahead::{Buffered, Stage};
use super::error::Problem;
use super::limits::{Exceeded, Limit, Limits, OVERHEAD, RATIO_FLOOR};

/// How much a stage without a thread of its own gives at once, in bytes.
const AT_ONCE: usize = 32 << 10;

/// A blob as it arrives: hashed and counted on its way.
#[derive(Debug)]
pub(super) struct Blob<R> {
    source: R,
    digest: Digest,
    size: u64,
    cap: u64,
    /// How many bytes came, those that wait in the source's buffer included.
    read: u64,
    /// How many wait there.
    waiting: usize,
    hasher: Option<Hasher>,
}

impl<R: BufRead> Blob<R> {
    /// A blob that must be what `descriptor` says. A descriptor of size 0 does not know the
    /// size; `cap` is then the limit, in bytes.
    pub(super) fn new(source: R, descriptor: &Descriptor, cap: u64) -> Self {
        let digest = descriptor.digest.clone();
        let hasher = Some(Hasher::new(digest.algorithm()));
        Self { source, digest, size: descriptor.size, cap, read: 0, waiting: 0, hasher }
    }

    /// Reads what is left, and compares size and digest.
    pub(super) fn finish(&mut self) -> Result<(), Problem> {
        loop {
            match self.fill_buf().map_err(from_stream)?.len() {
                0 => break,
                count => self.consume(count),
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

impl<R: BufRead> BufRead for Blob<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let count = loop {
            match self.source.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(Problem::Read { source }.into_io()),
                Ok(bytes) => break bytes.len(),
            }
        };
        if count > self.waiting {
            self.read = self.read.saturating_add((count - self.waiting) as u64);
            if self.size > 0 && self.read > self.size {
                return Err(Problem::TooLong { size: self.size }.into_io());
            }
            if self.read > self.cap {
                return Err(exceeded(Limit::StreamBytes, self.cap).into_io());
            }
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&self.source.fill_buf()?[self.waiting..]);
            }
            self.waiting = count;
        }
        self.source.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.waiting -= count;
        self.source.consume(count);
    }
}

impl<R: BufRead> Read for Blob<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
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

impl<R: BufRead> Stage for Blob<R> {
    fn taken(&self) -> u64 {
        self.read
    }
}

/// Reads the first `count` bytes, or all if there are fewer.
pub(super) fn head(source: &mut dyn Read, count: u64) -> Result<Vec<u8>, Problem> {
    let mut head = Vec::new();
    source.take(count).read_to_end(&mut head).map_err(from_stream)?;
    Ok(head)
}

impl Stage for io::Empty {
    fn taken(&self) -> u64 {
        0
    }
}

/// A blob with its first bytes put back.
type Source<R> = Chain<Cursor<Vec<u8>>, R>;

/// The decompressed bytes of a layer, as they come.
pub(super) struct Decoder<R: BufRead> {
    kind: Kind<R>,
    window_log: u32,
}

enum Kind<R: BufRead> {
    Plain(Source<R>),
    Gzip(Box<MultiGzDecoder<Source<R>>>),
    Zstd(Box<zstd::Decoder<'static, Source<R>>>),
}

impl<R: BufRead> std::fmt::Debug for Decoder<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").field("format", &self.format()).finish_non_exhaustive()
    }
}

/// Decodes `head` followed by `source`, told by magic bytes alone: media types lie.
pub(super) fn decoder<R: BufRead>(
    head: Vec<u8>,
    source: R,
    limits: &Limits,
) -> Result<Decoder<R>, Problem> {
    let (gzip, zstd) = (head.starts_with(GZIP), head.starts_with(ZSTD));
    if let Some(name) = unsupported(&head) {
        return Err(Problem::Compression(name));
    }
    let source = Cursor::new(head).chain(source);
    let window_log = limits.zstd_window_log;
    let kind = match (gzip, zstd) {
        (true, _) => Kind::Gzip(Box::new(MultiGzDecoder::new(source))),
        (_, true) => {
            let damaged = |source| Problem::Decompress { format: "zstd", source };
            let mut decoder = zstd::Decoder::with_buffer(source).map_err(damaged)?;
            decoder.window_log_max(window_log).map_err(damaged)?;
            Kind::Zstd(Box::new(decoder))
        }
        _ => Kind::Plain(source),
    };
    Ok(Decoder { kind, window_log })
}

impl<R: BufRead> Decoder<R> {
    fn format(&self) -> &'static str {
        match self.kind {
            Kind::Plain(_) => "plain",
            Kind::Gzip(_) => "gzip",
            Kind::Zstd(_) => "zstd",
        }
    }

    /// A decoder's error, or the one of its source that passed through it.
    fn damaged(&self, error: io::Error) -> Problem {
        error.downcast().unwrap_or_else(|source: io::Error| {
            // libzstd tells the reason by its text alone (ZSTD_error_frameParameter_windowTooLarge).
            if source.to_string().contains("requires too much memory") {
                return Problem::ZstdWindow { log: self.window_log };
            }
            Problem::Decompress { format: self.format(), source }
        })
    }
}

impl<R: Buffered> Stage for Decoder<R> {
    /// How many compressed bytes were taken from the blob, those that wait for it included.
    fn taken(&self) -> u64 {
        let chain = match &self.kind {
            Kind::Plain(chain) => chain,
            Kind::Gzip(decoder) => decoder.get_ref(),
            Kind::Zstd(decoder) => decoder.get_ref(),
        };
        chain.get_ref().1.taken()
    }
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let outcome = match &mut self.kind {
                Kind::Plain(source) => source.read(buffer),
                Kind::Gzip(decoder) => decoder.read(buffer),
                Kind::Zstd(decoder) => decoder.read(buffer),
            };
            match outcome {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => return outcome.map_err(|error| self.damaged(error).into_io()),
            }
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
#[derive(Debug)]
pub(super) struct Decompressed<D> {
    decoder: D,
    out: u64,
    /// How many bytes that wait in the decoder's buffer are metered.
    waiting: usize,
    /// What is left for this layer, and the limit it is left of.
    cap: (u64, u64),
    ratio: u32,
    forgiven: u64,
    hasher: Option<Hasher>,
}

/// Decompresses `head` followed by `source`. `spent` is how much of [`Limits::stream_bytes`]
/// earlier layers used.
pub(super) fn decompress<R: Buffered>(
    head: Vec<u8>,
    source: R,
    limits: &Limits,
    spent: u64,
) -> Result<Decompressed<BufReader<Decoder<R>>>, Problem> {
    Ok(metered(buffered(decoder(head, source, limits)?), limits, spent))
}

/// What a stage gives, to be read where it is, without a thread for it.
pub(super) fn buffered<S: Stage>(stage: S) -> BufReader<S> {
    BufReader::with_capacity(AT_ONCE, stage)
}

/// Meters what a decoder gives.
pub(super) fn metered<D: Buffered>(decoder: D, limits: &Limits, spent: u64) -> Decompressed<D> {
    let value = limits.stream_bytes();
    Decompressed {
        decoder,
        out: 0,
        waiting: 0,
        cap: (value.saturating_sub(spent), value),
        ratio: limits.ratio,
        forgiven: 0,
        hasher: None,
    }
}

impl<D> Decompressed<D> {
    /// How many bytes came out.
    pub(super) fn bytes_out(&self) -> u64 {
        self.out
    }

    /// Also hashes what comes out, for [`Decompressed::digest`].
    pub(super) fn hash(&mut self, algorithm: crate::reference::Algorithm) {
        self.hasher = Some(Hasher::new(algorithm));
    }

    /// The digest of what came out.
    pub(super) fn digest(self) -> Option<Digest> {
        self.hasher.map(Hasher::finish)
    }

    /// From here on there is padding, 64 MiB of which say nothing about a bomb: zeros compress
    /// a thousandfold, and tools pad as they like.
    pub(super) fn forgive_padding(&mut self) {
        self.forgiven = OVERHEAD;
    }
}

impl<D: Buffered> BufRead for Decompressed<D> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let count = self.decoder.fill_buf()?.len();
        if count > self.waiting {
            let taken = self.decoder.taken();
            self.out = self.out.saturating_add((count - self.waiting) as u64);
            let (left, cap) = self.cap;
            if self.out > left {
                return Err(exceeded(Limit::StreamBytes, cap).into_io());
            }
            let weighed = self.out.saturating_sub(self.forgiven);
            let allowed = taken.saturating_mul(u64::from(self.ratio));
            if weighed > RATIO_FLOOR && weighed > allowed {
                return Err(exceeded(Limit::Ratio, u64::from(self.ratio)).into_io());
            }
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&self.decoder.fill_buf()?[self.waiting..]);
            }
            self.waiting = count;
        }
        self.decoder.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.waiting -= count;
        self.decoder.consume(count);
    }
}

impl<D: Buffered> Read for Decompressed<D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}
