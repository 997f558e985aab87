//! Tar entries one after another, over the sans-IO parser of tar-core.

use std::io::{self, BufRead, Read};

use tar_core::parse::{Limits as ParseLimits, ParseError, ParseEvent, ParsedEntry, Parser};
use tar_core::{EntryType, Header, PaxExtensions};

use super::error::Problem;
use super::stream::from_stream;

const BLOCK: usize = 512;
/// What is held of the stream at rest, in bytes: the headers of most entries. Content goes past it.
const BUFFER: usize = 2 << 10;
/// What one entry's headers may take, long names and PAX records included. 1 MiB is Go's limit
/// for PAX records.
const METADATA: u32 = 1 << 20;
/// [`METADATA`] with the headers around it.
const HELD: usize = (METADATA as usize) + (64 << 10);
/// Bytes behind the end marker that may be something else than zeros.
const TRAILING: u64 = 1 << 20;

/// What an entry makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Dir,
    Symlink,
    HardLink,
}

/// One entry. Owner, groups, times other than `mtime` and extended attributes are not kept.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) name: Vec<u8>,
    pub(super) target: Vec<u8>,
    pub(super) executable: bool,
    pub(super) mtime: u64,
    /// The content's length; 0 for everything but files.
    pub(super) size: u64,
}

/// A tar archive that is read once, front to back, in bounded memory.
pub(super) struct Archive<R> {
    stream: R,
    parser: Parser,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Where `start` is in the archive.
    offset: u64,
    /// Where the current entry's header is in the archive.
    entry: u64,
    content: u64,
    padding: u64,
    done: bool,
}

/// What the parser made of the buffer, without borrowing it.
enum Step {
    More(usize),
    Skip(usize),
    Entry(usize, Result<Entry, Problem>),
    End(usize),
}

impl<R: BufRead> Archive<R> {
    pub(super) fn new(stream: R) -> Self {
        // Sparse files are refused, so no sparse map need be held.
        let limits = ParseLimits {
            max_metadata_size: METADATA,
            max_sparse_entries: 0,
            ..ParseLimits::default()
        };
        Self {
            stream,
            parser: Parser::new(limits),
            buffer: vec![0; BUFFER],
            start: 0,
            end: 0,
            offset: 0,
            entry: 0,
            content: 0,
            padding: 0,
            done: false,
        }
    }

    pub(super) fn stream_mut(&mut self) -> &mut R {
        &mut self.stream
    }

    pub(super) fn into_stream(self) -> R {
        self.stream
    }

