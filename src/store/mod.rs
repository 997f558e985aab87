//! The store: the only writer below the state directory.
//!
//! ```text
//! <state>/format            the layout's version          <state>/lock    held while open
//! <state>/trees/<key>/      0/<name>/… or root/…          <state>/salt    of credential hashes
//! <state>/trees/<key>.json  what it is                    <state>/empty/  an overlay's lowest layer
//! <state>/trees/<key>.sha256  the digests of its files
//! <state>/manifests/        bodies by digest              <state>/staging/     emptied at open
//! <state>/references/       reference → digest            <state>/quarantine/  unreadable files
//! <state>/grants/           repository@digest → who       <state>/volumes/     records
//! ```
//!
//! Every visible change is a rename of something complete, or the last byte of a record's line. A
//! tree is a directory *and* its description; either alone was left by a crash and goes at the next
//! open. Everything here blocks.

mod atomic;
mod durable;
mod error;
mod gc;
mod grants;
mod index;
pub mod label;
mod layout;
mod lock;
mod manifests;
mod memory;
mod open;
mod peek;
mod records;
mod references;
mod remove;
mod staging;
mod sums;
mod sweep;
mod trees;
mod verify;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, SystemTime};

use crate::credentials::{Identity, Salt};
use crate::observability::metrics::Stored;
use crate::reference::{Digest, Reference, Repository};
use crate::stamp::Stamp;

use layout::Layout;
use lock::Lock;
use trees::Shared;

pub use atomic::now;
pub use error::{CommitError, FileError, FlushError, OpenError, is_full};
pub use gc::{DiscardError, Disk};
pub use index::TreeUse;
pub use label::LabelError;
pub use peek::{peek_records, peek_trees, peek_verify};
pub use records::{
    MountIdentity, Pod, RECORD_VERSION, Record, RecordFile, RecordState, RecordedReference, Seal,
};
pub use references::ReferenceRecord;
pub use remove::remove_tree;
pub use staging::Staging;
pub use sums::{Damage, DamageKind};
pub use trees::{SkillInfo, StoredTree, Totals, TreeInfo, nanoseconds};
pub use verify::{Verdict, VerifyError};

/// An open state directory. No other process has it open.
#[derive(Debug)]
pub struct Store {
    shared: Arc<Shared>,
    salt: Salt,
    next_staging: AtomicU64,
    /// Grants are read, changed and written.
    grants: Mutex<()>,
    /// Held by whoever writes what [`sweep`](Self::sweep) may remove.
    writing: RwLock<()>,
}

impl Store {
    /// Opens the state directory `root`, making it if it is not there, and removes what a crash
    /// or a power cut left unfinished.
    pub fn open(root: &Path) -> Result<Self, OpenError> {
        Self::open_in_boot(root, durable::boot_id()?)
    }

    fn open_in_boot(root: &Path, boot_id: String) -> Result<Self, OpenError> {
        let layout = Layout::new(root);
        layout.claim()?;
        let lock = Lock::take(layout.lock())?;
        layout.prepare()?;
        let shared = Shared::open(layout, boot_id, lock)?;
        let salt = open::salt(&shared)?;
        open::empty_staging(&shared)?;
        open::prune_quarantine(&shared)?;
        let records = records::tidy(&shared)?;
        for record in &records {
            shared.index.restore(record);
        }
        shared.load(&records::mounted_trees(&records, &shared.boot_id))?;
        Ok(Self {
            shared: Arc::new(shared),
            salt,
            next_staging: AtomicU64::new(0),
            grants: Mutex::new(()),
            writing: RwLock::new(()),
        })
    }

    /// The state directory.
    pub fn root(&self) -> &Path {
        &self.shared.layout.root
    }

    /// A part of the state directory that somebody has removed, or replaced, since it was opened:
    /// nothing can be stored any more, and what is known of it is wrong. Opening it anew mends that.
    pub fn lost(&self) -> Option<PathBuf> {
        self.shared.lost()
    }

    /// Gives the directories where trees are made and kept an SELinux label, which what is made in
    /// them inherits. Whether one of them had another.
    pub fn label(&self, label: &str) -> Result<bool, LabelError> {
        label::apply(&self.shared.layout, label)
    }

    /// The directory that is always empty: an overlay needs two layers even for one skill.
    pub fn empty(&self) -> &Path {
        &self.shared.layout.empty
    }

    /// The kernel's name for this boot, as it goes into [`MountIdentity`].
    pub fn boot_id(&self) -> &str {
        &self.shared.boot_id
    }

    /// The node's salt for [`crate::credentials::Credential::identity`]; the same after a restart.
    pub fn salt(&self) -> &Salt {
        &self.salt
    }

