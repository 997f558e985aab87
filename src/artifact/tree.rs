//! The shape of an unpacked artifact, kept in memory while it is unpacked: which paths exist and
//! what they are. Contents are elsewhere; the number of nodes is bounded by the unpack limits.

use std::collections::BTreeMap;

use super::path::TreePath;

/// One entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A directory and what is in it.
    Dir(Dir),
    /// A regular file.
    File(File),
    /// A symbolic link. It exists only here: none is ever made on disk.
    Symlink(Symlink),
}

/// A directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dir {
    /// Names and what they are, in byte order.
    pub entries: BTreeMap<String, Node>,
    /// The last layer that named this directory or put something into it.
    pub layer: usize,
}

/// A regular file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its length in bytes.
    pub size: u64,
    /// Whether any of the source's three execute bits was set.
    pub executable: bool,
    /// The layer it came from.
    pub layer: usize,
}

/// A symbolic link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Symlink {
    /// The target as the archive says it.
    pub target: String,
    /// The layer it came from.
    pub layer: usize,
}

/// A whole tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    root: Dir,
}

impl Tree {
    /// The root directory.
    pub fn root(&self) -> &Dir {
        &self.root
    }

    /// The root directory, for the unpacker.
    pub fn root_mut(&mut self) -> &mut Dir {
        &mut self.root
    }

    /// What is at `path`, without following links. The root is not a node: see [`Tree::dir`].
    pub fn get(&self, path: &TreePath) -> Option<&Node> {
        let (name, parents) = path.components().split_last()?;
        let mut dir = &self.root;
        for parent in parents {
            match dir.entries.get(parent) {
                Some(Node::Dir(next)) => dir = next,
                _ => return None,
            }
        }
        dir.entries.get(name)
    }

    /// The directory at `path`, the root included.
    pub fn dir(&self, path: &TreePath) -> Option<&Dir> {
        if path.is_root() {
            return Some(&self.root);
        }
        match self.get(path) {
            Some(Node::Dir(dir)) => Some(dir),
            _ => None,
        }
    }

    /// Whether `path` is a regular file.
    pub fn is_file(&self, path: &TreePath) -> bool {
        matches!(self.get(path), Some(Node::File(_)))
    }

    /// Everything below `path`, parents before children, in byte order.
    pub fn walk(&self, path: &TreePath) -> Vec<(TreePath, &Node)> {
        fn visit<'a>(at: &TreePath, dir: &'a Dir, out: &mut Vec<(TreePath, &'a Node)>) {
            for (name, node) in &dir.entries {
                // The name came out of a TreePath, so it is clean.
                let Ok(path) = at.join(name) else { continue };
                out.push((path.clone(), node));
                if let Node::Dir(inner) = node {
                    visit(&path, inner, out);
                }
            }
        }
        let mut out = Vec::new();
        if let Some(dir) = self.dir(path) {
            visit(path, dir, &mut out);
        }
        out
    }
}
