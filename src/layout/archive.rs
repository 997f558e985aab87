//! A layout that is a tar: its headers are read once, its blobs where they lie. Nothing is
//! unpacked, and of what the archive holds only names and places of blobs are remembered.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use tar_core::{EntryType, Header, PaxExtensions};

use super::{INDEX, LayoutError, MARKER, Piece};

const BLOCK: u64 = 512;
/// The most entries that are looked at.
const MAX_ENTRIES: usize = 100_000;
/// The most that are remembered.
const MAX_FILES: usize = 20_000;
/// The longest extended header that is read, in bytes.
const MAX_EXTENSION: u64 = 64 << 10;

/// An open archive.
#[derive(Debug)]
pub(super) struct Archive {
    file: Arc<File>,
    /// Start and end of each file that a layout has.
    files: HashMap<String, (u64, u64)>,
}

/// What an extended header says about the entry behind it.
#[derive(Default)]
struct Extension {
    path: Option<String>,
    size: Option<u64>,
    sparse: bool,
}

impl Archive {
    pub(super) fn open(path: &Path) -> Result<Self, LayoutError> {
        let file = File::open(path)
            .and_then(|file| Ok((file.metadata()?, file)))
            .map_err(|source| LayoutError::Open { path: path.into(), source })?;
        let (status, file) = file;
        let broken =
            |reason: &str| LayoutError::Archive { path: path.into(), reason: reason.into() };
        if !status.is_file() {
            return Err(broken("it is not a regular file (oci: reads a directory)"));
        }
        let files = index(&file, status.len()).map_err(|problem| match problem {
            Problem::Broken(reason) => broken(&reason),
            Problem::Read(source) => LayoutError::Read(source),
        })?;
        Ok(Self { file: Arc::new(file), files })
    }

    pub(super) fn file(&self, name: &str) -> Option<Piece> {
        let (at, end) = *self.files.get(name)?;
        Some(Piece { file: self.file.clone(), at, end })
    }
}

enum Problem {
    Broken(String),
    Read(std::io::Error),
}

impl From<std::io::Error> for Problem {
    fn from(error: std::io::Error) -> Self {
        Self::Read(error)
    }
}

fn broken(reason: impl Into<String>) -> Problem {
    Problem::Broken(reason.into())
}

fn index(file: &File, length: u64) -> Result<HashMap<String, (u64, u64)>, Problem> {
    let mut files = HashMap::new();
    let mut extension = Extension::default();
    let (mut at, mut entries) = (0u64, 0);
    let mut block = [0; BLOCK as usize];
    while at + BLOCK <= length {
        file.read_exact_at(&mut block, at)?;
        if block.iter().all(|byte| *byte == 0) {
            break;
        }
        if at == 0 && (block.starts_with(&[0x1f, 0x8b]) || block.starts_with(&[0x28, 0xb5, 0x2f])) {
            return Err(broken("it is compressed; decompress it first"));
        }
        entries += 1;
        if entries > MAX_ENTRIES {
            return Err(broken(format!("it has more than {MAX_ENTRIES} entries")));
        }
        let header = Header::from_bytes(&block);
        if header.verify_checksum().is_err() {
            return Err(broken(format!("there is no tar header at byte {at}")));
        }
        let size = match extension.size.take() {
            Some(size) => size,
            None => header
                .entry_size()
                .map_err(|_| broken(format!("the header at byte {at} has no size")))?,
        };
        let start = at + BLOCK;
        let end = start.checked_add(size).filter(|end| *end <= length);
        let end = end.ok_or_else(|| broken(format!("it is cut off in the entry at byte {at}")))?;
        let kind = header.entry_type();
        match kind {
            EntryType::XHeader => extension = extended(file, start, size)?,
            EntryType::GnuLongName | EntryType::GnuLongLink | EntryType::XGlobalHeader => {
                if kind == EntryType::GnuLongName {
                    let name = bytes(file, start, size)?;
                    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
                    extension.path = Some(String::from_utf8_lossy(name).into_owned());
                }
            }
            EntryType::Regular | EntryType::Continuous => {
                let Extension { path, sparse, .. } = std::mem::take(&mut extension);
                let name = path.unwrap_or_else(|| name(&block));
                let name = name.trim_start_matches("./");
                if is_layouts(name) && !sparse {
                    // Blobs are known by their digest; of the two documents there can be one.
                    if files.insert(name.to_owned(), (start, end)).is_some()
                        && !name.starts_with("blobs/")
                    {
                        return Err(broken(format!("it has {name} twice")));
                    }
                    if files.len() > MAX_FILES {
                        return Err(broken(format!("it has more than {MAX_FILES} blobs")));
                    }
                }
            }
            _ => extension = Extension::default(),
        }
        at = end.checked_next_multiple_of(BLOCK).unwrap_or(length);
    }
    Ok(files)
}

fn is_layouts(name: &str) -> bool {
    name == INDEX || name == MARKER || name.starts_with("blobs/")
}

/// The name of a ustar header: its prefix, if it has one, and its name.
fn name(block: &[u8; BLOCK as usize]) -> String {
    let text = |field: &[u8]| {
        let field = field.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(field).into_owned()
    };
    let name = text(&block[..100]);
    let prefix =
        if &block[257..263] == b"ustar\0" { text(&block[345..500]) } else { String::new() };
    if prefix.is_empty() { name } else { format!("{prefix}/{name}") }
}

fn bytes(file: &File, start: u64, size: u64) -> Result<Vec<u8>, Problem> {
    if size > MAX_EXTENSION {
        return Err(broken(format!("the extended header at byte {start} is too long")));
    }
    let mut bytes = vec![0; size as usize];
    file.read_exact_at(&mut bytes, start)?;
    Ok(bytes)
}

fn extended(file: &File, start: u64, size: u64) -> Result<Extension, Problem> {
    let bytes = bytes(file, start, size)?;
    let mut extension = Extension::default();
    for record in PaxExtensions::new(&bytes) {
        let malformed = || broken(format!("the extended header at byte {start} is malformed"));
        let record = record.map_err(|_| malformed())?;
        let value = record.value_bytes();
        match record.key_bytes() {
            b"path" => extension.path = Some(String::from_utf8_lossy(value).into_owned()),
            b"size" => {
                let text = std::str::from_utf8(value).map_err(|_| malformed())?;
                extension.size = Some(text.parse().map_err(|_| malformed())?);
            }
            key if key.starts_with(b"GNU.sparse.") => extension.sparse = true,
            _ => {}
        }
    }
    Ok(extension)
}