    /// The next entry; none after the end marker, or at the end of the bytes where it is missing.
    /// Content of the previous entry that nobody read is skipped.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, Problem> {
        self.skip()?;
        while !self.done {
            self.entry = self.offset;
            if self.is_over()? {
                self.done = true;
                break;
            }
            match self.step()? {
                Step::More(least) => {
                    // The parser may ask for no more than it has; that must not loop.
                    let least = least.max(self.held() + 1);
                    if least > HELD {
                        return Err(self.invalid("the headers of an entry are too long"));
                    }
                    if !self.fill(least)? {
                        return Err(Problem::Truncated { offset: self.entry });
                    }
                }
                Step::Skip(count) => self.consume(count),
                Step::End(count) => {
                    self.consume(count);
                    self.done = true;
                }
                Step::Entry(count, entry) => {
                    self.consume(count);
                    let entry = entry?;
                    self.content = entry.size;
                    self.padding = (BLOCK as u64 - entry.size % BLOCK as u64) % BLOCK as u64;
                    return Ok(Some(entry));
                }
            }
        }
        Ok(None)
    }

    /// The current entry's content.
    pub(super) fn content(&mut self) -> Content<'_, R> {
        Content(self)
    }

    /// Reads what follows the end marker: padding, however long the stream lets it be.
    pub(super) fn drain(&mut self) -> Result<(), Problem> {
        let noise = |bytes: &[u8]| bytes.iter().filter(|byte| **byte != 0).count() as u64;
        let mut found = noise(&self.buffer[self.start..self.end]);
        self.consume(self.held());
        while found <= TRAILING {
            let rest = self.stream.fill_buf().map_err(from_stream)?;
            if rest.is_empty() {
                return Ok(());
            }
            found += noise(rest);
            let count = rest.len();
            self.stream.consume(count);
        }
        Err(Problem::Trailing(TRAILING))
    }

    fn held(&self) -> usize {
        self.end - self.start
    }

    fn consume(&mut self, count: usize) {
        self.start += count;
        self.offset += count as u64;
    }

    fn invalid(&self, reason: impl Into<String>) -> Problem {
        Problem::Tar { offset: self.entry, reason: reason.into() }
    }

    /// Whether `least` bytes could be held.
    fn fill(&mut self, least: usize) -> Result<bool, Problem> {
        if self.held() >= least {
            return Ok(true);
        }
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.held());
        if self.buffer.len() < least {
            self.buffer.resize(least.next_power_of_two(), 0);
        }
        while self.end < least {
            match self.stream.read(&mut self.buffer[self.end..least]).map_err(from_stream)? {
                0 => return Ok(false),
                count => self.end += count,
            }
        }
        Ok(true)
    }

    /// Whether the archive ends here: by two zero blocks, by one that nothing follows, or because
    /// the bytes do. A lone zero block inside is refused: tools disagree on what follows it.
    fn is_over(&mut self) -> Result<bool, Problem> {
        if !self.fill(BLOCK)? {
            return match self.held() {
                0 => Ok(true),
                _ => Err(Problem::Truncated { offset: self.offset }),
            };
        }
        let zero = |block: &[u8]| block.iter().all(|byte| *byte == 0);
        if !zero(&self.buffer[self.start..self.start + BLOCK]) {
            return Ok(false);
        }
        let whole = self.fill(2 * BLOCK)?;
        if whole && !zero(&self.buffer[self.start + BLOCK..self.start + 2 * BLOCK]) {
            return Err(self.invalid("a lone block of zeros"));
        }
        self.consume(self.held().min(2 * BLOCK));
        Ok(true)
    }

    fn step(&mut self) -> Result<Step, Problem> {
        let input = &self.buffer[self.start..self.end];
        if !are_plain(input) {
            return Err(self.invalid("the size of a header is out of range"));
        }
        match self.parser.parse(input) {
            Ok(ParseEvent::NeedData { min_bytes }) => Ok(Step::More(min_bytes)),
            Ok(ParseEvent::GlobalExtensions { consumed, .. }) => Ok(Step::Skip(consumed)),
            Ok(ParseEvent::End { consumed }) => Ok(Step::End(consumed)),
            Ok(ParseEvent::Entry { consumed, entry }) => {
                Ok(Step::Entry(consumed, convert(&entry, self.entry)))
            }
            Ok(ParseEvent::SparseEntry { entry, .. }) => Err(sparse(&entry.path)),
            Err(ParseError::TooManySparseEntries { .. } | ParseError::SparseNotGnu) => {
                Err(sparse(&name_of(input)))
            }
            // The parser's texts hold bytes of the archive.
            Err(error) => Err(self.invalid(printable(&error.to_string()))),
        }
    }

    fn skip(&mut self) -> Result<(), Problem> {
        while self.content > 0 {
            let count = self.content().fill_buf().map_err(from_stream)?.len();
            self.content().consume(count);
        }
        // umoci 0.4 writes neither the last entry's padding nor an end marker, and Go's reader,
        // so every container runtime, does not mind.
        self.fill(self.padding as usize)?;
        self.consume(self.held().min(self.padding as usize));
        self.padding = 0;
        Ok(())
    }
}

/// Reads one entry's content, no more.
pub(super) struct Content<'a, R>(&'a mut Archive<R>);

impl<R: BufRead> BufRead for Content<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let archive = &mut *self.0;
        if archive.content == 0 {
            return Ok(&[]);
        }
        let bytes = match archive.held() {
            0 => archive.stream.fill_buf()?,
            _ => &archive.buffer[archive.start..archive.end],
        };
        if bytes.is_empty() {
            return Err(Problem::Truncated { offset: archive.entry }.into_io());
        }
        let left = usize::try_from(archive.content).unwrap_or(usize::MAX);
        Ok(&bytes[..left.min(bytes.len())])
    }

    fn consume(&mut self, count: usize) {
        let archive = &mut *self.0;
        archive.content -= count as u64;
        match archive.held() {
            0 => {
                archive.stream.consume(count);
                archive.offset += count as u64;
            }
            _ => archive.consume(count),
        }
    }
}

