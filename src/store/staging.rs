//! Staging: a private directory in which a tree is made before anybody can see it.

use std::ffi::OsStr;
use std::fs::Permissions;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use rustix::fs::{Mode, OFlags, mkdirat, openat, renameat};
use rustix::io::Errno;

use super::durable::describe;
use super::error::CommitError;
use super::remove::remove_tree;
use super::trees::{Shared, StoredTree, TreeInfo, is_key};

const TREE: &str = "tree";
const OUT: &str = "out";
const STALE: &str = "stale";

/// A private directory with two in it: `tree`, for what an artifact unpacks to, and `out`, for
/// what becomes the stored tree. Dropping it removes what is left, which takes as long as
/// removing files does.
#[derive(Debug)]
pub struct Staging {
    shared: Arc<Shared>,
    name: String,
    dir: OwnedFd,
    tree: OwnedFd,
    out: OwnedFd,
    /// How often the disk had failed before anything was written.
    unwritten: u64,
}

impl Staging {
    pub(super) fn new(shared: &Arc<Shared>, next: &AtomicU64) -> io::Result<Self> {
        let unwritten = shared.unwritten().times;
        let parent = &shared.staging_fd;
        let name = loop {
            let name = next.fetch_add(1, Ordering::Relaxed).to_string();
            match mkdirat(parent, &name, Mode::RWXU) {
                // Left by an earlier run and not removable then.
                Err(Errno::EXIST) => {}
                made => {
                    made?;
                    break name;
                }
            }
        };
        let make = || -> io::Result<_> {
            let dir = open(parent.as_fd(), &name)?;
            let sub = |name| -> io::Result<OwnedFd> {
                mkdirat(&dir, name, Mode::RWXU)?;
                open(dir.as_fd(), name)
            };
            let (tree, out) = (sub(TREE)?, sub(OUT)?);
            Ok((dir, tree, out))
        };
        match make() {
            Ok((dir, tree, out)) => {
                Ok(Self { shared: Arc::clone(shared), name, dir, tree, out, unwritten })
            }
            Err(error) => {
                discard(shared, &name);
                Err(error)
            }
        }
    }

    /// The directory for what the artifact unpacks to.
    pub fn tree_fd(&self) -> BorrowedFd<'_> {
        self.tree.as_fd()
    }

    /// The directory for what becomes the stored tree: `<slot>/<name>/…`, or `root/…`.
    pub fn out_fd(&self) -> BorrowedFd<'_> {
        self.out.as_fd()
    }

    /// Makes `out` the tree `key`. If the store has that tree already, that one is returned and
    /// this one dropped: equal keys mean equal files.
    ///
    /// # Errors
    /// Nothing of the staged tree stays in the store then.
    pub fn commit(self, key: &str, info: TreeInfo) -> Result<Arc<StoredTree>, CommitError> {
        if !is_key(key) {
            return Err(CommitError::Key(key.into()));
        }
        if let Some(skill) = info.skills.iter().find(|skill| !is_name(&skill.name)) {
            return Err(CommitError::Name { key: key.into(), name: skill.name.clone() });
        }
        let shared = &self.shared;
        let _guard = shared.commit.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(existing) = shared.index.tree(key) {
            return Ok(existing);
        }
        let unwritten = shared.unwritten();
        if unwritten.times != self.unwritten {
            return Err(CommitError::Lost { key: key.into(), source: unwritten.errno.into() });
        }
        let path = shared.layout.trees.join(key);
        self.rename_out(key).map_err(|source| CommitError::Move { path: path.clone(), source })?;
        let info = TreeInfo { key: key.into(), ..info };
        if let Err(error) = describe(shared, &info) {
            // Back to where it is removed from. If that fails too, it is a directory without a
            // description: the next commit of this key or the next open removes it.
            if let Err(error) = renameat(&shared.trees_fd, key, &self.dir, OUT) {
                tracing::warn!(tree = key, %error, "an undescribed tree stays behind");
            }
            return Err(error.into());
        }
        let tree = Arc::new(StoredTree::new(info, path, false, SystemTime::now()));
        shared.index.insert(Arc::clone(&tree));
        Ok(tree)
    }

    fn rename_out(&self, key: &str) -> io::Result<()> {
        let trees = &self.shared.trees_fd;
        std::fs::File::from(self.out.try_clone()?)
            .set_permissions(Permissions::from_mode(0o755))?;
        // The index does not have the key, so whatever is there was left by a failed commit.
        match renameat(trees, key, &self.dir, STALE) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(renameat(&self.dir, OUT, trees, key)?)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        discard(&self.shared, &self.name);
    }
}

fn discard(shared: &Shared, name: &str) {
    if let Err(error) = remove_tree(shared.staging_fd.as_fd(), OsStr::new(name)) {
        tracing::warn!(staging = name, %error, "cannot remove a staging directory");
    }
}

fn open(dir: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(dir, name, flags, Mode::empty())?)
}

/// The store joins skill names to paths, so it does not take another module's word for them.
fn is_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && name.len() <= 255 && !name.contains(['/', '\0'])
}
