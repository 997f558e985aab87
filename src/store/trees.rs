//! Trees: immutable files under a content key, and the index of those that are whole.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::atomic::{self, Quarantine};
use super::durable::Description;
use super::error::OpenError;
use super::index::Index;
use super::layout::{self, Layout};
use super::lock::Lock;
use super::memory::Memory;
use super::remove::remove_tree;
use super::{grants, references, sums};
use crate::artifact::skill::Shape;
use crate::reference::{Digest, Repository};

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// How many files.
    pub files: u64,
    /// The sum of their sizes in bytes.
    pub bytes: u64,
    /// How many inodes: directories, and files that are no second link to another.
    pub inodes: u64,
}

impl std::iter::Sum for Totals {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            files: sum.files + one.files,
            bytes: sum.bytes + one.bytes,
            inodes: sum.inodes + one.inodes,
        })
    }
}

/// One skill of a tree. Its position in [`TreeInfo::skills`] is its slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkillInfo {
    /// The name, and the name of its directory.
    pub name: String,
    /// The description of its front matter.
    pub description: Option<String>,
    /// How much it has.
    #[serde(flatten)]
    pub totals: Totals,
}

/// What a tree is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeInfo {
    /// The content key: 64 lower-case hexadecimal characters.
    pub key: String,
    /// The artifact format's stable name.
    pub format: String,
    /// What it holds.
    pub shape: Shape,
    /// The skills, in slot order; none in a raw tree.
    pub skills: Vec<SkillInfo>,
    /// The layers it was made of, lowest first.
    pub layers: Vec<Digest>,
    /// The repository that delivered all of them when it was made. Trees of older versions, and
    /// those of a layout, have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<Repository>,
    /// How much it has.
    #[serde(flatten)]
    pub totals: Totals,
    /// What was odd about the artifact, for people.
    pub warnings: Vec<String>,
    /// When it was made, in seconds since 1970.
    pub created_at: u64,
}

/// A tree of the store: whole, and never changed.
#[derive(Debug)]
pub struct StoredTree {
    /// What it is.
    pub info: TreeInfo,
    path: PathBuf,
    durable: AtomicBool,
    /// Nanoseconds since 1970. On disk it is the description's modification time, which is
    /// written when a volume ends: a start of a pod writes nothing for it.
    used_at: AtomicU64,
}

impl StoredTree {
    pub(super) fn new(info: TreeInfo, path: PathBuf, durable: bool, used_at: SystemTime) -> Self {
        let (durable, used_at) = (AtomicBool::new(durable), AtomicU64::new(nanoseconds(used_at)));
        Self { info, path, durable, used_at }
    }

    /// The directory whose entries are the skill's files, or a raw tree's. A slot that the tree
    /// does not have gives a path that does not exist.
    pub fn flat(&self, slot: usize) -> PathBuf {
        match (self.info.shape, self.info.skills.get(slot)) {
            (Shape::Raw, _) => self.path.join("root"),
            (_, Some(skill)) => self.nested(slot).join(&skill.name),
            (_, None) => self.nested(slot),
        }
    }

    /// The directory whose only entry is the skill's directory. A raw tree has no slots.
    pub fn nested(&self, slot: usize) -> PathBuf {
        self.path.join(slot.to_string())
    }

    /// Whether it would survive a power cut ([`super::Store::flush`]).
    pub fn is_durable(&self) -> bool {
        self.durable.load(Ordering::Acquire)
    }

    pub(super) fn set_durable(&self) {
        self.durable.store(true, Ordering::Release);
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn used_at(&self) -> u64 {
        self.used_at.load(Ordering::Acquire)
    }

    /// It is used now.
    pub(super) fn touch(&self) {
        self.used_at.fetch_max(nanoseconds(SystemTime::now()), Ordering::AcqRel);
    }

    /// Writes down when it was used last. Losing that makes it look older than it is, no more.
    pub(super) fn note_use(&self) {
        let description = self.path.with_extension("json");
        let at = SystemTime::UNIX_EPOCH + Duration::from_nanos(self.used_at());
        if let Err(error) = atomic::set_modified(&description, at) {
            tracing::debug!(tree = self.info.key, %error, "cannot note a tree's last use");
        }
    }
}

/// A time as [`super::TreeUse`] holds it: nanoseconds since 1970.
pub fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// When the kernel could not write something to the disk. It says so once, and not of what
/// (syncfs(2), since Linux 5.8): all that was not on the disk then may be lost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unwritten {
    /// How often it said so.
    pub(super) times: u64,
    /// Why, the last time.
    pub(super) errno: Errno,
}

impl Default for Unwritten {
    fn default() -> Self {
        Self { times: 0, errno: Errno::IO }
    }
}

/// What the store shares with its stagings. Holds the lock, so that a staging that outlives the
/// store still works in a directory that nobody else has opened.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) layout: Layout,
    pub(super) boot_id: String,
    pub(super) quarantine: Quarantine,
    pub(super) references: Memory<references::Document>,
    pub(super) grants: Memory<grants::Document>,
    pub(super) trees_fd: OwnedFd,
    pub(super) staging_fd: OwnedFd,
    /// Held while a tree goes from staging into the index.
    pub(super) commit: Mutex<()>,
    /// Held while a tree is brought to the disk.
    pub(super) flush: Mutex<()>,
    pub(super) unwritten: Mutex<Unwritten>,
    pub(super) index: Index,
    lock: Lock,
}

