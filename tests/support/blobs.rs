//! Bytes of layers: tar archives to the last bit, well-formed or not, and their compression.

use std::io::Write;

use flate2::{Compression, GzBuilder};

const BLOCK: usize = 512;
const MTIME: u64 = 1_777_982_400; // 2026-05-05T12:00:00Z, as in the fixtures' `created`.

/// One entry before it becomes a header. [`Tar::entry`] takes it for everything that the named
/// methods do not say.
#[derive(Debug, Clone)]
pub struct Entry {
    pub path: String,
    /// The type flag: `0` file, `1` hard link, `2` symlink, `3` char, `4` block, `5` dir, `6` fifo.
    pub kind: u8,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: u64,
    pub link: String,
    pub device: (u32, u32),
    pub content: Vec<u8>,
    /// The size in the header, where it shall differ from the content's.
    pub size: Option<u64>,
}

impl Entry {
    pub fn new(path: impl Into<String>, kind: u8, mode: u32) -> Self {
        Self {
            path: path.into(),
            kind,
            mode,
            uid: 0,
            gid: 0,
            mtime: MTIME,
            link: String::new(),
            device: (0, 0),
            content: vec![],
            size: None,
        }
    }

    pub fn content(self, content: impl Into<Vec<u8>>) -> Self {
        Self { content: content.into(), ..self }
    }

    pub fn link(self, link: impl Into<String>) -> Self {
        Self { link: link.into(), ..self }
    }

    pub fn owner(self, uid: u32, gid: u32) -> Self {
        Self { uid, gid, ..self }
    }
}

/// A tar archive (POSIX ustar) in the making. Equal calls give equal bytes.
#[derive(Debug, Clone)]
pub struct Tar {
    bytes: Vec<u8>,
    /// A long-name or PAX record has just named the next entry.
    named: bool,
    end_marker: bool,
    pad_to: usize,
    trailing: Vec<u8>,
}

impl Default for Tar {
    fn default() -> Self {
        Self { bytes: vec![], named: false, end_marker: true, pad_to: BLOCK, trailing: vec![] }
    }
}

impl Tar {
    pub fn new() -> Self {
        Self::default()
    }

    /// A directory, 0755. The slash at its end is added.
    pub fn dir(self, path: &str) -> Self {
        self.dir_mode(path, 0o755)
    }

    pub fn dir_mode(self, path: &str, mode: u32) -> Self {
        let slash = if path.ends_with('/') { "" } else { "/" };
        self.entry(Entry::new(format!("{path}{slash}"), b'5', mode))
    }

    pub fn file(self, path: &str, content: impl AsRef<[u8]>, mode: u32) -> Self {
        self.entry(Entry::new(path, b'0', mode).content(content.as_ref()))
    }

    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(Entry::new(path, b'2', 0o777).link(target))
    }

    /// A hard link to the entry `target`, a path from the archive's root.
    pub fn hardlink(self, path: &str, target: &str) -> Self {
        self.entry(Entry::new(path, b'1', 0o644).link(target))
    }

    /// A device: `b'3'` is a character device, `b'4'` a block device.
    pub fn device(self, path: &str, kind: u8, major: u32, minor: u32) -> Self {
        self.entry(Entry { device: (major, minor), ..Entry::new(path, kind, 0o666) })
    }

    pub fn fifo(self, path: &str) -> Self {
        self.entry(Entry::new(path, b'6', 0o644))
    }

    /// Any entry. A name over 100 bytes gets a PAX record, unless one has just been written.
    pub fn entry(mut self, entry: Entry) -> Self {
        if !self.named && entry.path.len() > 100 {
            self = self.pax(&[("path", entry.path.as_bytes())]);
        }
        if !self.named && entry.link.len() > 100 {
            self = self.pax(&[("linkpath", entry.link.as_bytes())]);
        }
        let header = header(&entry, b"ustar\x0000");
        self.raw_entry(header, &entry.content)
    }

    /// A header as given, and content padded to whole blocks, whatever the header says.
    pub fn raw_entry(mut self, header: [u8; BLOCK], content: &[u8]) -> Self {
        self.bytes.extend_from_slice(&header);
        self.bytes.extend_from_slice(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(BLOCK), 0);
        self.named = false;
        self
    }

    /// PAX records for the next entry, such as `path`, `size`, `mtime` or
    /// `SCHILY.xattr.security.capability`. With `path`, the entry's own name is cut to 100 bytes.
    pub fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let named = records.iter().any(|(key, _)| matches!(*key, "path" | "linkpath"));
        let entry = Entry::new("PaxHeaders.0/next", b'x', 0o644).content(pax(records));
        Self { named, ..self.entry(entry) }
    }

    /// Global PAX records, as `git archive` writes them.
    pub fn pax_global(self, records: &[(&str, &[u8])]) -> Self {
        self.entry(Entry::new("pax_global_header", b'g', 0o644).content(pax(records)))
    }

    /// GNU's record of the next entry's long name (type `L`).
    pub fn gnu_long_name(self, name: &str) -> Self {
        self.gnu_long(b'L', name)
    }

    /// GNU's record of the next entry's long link target (type `K`).
    pub fn gnu_long_link(self, target: &str) -> Self {
        self.gnu_long(b'K', target)
    }

    fn gnu_long(self, kind: u8, text: &str) -> Self {
        let entry =
            Entry::new("././@LongLink", kind, 0o644).content([text.as_bytes(), b"\0"].concat());
        let header = header(&entry, b"ustar  \0");
        Self { named: true, ..self.raw_entry(header, &entry.content) }
    }

    /// An old GNU sparse file: one block of data at its start, and a hole to `real_size`.
    pub fn sparse(self, path: &str, real_size: u64) -> Self {
        let entry = Entry::new(path, b'S', 0o644).content([b'x'; BLOCK]);
        let mut header = header(&entry, b"ustar  \0");
        octal(&mut header[386..398], 0);
        octal(&mut header[398..410], BLOCK as u64);
        // Without a last, empty piece at the end, readers cut the hole off.
        number(&mut header[410..422], real_size);
        octal(&mut header[422..434], 0);
        number(&mut header[483..495], real_size);
        checksum(&mut header);
        self.raw_entry(header, &entry.content)
    }

    /// Pads the whole with zeros to a multiple of `size`: GNU tar's records have 10 240 bytes.
    pub fn pad_to(self, size: usize) -> Self {
        Self { pad_to: size, ..self }
    }

    /// Leaves out the two zero blocks at the end.
    pub fn no_end_marker(self) -> Self {
        Self { end_marker: false, ..self }
    }

    /// Bytes after everything else.
    pub fn trailing(self, bytes: impl Into<Vec<u8>>) -> Self {
        Self { trailing: bytes.into(), ..self }
    }

    pub fn build(self) -> Vec<u8> {
        let mut bytes = self.bytes;
        if self.end_marker {
            bytes.resize(bytes.len() + 2 * BLOCK, 0);
        }
        bytes.resize(bytes.len().next_multiple_of(self.pad_to), 0);
        bytes.extend_from_slice(&self.trailing);
        bytes
    }

    /// [`build`](Self::build), then [`gzip`].
    pub fn gzip(self) -> Vec<u8> {
        gzip(&self.build())
    }
}

