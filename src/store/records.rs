//! Records: what the driver remembers of each published volume.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::atomic::{self, Durability};
use super::error::FileError;
use super::trees::{Shared, Totals};
use crate::reference::{Digest, Reference};

/// The version of records that this program writes, and the only one that it reads.
pub const RECORD_VERSION: u32 = 1;

/// What the driver remembers of a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// [`RECORD_VERSION`].
    pub version: u32,
    /// The volume's id, as kubelet gave it.
    pub volume_id: String,
    /// Where it appears.
    pub target: PathBuf,
    /// How far publishing came.
    pub state: RecordState,
    /// What the volume shows, in the order of the attribute.
    pub references: Vec<RecordedReference>,
    /// The keys of the trees that it shows.
    pub trees: Vec<String>,
    /// The names of the skills that it shows; none for a raw volume.
    pub skills: Vec<String>,
    /// How much it shows.
    pub totals: Totals,
    /// How they are mounted.
    pub seal: Seal,
    /// What kubelet asked for. The mount is read-only in any case.
    pub read_only: bool,
    /// The mount that was made, once it was.
    pub mount: Option<MountIdentity>,
    /// Whose volume it is.
    pub pod: Pod,
    /// When it was published, in seconds since 1970.
    pub published_at: u64,
    /// What was odd, for people.
    pub warnings: Vec<String>,
    /// The key of a tree that it shows and whose files were found damaged since.
    #[serde(skip)]
    pub damaged: Option<String>,
}

/// How far publishing came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordState {
    /// Begun: there may be a mount.
    Publishing,
    /// Done: there is a mount.
    Published,
}

/// What is known of a volume once it is mounted: the second line of a record's file.
#[derive(Serialize, Deserialize)]
struct Mounted<'a> {
    seal: Seal,
    mount: Cow<'a, MountIdentity>,
}

/// What was found out about a volume later: a further line.
#[derive(Serialize, Deserialize)]
struct Found<'a> {
    damaged: Cow<'a, str>,
}

/// A line of a record's file after the first.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line<'a> {
    Mounted(Mounted<'a>),
    Found(Found<'a>),
}

/// A reference of a volume and what it resolved to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedReference {
    /// The reference.
    pub reference: Reference,
    /// The manifest's or index's digest.
    pub digest: Digest,
}

/// How trees are mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Seal {
    /// An overlay without an upper directory: its superblock is read-only.
    Overlay,
    /// A read-only bind mount.
    Bind,
}

/// Tells one mount from another, across reboots too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountIdentity {
    /// The boot in which it was made.
    pub boot_id: String,
    /// `st_dev` of the mount's root.
    pub dev: u64,
    /// `st_ino` of the mount's root.
    pub ino: u64,
}

/// The pod that a volume belongs to, as kubelet says (`podInfoOnMount`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its uid.
    pub uid: String,
    /// Its service account.
    pub service_account: String,
}

/// A volume id is any text. One that could be a file's name is; any other is hashed, and so is
/// one that looks like a hash, so that no two ids share a file.
fn file_name(volume_id: &str) -> String {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let looks_hashed = volume_id.strip_prefix("sha256-").is_some_and(super::trees::is_key);
    let is_plain = (1..=200).contains(&volume_id.len())
        && volume_id.bytes().all(is_word)
        && !volume_id.starts_with('.')
        && !looks_hashed;
    match is_plain {
        true => format!("{volume_id}.json"),
        false => format!("sha256-{}.json", Digest::sha256(volume_id.as_bytes()).hex()),
    }
}

/// The file of a record that was written just now.
#[derive(Debug)]
pub struct RecordFile {
    path: PathBuf,
    /// Open at its end, if it was made.
    file: Option<File>,
}

impl RecordFile {
    /// Adds that the volume is mounted, as a line of its own: a new file for each publish would cost
    /// more than the mount, and one that is freed makes the next dearer (ext4 looks for inodes that
    /// were not freed lately one by one).
    pub fn put_mounted(self, seal: Seal, mount: &MountIdentity) -> Result<(), FileError> {
        let line = Mounted { seal, mount: Cow::Borrowed(mount) };
        atomic::append_json(&self.path, self.file, &line)
    }
}

/// A first record is written in its place: until its line ends it is not there. One that is there is
/// replaced.
pub(super) fn put(shared: &Shared, record: &Record) -> Result<RecordFile, FileError> {
    let (dir, name) = (&shared.layout.records, file_name(&record.volume_id));
    let path = dir.join(&name);
    let file = atomic::create_json(&path, record)?;
    if file.is_none() {
        atomic::write_json(dir, &name, record, Durability::Cached)?;
    }
    Ok(RecordFile { path, file })
}

