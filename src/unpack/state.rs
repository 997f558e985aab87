//! What all layers of an artifact share: the tree so far, its sink, and what was used of the
//! limits.

use crate::artifact::path::TreePath;
use crate::artifact::tree::{Dir, Node, Tree};

use super::error::Problem;
use super::limits::{Exceeded, Limit, Limits};
use super::sink::Sink;

/// What all layers of an artifact share.
#[derive(Debug)]
pub(super) struct State<S> {
    pub(super) tree: Tree,
    pub(super) sink: S,
    pub(super) limits: Limits,
    pub(super) entries: u32,
    pub(super) bytes: u64,
    pub(super) warnings: Vec<String>,
}

impl<S> State<S> {
    fn exceeded(limit: Limit, value: u64, at: &TreePath) -> Problem {
        Problem::Limit(Exceeded { limit, value, at: Some(at.to_string()) })
    }

    /// Counts one entry.
    pub(super) fn count_entry(&mut self, at: &TreePath) -> Result<(), Problem> {
        if self.entries >= self.limits.entries {
            let value = u64::from(self.limits.entries);
            return Err(Self::exceeded(Limit::Entries, value, at));
        }
        self.entries += 1;
        Ok(())
    }

    /// Whether a path is too deep.
    pub(super) fn check_depth(&self, path: &TreePath) -> Result<(), Problem> {
        if path.depth() > self.limits.depth as usize {
            let value = u64::from(self.limits.depth);
            return Err(Self::exceeded(Limit::Depth, value, path));
        }
        Ok(())
    }

    /// The limit that a file of `size` bytes would exceed.
    pub(super) fn check_size(&self, path: &TreePath, size: u64) -> Result<(), Problem> {
        let Limits { file_bytes, total_bytes, .. } = self.limits;
        if size > file_bytes {
            return Err(Self::exceeded(Limit::FileBytes, file_bytes, path));
        }
        if size > total_bytes.saturating_sub(self.bytes) {
            return Err(Self::exceeded(Limit::TotalBytes, total_bytes, path));
        }
        Ok(())
    }
}

impl<S: Sink> State<S> {
    /// Removes what is at a path, if anything is.
    pub(super) fn remove(&mut self, path: &TreePath) -> Result<(), Problem> {
        let Some((name, parents)) = path.components().split_last() else { return Ok(()) };
        let State { tree, sink, .. } = self;
        match dir_mut(tree, parents).and_then(|dir| dir.entries.remove(name)) {
            Some(node) => sink.remove(path, &node).map_err(|error| Problem::from_sink(error, path)),
            None => Ok(()),
        }
    }

    /// Puts a node into a directory that exists.
    pub(super) fn insert(&mut self, path: &TreePath, node: Node) {
        if let Some((name, parents)) = path.components().split_last()
            && let Some(dir) = dir_mut(&mut self.tree, parents)
        {
            dir.entries.insert(name.clone(), node);
        }
    }
}

/// The first `depth` components of a path.
pub(super) fn prefix(path: &TreePath, depth: usize) -> TreePath {
    let mut prefix = path.clone();
    while prefix.depth() > depth {
        prefix = prefix.parent().unwrap_or_default();
    }
    prefix
}

/// A directory, by components that may be none.
pub(super) fn dir_mut<'t>(tree: &'t mut Tree, components: &[String]) -> Option<&'t mut Dir> {
    let mut dir = tree.root_mut();
    for name in components {
        match dir.entries.get_mut(name) {
            Some(Node::Dir(next)) => dir = next,
            _ => return None,
        }
    }
    Some(dir)
}

/// What is at a path.
pub(super) fn child<'t>(tree: &'t mut Tree, components: &[String]) -> Option<&'t mut Node> {
    let (name, parents) = components.split_last()?;
    dir_mut(tree, parents)?.entries.get_mut(name)
}

/// The last layer that made or touched a node.
pub(super) fn layer_of(node: &Node) -> usize {
    match node {
        Node::Dir(dir) => dir.layer,
        Node::File(file) => file.layer,
        Node::Symlink(link) => link.layer,
    }
}

/// What a node is, for people.
pub(super) fn kind_of(node: &Node) -> &'static str {
    match node {
        Node::Dir(_) => "directory",
        Node::File(_) => "file",
        Node::Symlink(_) => "symbolic link",
    }
}