/// A header block with a right checksum. `magic` is ustar's or old GNU's, with its version.
pub fn header(entry: &Entry, magic: &[u8; 8]) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    text(&mut header[..100], &entry.path);
    octal(&mut header[100..108], u64::from(entry.mode));
    octal(&mut header[108..116], u64::from(entry.uid));
    octal(&mut header[116..124], u64::from(entry.gid));
    number(&mut header[124..136], entry.size.unwrap_or(entry.content.len() as u64));
    octal(&mut header[136..148], entry.mtime);
    header[156] = entry.kind;
    text(&mut header[157..257], &entry.link);
    header[257..265].copy_from_slice(magic);
    octal(&mut header[329..337], u64::from(entry.device.0));
    octal(&mut header[337..345], u64::from(entry.device.1));
    checksum(&mut header);
    header
}

/// Writes a header's checksum, as after a change by hand.
pub fn checksum(header: &mut [u8; BLOCK]) {
    header[148..156].fill(b' ');
    let sum: u64 = header.iter().map(|&byte| u64::from(byte)).sum();
    octal(&mut header[148..155], sum);
}

fn text(field: &mut [u8], text: &str) {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text.as_bytes()[..length]);
}

/// Octal digits that fill the field up to a NUL.
fn octal(field: &mut [u8], value: u64) {
    let width = field.len() - 1;
    let digits = format!("{value:0width$o}");
    assert!(digits.len() == width, "{value} does not fit {width} octal digits");
    field[..width].copy_from_slice(digits.as_bytes());
    field[width] = 0;
}

/// Octal where it fits (8 GiB), else GNU's base 256.
fn number(field: &mut [u8], value: u64) {
    if value < 1 << 33 {
        return octal(field, value);
    }
    field.fill(0);
    field[0] = 0x80;
    let start = field.len() - 8;
    field[start..].copy_from_slice(&value.to_be_bytes());
}

/// `LENGTH key=value\n`, where the length counts itself.
fn pax(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![];
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + rest.to_string().len();
        length = rest + length.to_string().len();
        bytes.extend_from_slice(format!("{length} {key}=").as_bytes());
        bytes.extend_from_slice(value);
        bytes.push(b'\n');
    }
    bytes
}

/// One gzip member without a name or time.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzBuilder::new().mtime(0).write(vec![], Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Several gzip members in a row, as pigz and eStargz write: one stream to a reader.
pub fn gzip_members(parts: &[&[u8]]) -> Vec<u8> {
    parts.iter().flat_map(|part| gzip(part)).collect()
}

/// A gzip'd tar of one file of `size` zero bytes, made without holding it.
pub fn gzip_bomb(path: &str, size: u64) -> Vec<u8> {
    let entry = Entry { size: Some(size), ..Entry::new(path, b'0', 0o644) };
    let mut encoder = GzBuilder::new().mtime(0).write(vec![], Compression::default());
    encoder.write_all(&header(&entry, b"ustar\x0000")).unwrap();
    let zeros = std::io::Read::take(std::io::repeat(0), size.next_multiple_of(512) + 1024);
    std::io::copy(&mut { zeros }, &mut encoder).unwrap();
    encoder.finish().unwrap()
}

/// One zstd frame.
pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

/// A zstd frame that asks its reader for a window of 2 to the power of `log` bytes (10 to 41).
pub fn zstd_window(bytes: &[u8], log: u8) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, (log - 10) << 3];
    // Raw blocks (RFC 8878, 3.1.1.2): last bit, type 0, 21 bits of size.
    let blocks: Vec<&[u8]> = bytes.chunks(64 * 1024).collect();
    for (index, block) in blocks.iter().enumerate() {
        let last = u32::from(index + 1 == blocks.len());
        let header = last | (u32::try_from(block.len()).unwrap() << 3);
        frame.extend_from_slice(&header.to_le_bytes()[..3]);
        frame.extend_from_slice(block);
    }
    frame
}