impl<R: BufRead> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

fn convert(entry: &ParsedEntry<'_>, offset: u64) -> Result<Entry, Problem> {
    let invalid = |reason: &str| Problem::Tar { offset, reason: reason.into() };
    let records = entry.pax.map(PaxExtensions::new).into_iter().flatten();
    for record in records.map_while(Result::ok) {
        if record.key_bytes().starts_with(b"GNU.sparse.") {
            return Err(sparse(&entry.path));
        }
    }
    // tar-core keeps the low 64 bits of a base-256 size; other tools may not.
    let size = &entry.header.as_bytes()[124..136];
    if size[0] & 0x80 != 0 && (size[0] & 0x7f != 0 || size[1..4] != [0; 3]) {
        return Err(invalid("the size of an entry is out of range"));
    }
    let mut kind = match entry.entry_type {
        EntryType::Regular | EntryType::Continuous => Kind::File,
        EntryType::Directory => Kind::Dir,
        EntryType::Symlink => Kind::Symlink,
        EntryType::Link => Kind::HardLink,
        other => {
            let path = String::from_utf8_lossy(&entry.path).into_owned();
            return Err(Problem::Type { path, kind: describe(other) });
        }
    };
    // Archives older than type 5 mark directories by a slash.
    if kind == Kind::File && entry.path.ends_with(b"/") {
        kind = Kind::Dir;
    }
    // Some tools skip such content and some read headers from it.
    if kind != Kind::File && entry.size != 0 {
        return Err(invalid("an entry has content that is not a file"));
    }
    Ok(Entry {
        kind,
        name: entry.path.to_vec(),
        target: entry.link_target.as_deref().unwrap_or_default().to_vec(),
        executable: entry.mode & 0o111 != 0,
        mtime: entry.mtime,
        size: entry.size,
    })
}

/// Whether the headers before the next entry have sizes that tar-core can add up: it sums them
/// unchecked, and base-256 sizes reach 2^64. None needs more than octal digits, which end at 2^36.
fn are_plain(mut input: &[u8]) -> bool {
    while let Some(block) = input.first_chunk::<BLOCK>() {
        if !matches!(block[156], b'L' | b'K' | b'x' | b'g') {
            break;
        }
        if block[124] & 0x80 != 0 {
            return false;
        }
        // A size that is no number is the parser's to refuse.
        let Ok(size) = Header::from_bytes(block).entry_size() else { break };
        let next = size.next_multiple_of(BLOCK as u64).saturating_add(BLOCK as u64);
        match usize::try_from(next).ok().and_then(|next| input.get(next..)) {
            Some(rest) => input = rest,
            None => break,
        }
    }
    true
}

fn sparse(name: &[u8]) -> Problem {
    let path = String::from_utf8_lossy(name).into_owned();
    Problem::Type { path, kind: "sparse file".into() }
}

/// The name in a header that the parser refused.
fn name_of(input: &[u8]) -> Vec<u8> {
    input.iter().take(100).copied().take_while(|byte| *byte != 0).collect()
}

fn describe(kind: EntryType) -> String {
    match kind {
        EntryType::Char => "character device".into(),
        EntryType::Block => "block device".into(),
        EntryType::Fifo => "fifo".into(),
        EntryType::GnuSparse => "sparse file".into(),
        other => format!("tar entry of type {:?}", char::from(other.to_byte())),
    }
}

fn printable(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).take(200).collect()
}

/// Whether bytes start like a tar archive: by its magic, by a header's checksum, or as an empty
/// archive does.
pub(super) fn is_tar(head: &[u8]) -> bool {
    let Some(block) = head.first_chunk::<BLOCK>() else { return false };
    block[257..].starts_with(b"ustar")
        || block.iter().all(|byte| *byte == 0)
        || Header::from_bytes(block).verify_checksum().is_ok()
}