    /// The tree of a content key, if it is here and whole. Needs no disk. It stays as long as
    /// somebody holds it or a record names it.
    pub fn tree(&self, key: &str) -> Option<Arc<StoredTree>> {
        self.shared.index.tree(key)
    }

    /// All trees, with who uses them at this moment; in no order.
    pub fn trees(&self) -> Vec<TreeUse> {
        self.shared.index.all()
    }

    /// Removes a tree that nobody uses nor has used since `used_at`. Whether it did.
    pub fn discard(&self, key: &str, used_at: u64) -> Result<bool, DiscardError> {
        gc::discard(&self.shared, &self.next_staging, key, used_at)
    }

    /// Compares a tree's files with what they were, calling `pace` for each piece that was read,
    /// with its length in bytes; `Interrupted` from there stops it.
    pub fn verify(
        &self,
        key: &str,
        pace: &mut dyn FnMut(usize) -> io::Result<()>,
    ) -> Result<Verdict, VerifyError> {
        verify::verify(&self.shared.layout, key, pace)
    }

    /// Takes a damaged tree out of the store, so that it is pulled again. What is mounted of it
    /// stays. Whether it was in use; nothing if it is not in the store any more.
    pub fn condemn(&self, tree: Arc<StoredTree>) -> Result<Option<bool>, DiscardError> {
        verify::condemn(&self.shared, &self.next_staging, tree)
    }

    /// A tree that is to be looked at: that does not count as a use, but keeps it from being
    /// removed.
    pub fn hold(&self, key: &str) -> Option<Arc<StoredTree>> {
        self.shared.index.quietly(key)
    }

    /// The key of a tree that a volume shows and whose files were found damaged.
    pub fn damaged(&self, volume_id: &str) -> Option<String> {
        self.shared.index.damaged(volume_id)
    }

    /// Keeps a tree while this store is open: it is mounted, and no record says so. Whether
    /// there is such a tree that no record names.
    pub fn pin(&self, key: &str) -> bool {
        let unknown = !self.shared.index.is_named(key) && self.shared.index.quietly(key).is_some();
        if unknown {
            self.shared.index.pin(key);
        }
        unknown
    }

    /// Drops manifests, references and grants that were not used for `retention` and that no
    /// volume depends on, those that lead to nothing, and the oldest of too many. How many.
    pub fn sweep(&self, retention: Duration) -> Result<u64, FileError> {
        let bounds = (retention, sweep::Most::default());
        sweep::sweep(&self.shared, &self.writing, bounds, SystemTime::now())
    }

    /// The file system that the state directory is on.
    pub fn disk(&self) -> io::Result<Disk> {
        gc::disk(&self.shared)
    }

    /// A new private directory to make a tree in.
    pub fn stage(&self) -> io::Result<Staging> {
        Staging::new(&self.shared, &self.next_staging)
    }

    /// Brings trees to the disk, so that they need not be pulled again after a power cut. Slow:
    /// to be called when no pod waits for it. What failed, of which tree.
    pub fn flush(&self, keys: &[String]) -> Vec<(String, FlushError)> {
        durable::flush(&self.shared, keys)
    }

    /// The keys of the trees that [`flush`](Self::flush) has work for, sorted.
    pub fn unflushed(&self) -> Vec<String> {
        self.shared.index.unflushed()
    }

    /// Keeps a manifest's or index's body, which the caller has verified.
    pub fn put_manifest(&self, digest: &Digest, body: &[u8]) -> Result<(), FileError> {
        let _writing = self.writing();
        manifests::put(&self.shared, digest, body)
    }

    /// A body that was kept, verified once more.
    pub fn manifest(&self, digest: &Digest) -> Option<Vec<u8>> {
        self.read_manifest(digest).map(|(body, _)| body)
    }

    /// The same, and what its file was, for [`has_read`](Self::has_read).
    pub(crate) fn read_manifest(&self, digest: &Digest) -> Option<(Vec<u8>, Stamp)> {
        or_none(manifests::read(&self.shared, digest))
    }

    /// Whether a body is still there as it was read before. Does not read it.
    pub(crate) fn has_read(&self, digest: &Digest, stamp: &Stamp) -> bool {
        manifests::is_as_read(&self.shared, digest, stamp)
    }

    /// Remembers what a reference resolved to, now.
    pub fn put_reference(&self, reference: &Reference, digest: &Digest) -> Result<(), FileError> {
        let _writing = self.writing();
        references::put(&self.shared, reference, digest)
    }

