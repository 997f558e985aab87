//! A sink that keeps what is needed to judge an artifact, and nothing on disk.

use std::collections::HashMap;
use std::io::{self, BufRead, Read};

use crate::artifact::contents::Contents;
use crate::artifact::path::TreePath;
use crate::artifact::tree::Node;
use crate::reference::{Algorithm, Digest, Hasher};

use super::limits::Limits;
use super::sink::{Sink, read_full};

const BUFFER: usize = 64 << 10;

/// What is kept of all files of a class together, in bytes.
const KEPT: u64 = 32 << 20;

/// Keeps the digest of every file, and the bytes of those that may be a SKILL.md: of each up to
/// [`Limits::skill_md_bytes`] and one byte, which shows that there are more. Any file may be one,
/// because a SKILL.md can be a link to it; so `skill.yaml` and files that end in `.md` have 32 MiB
/// for themselves, and all others have as much.
#[derive(Debug)]
pub struct MemorySink {
    files: HashMap<TreePath, Kept>,
    keep: u64,
    likely: u64,
    others: u64,
    buffer: Vec<u8>,
}

#[derive(Debug, Clone)]
struct Kept {
    digest: Digest,
    head: Option<Vec<u8>>,
}

impl MemorySink {
    /// An empty sink.
    pub fn new(limits: &Limits) -> Self {
        let keep = limits.skill_md_bytes.saturating_add(1);
        Self { files: HashMap::new(), keep, likely: KEPT, others: KEPT, buffer: vec![0; BUFFER] }
    }

    /// Reads a file, and of what is to be kept takes at most `room` bytes.
    fn take(&mut self, content: &mut dyn Read, room: u64) -> io::Result<(u64, Kept)> {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let most = self.keep.min(room);
        let mut head = (most > 0).then(Vec::new);
        let mut size = 0;
        loop {
            let count = read_full(content, &mut self.buffer)?;
            if count == 0 {
                return Ok((size, Kept { digest: hasher.finish(), head }));
            }
            let bytes = &self.buffer[..count];
            hasher.update(bytes);
            if let Some(head) = &mut head {
                let room = most.saturating_sub(head.len() as u64).min(count as u64);
                head.extend_from_slice(&bytes[..room as usize]);
            }
            size += count as u64;
        }
    }

    fn kept(&self, path: &TreePath) -> io::Result<&Kept> {
        self.files.get(path).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn is_likely(path: &TreePath) -> bool {
    path.name()
        .is_some_and(|name| name == "skill.yaml" || name.to_ascii_lowercase().ends_with(".md"))
}

impl Contents for MemorySink {
    fn read(&mut self, path: &TreePath, max: u64) -> io::Result<Vec<u8>> {
        let head = self.kept(path)?.head.as_ref();
        let head = head.ok_or_else(|| io::Error::other("only the file's digest was kept"))?;
        let count = head.len().min(usize::try_from(max).unwrap_or(usize::MAX));
        Ok(head[..count].to_vec())
    }
}

impl Sink for MemorySink {
    fn dir(&mut self, _: &TreePath) -> io::Result<()> {
        Ok(())
    }

    fn file(
        &mut self,
        path: &TreePath,
        _executable: bool,
        _mtime: Option<u64>,
        content: &mut dyn BufRead,
    ) -> io::Result<u64> {
        let likely = is_likely(path);
        let room = if likely { self.likely } else { self.others };
        let (size, mut kept) = self.take(&mut *content, room)?;
        // A large file of another name is no SKILL.md, and would take the room of those that are.
        if !likely && size >= self.keep {
            kept.head = None;
        }
        let taken = kept.head.as_ref().map_or(0, |head| head.len() as u64);
        match likely {
            true => self.likely -= taken,
            false => self.others -= taken,
        }
        match self.files.insert(path.clone(), kept) {
            None => Ok(size),
            Some(_) => Err(io::ErrorKind::AlreadyExists.into()),
        }
    }

    fn same(&mut self, path: &TreePath, content: &mut dyn Read) -> io::Result<bool> {
        let (_, kept) = self.take(content, 0)?;
        Ok(self.kept(path)?.digest == kept.digest)
    }

    fn link(&mut self, existing: &TreePath, path: &TreePath) -> io::Result<()> {
        let kept = self.kept(existing)?.clone();
        match self.files.insert(path.clone(), kept) {
            None => Ok(()),
            Some(_) => Err(io::ErrorKind::AlreadyExists.into()),
        }
    }

    fn remove(&mut self, path: &TreePath, node: &Node) -> io::Result<()> {
        match node {
            Node::Symlink(_) => Ok(()),
            Node::File(_) => match self.files.remove(path) {
                Some(_) => Ok(()),
                None => Err(io::ErrorKind::NotFound.into()),
            },
            Node::Dir(dir) => {
                for (name, node) in &dir.entries {
                    let path = path.join(name).map_err(io::Error::other)?;
                    self.remove(&path, node)?;
                }
                Ok(())
            }
        }
    }
}