impl Shared {
    pub(super) fn open(layout: Layout, boot_id: String, lock: Lock) -> Result<Self, OpenError> {
        let directory = |path: &Path| {
            fs::File::open(path)
                .map(OwnedFd::from)
                .map_err(|source| OpenError::Prepare { path: path.into(), source })
        };
        Ok(Self {
            quarantine: Quarantine::new(layout.quarantine.clone()),
            references: Memory::default(),
            grants: Memory::default(),
            trees_fd: directory(&layout.trees)?,
            staging_fd: directory(&layout.staging)?,
            commit: Mutex::new(()),
            flush: Mutex::new(()),
            unwritten: Mutex::default(),
            index: Index::default(),
            layout,
            boot_id,
            lock,
        })
    }

    /// What has been removed of the layout since it was opened.
    pub(super) fn lost(&self) -> Option<PathBuf> {
        let layout = &self.layout;
        layout.lost(&[
            (self.lock.as_fd(), &layout.lock()),
            (self.trees_fd.as_fd(), &layout.trees),
            (self.staging_fd.as_fd(), &layout.staging),
        ])
    }

    /// What the kernel could not write so far.
    pub(super) fn unwritten(&self) -> Unwritten {
        *self.unwritten.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fills the index at open, and removes what is not whole. `mounted` are the trees that pods
    /// may have mounted since before this start: their files must stay even if they have lost
    /// their description.
    pub(super) fn load(&self, mounted: &BTreeSet<String>) -> Result<(), OpenError> {
        let mut entries = Entries::default();
        for name in layout::list(&self.layout.trees)? {
            entries.add(&name, &self.layout.trees, &self.quarantine);
        }
        for key in entries.descriptions {
            let path = self.layout.trees.join(format!("{key}.json"));
            let is_ours = |found: &Description<TreeInfo>| found.is_known() && found.tree.key == key;
            let found = atomic::read(&path, &self.quarantine, atomic::json(is_ours))?;
            let Some(found) = found else { continue };
            let present = entries.directories.contains(&key);
            if !present || !found.is_whole(&self.boot_id) {
                tracing::info!(
                    tree = key,
                    reason = if present { "not flushed before the reboot" } else { "no directory" },
                    "forgot a tree"
                );
                atomic::remove(&path)?;
                continue;
            }
            entries.directories.remove(&key);
            entries.lists.remove(&key);
            let durable = found.is_durable();
            let directory = self.layout.trees.join(&key);
            let written = fs::metadata(&path).and_then(|metadata| metadata.modified());
            // A time to come, from a clock that was wrong, would keep the tree until then.
            let now = SystemTime::now();
            let used_at = written.map_or(now, |written| written.min(now));
            let tree = StoredTree::new(found.tree, directory, durable, used_at);
            self.index.insert(Arc::new(tree));
        }
        for key in entries.directories {
            match mounted.contains(&key) {
                true => {
                    tracing::warn!(tree = key, "a mounted tree has lost its description");
                    let path = self.layout.trees.join(&key);
                    self.put_aside(&key).map_err(|source| OpenError::Prepare { path, source })?;
                }
                false => self.remove(&key),
            }
        }
        for key in entries.lists {
            atomic::remove(&self.layout.trees.join(sums::file_name(&key)))?;
        }
        for (name, key) in entries.orphans {
            match mounted.contains(&key) {
                true => self.index.put_aside(&key, name),
                false => self.remove(&name),
            }
        }
        Ok(())
    }

    /// Frees the key of a tree that is still mounted. The rename leaves mounts as they are; the
    /// files go at the first open that finds them unused. The new name.
    pub(super) fn put_aside(&self, key: &str) -> io::Result<String> {
        let from = self.layout.trees.join(key);
        let taken = |number: &u32| {
            fs::symlink_metadata(self.layout.trees.join(orphan(key, *number))).is_ok()
        };
        let number = (0..).find(|number| !taken(number)).unwrap_or(0);
        let name = orphan(key, number);
        fs::rename(&from, self.layout.trees.join(&name))?;
        Ok(name)
    }

    /// What cannot be removed is not in the index either, and does no harm but take space.
    pub(super) fn remove(&self, name: &str) {
        match remove_tree(self.trees_fd.as_fd(), OsStr::new(name)) {
            Ok(()) => tracing::info!(name, "removed an unfinished or lost tree"),
            Err(error) => tracing::warn!(name, %error, "cannot remove an unfinished tree"),
        }
    }
}

/// The entries of the directory of trees, by what their names say.
#[derive(Default)]
struct Entries {
    descriptions: BTreeSet<String>,
    directories: BTreeSet<String>,
    /// Of digests.
    lists: BTreeSet<String>,
    /// Name and key.
    orphans: BTreeMap<String, String>,
}

impl Entries {
    fn add(&mut self, name: &OsStr, trees: &Path, quarantine: &Quarantine) {
        let path = trees.join(name);
        let is_dir = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir());
        let name = name.to_string_lossy();
        let (key, rest) = name.split_once('.').unwrap_or((&name, ""));
        match (is_key(key), rest, is_dir) {
            (true, "", true) => _ = self.directories.insert(key.into()),
            (true, "json", false) => _ = self.descriptions.insert(key.into()),
            (true, "sha256", false) => _ = self.lists.insert(key.into()),
            (true, rest, true) if rest.starts_with("orphan.") => {
                self.orphans.insert(name.clone().into_owned(), key.to_owned());
            }
            _ => quarantine.take(&path, &"no entry of this directory has such a name"),
        }
    }
}

fn orphan(key: &str, number: u32) -> String {
    format!("{key}.orphan.{number}")
}

/// Whether a text is a content key, and so safe as a file name.
pub(super) fn is_key(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