    /// What a reference resolved to last.
    pub fn reference(&self, reference: &Reference) -> Option<ReferenceRecord> {
        or_none(references::get(&self.shared, reference))
    }

    /// Remembers that the caller with these `identities` has read `repository` at `digest`.
    /// [`Identity::Anonymous`] grants it to everybody. At most 100 identities are kept, the newest.
    pub fn grant(
        &self,
        repository: &Repository,
        digest: &Digest,
        identities: &[Identity],
    ) -> Result<(), FileError> {
        let _guard = self.grants.lock().unwrap_or_else(PoisonError::into_inner);
        let _writing = self.writing();
        grants::add(&self.shared, repository, digest, identities)
    }

    /// Whether everybody, or one of `identities`, has read `repository` at `digest`. A grant
    /// that cannot be read is none.
    pub fn is_granted(
        &self,
        repository: &Repository,
        digest: &Digest,
        identities: &[Identity],
    ) -> bool {
        or_none(grants::covers(&self.shared, repository, digest, identities).map(Some))
            .unwrap_or(false)
    }

    /// Whether anybody has read `repository` at `digest`.
    pub fn is_known(&self, repository: &Repository, digest: &Digest) -> bool {
        or_none(grants::exists(&self.shared, repository, digest).map(Some)).unwrap_or(false)
    }

    /// Remembers that `repository` itself has delivered every byte of the tree `key`.
    pub fn vouch(&self, repository: &Repository, key: &str) -> Result<(), FileError> {
        self.grant(repository, &grants::of_tree(key), &[Identity::Anonymous])
    }

    /// Whether `repository` has delivered the tree `key`. A manifest only *names* its layers: a
    /// repository that never had their bytes must not get at another one's tree by naming them.
    pub fn is_vouched(&self, repository: &Repository, key: &str) -> bool {
        let made_it = |tree: Arc<StoredTree>| tree.info.repository.as_ref() == Some(repository);
        self.shared.index.quietly(key).is_some_and(made_it)
            || self.is_granted(repository, &grants::of_tree(key), &[])
    }

    /// Whether a tree of these layers is here, whoever delivered it. Needs no disk.
    pub fn may_have_layers(&self, layers: &[Digest]) -> bool {
        !self.shared.index.made_of(&layers.iter().collect::<Vec<_>>()).is_empty()
    }

    /// Whether a tree of these layers is here that `repository` has delivered.
    pub fn has_layers(&self, repository: &Repository, layers: &[&Digest]) -> bool {
        let keys = self.shared.index.made_of(layers);
        keys.iter().any(|key| self.is_vouched(repository, key))
    }

    /// Writes a volume's record over the one that is there. The trees that it names stay until
    /// it is replaced or removed; they are held by the caller until then.
    pub fn put_record(&self, record: &Record) -> Result<RecordFile, FileError> {
        // Before it is written, and besides what the old one names, in case this fails.
        self.shared.index.will_name(&record.volume_id, &record.trees);
        let file = records::put(&self.shared, record)?;
        self.shared.index.names(&record.volume_id, &record.trees);
        Ok(file)
    }

    /// A volume's record. One that makes no sense is put aside and counts as absent.
    pub fn record(&self, volume_id: &str) -> Result<Option<Record>, FileError> {
        records::get(&self.shared, volume_id)
    }

    /// Removes a volume's record; that there is none is success.
    pub fn remove_record(&self, volume_id: &str) -> Result<(), FileError> {
        let trees = self.shared.index.named_by(volume_id);
        records::remove(&self.shared, volume_id)?;
        self.shared.index.names(volume_id, &[]);
        trees.iter().for_each(|tree| tree.note_use());
        // Unmounted, and its record is gone: of the damaged tree that it showed nobody needs this.
        self.shared.index.released(volume_id).iter().for_each(|name| self.shared.remove(name));
        Ok(())
    }

    /// How much is here now. Reads a directory's names, and no file.
    pub fn counts(&self) -> Result<Stored, FileError> {
        let (trees, bytes) = self.shared.index.size();
        Ok(Stored { volumes: records::count(&self.shared)?, trees, bytes })
    }

    /// All records, in a stable order.
    pub fn records(&self) -> Result<Vec<Record>, FileError> {
        records::list(&self.shared)
    }

    fn writing(&self) -> RwLockReadGuard<'_, ()> {
        self.writing.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For what only saves work: not being able to read it is as good as not having it.
fn or_none<T>(result: Result<Option<T>, FileError>) -> Option<T> {
    result.unwrap_or_else(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        tracing::warn!(%error, cause, "treated as absent");
        None
    })
}

#[cfg(test)]
mod tests;