/// Adds that files of the tree `key`, which the volume shows, were found damaged.
pub(super) fn damaged(shared: &Shared, volume_id: &str, key: &str) -> Result<(), FileError> {
    let path = shared.layout.records.join(file_name(volume_id));
    atomic::append_json(&path, None, &Found { damaged: Cow::Borrowed(key) })
}

/// The record in a file: a document, a line for its mount once it was made, and one for what was
/// found out later. What has no end is
/// not there: the driver died while it wrote it, and what it has mounted is undone. Before the end of
/// the document it has mounted nothing, and there is no record.
fn parse(bytes: &[u8], is_ours: impl FnOnce(&Record) -> bool) -> Result<Option<Record>, String> {
    let (document, more) = match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&bytes[..end], Some(&bytes[end + 1..])),
        None => (bytes, None),
    };
    let mut record: Record = match serde_json::from_slice(document) {
        Ok(record) => record,
        Err(error) if more.is_none() && error.is_eof() => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    if record.version != RECORD_VERSION || !is_ours(&record) {
        return Err(atomic::NOT_OURS.into());
    }
    let lines = more.unwrap_or_default().split_inclusive(|byte| *byte == b'\n');
    for line in lines.filter_map(|line| line.strip_suffix(b"\n")) {
        match serde_json::from_slice(line).map_err(|error| error.to_string())? {
            Line::Mounted(_) if record.mount.is_some() => return Err("it is mounted twice".into()),
            Line::Mounted(line) => {
                record.seal = line.seal;
                record.mount = Some(line.mount.into_owned());
                record.state = RecordState::Published;
            }
            Line::Found(line) => record.damaged = Some(line.damaged.into_owned()),
        }
    }
    Ok(Some(record))
}

pub(super) fn get(shared: &Shared, volume_id: &str) -> Result<Option<Record>, FileError> {
    let path = shared.layout.records.join(file_name(volume_id));
    let is_ours = |record: &Record| record.volume_id == volume_id;
    Ok(atomic::read(&path, &shared.quarantine, |bytes| parse(&bytes, is_ours))?.flatten())
}

pub(super) fn remove(shared: &Shared, volume_id: &str) -> Result<(), FileError> {
    atomic::remove(&shared.layout.records.join(file_name(volume_id)))
}

/// How many records there are.
pub(super) fn count(shared: &Shared) -> Result<u64, FileError> {
    Ok(names(shared)?.len() as u64)
}

/// All records, in the order of their file names.
pub(super) fn list(shared: &Shared) -> Result<Vec<Record>, FileError> {
    Ok(read_all(shared)?.0)
}

/// The same, and away with what a dead driver has begun to write. To be called while nobody writes.
pub(super) fn tidy(shared: &Shared) -> Result<Vec<Record>, FileError> {
    let (records, unfinished) = read_all(shared)?;
    unfinished.iter().try_for_each(|path| atomic::remove(path))?;
    Ok(records)
}

/// All records, and the files that have no whole one.
fn read_all(shared: &Shared) -> Result<(Vec<Record>, Vec<PathBuf>), FileError> {
    let names = names(shared)?;
    let dir = &shared.layout.records;
    let (mut records, mut unfinished) = (Vec::with_capacity(names.len()), Vec::new());
    for name in names {
        let is_ours = |record: &Record| name == *file_name(&record.volume_id);
        let path = dir.join(&name);
        let found = atomic::read(&path, &shared.quarantine, |bytes| parse(&bytes, is_ours))?;
        match found {
            Some(Some(record)) => records.push(record),
            Some(None) => unfinished.push(path),
            None => {}
        }
    }
    Ok((records, unfinished))
}

/// The names of the records' files, sorted.
fn names(shared: &Shared) -> Result<Vec<OsString>, FileError> {
    let dir = &shared.layout.records;
    let failed = |source| FileError::Read { path: dir.clone(), source };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if !name.to_string_lossy().starts_with('.') {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// The trees that pods may have mounted in this boot.
pub(super) fn mounted_trees(records: &[Record], boot_id: &str) -> BTreeSet<String> {
    // A record without a mount may belong to one that was made just before a crash.
    let is_current = |r: &&Record| r.mount.as_ref().is_none_or(|m| m.boot_id == boot_id);
    records.iter().filter(is_current).flat_map(|record| record.trees.iter().cloned()).collect()
}

/// The records of a state directory that another process may be using: each file is whole or
/// absent. Besides, the files that are not understood, which stay where they are.
pub(super) fn peek(dir: &Path) -> io::Result<(Vec<Record>, Vec<PathBuf>)> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            paths.push(entry.path());
        }
    }
    paths.sort();
    let (mut records, mut odd) = (Vec::new(), Vec::new());
    for path in paths {
        match atomic::read_file(&path) {
            Ok((bytes, _)) => match parse(&bytes, |_| true) {
                Ok(record) => records.extend(record),
                Err(_) => odd.push(path),
            },
            // Its volume has ended meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok((records, odd))
}
