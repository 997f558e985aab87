//! From the staged tree to the directories that are mounted: one for each skill.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{RenameFlags, renameat_with};

use crate::artifact::path::TreePath;
use crate::artifact::tree::{Node, Tree};

use super::disk::{DiskSink, make_dir};
use super::sink::Sink;

/// The name that an agent looks for.
const SKILL_MD: &str = "SKILL.md";
/// The directory of a tree that is published as it is.
const RAW: &str = "root";

/// A skill of the tree, and what to make of it. All paths are relative to the tree's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The skill's root; it may be the tree's.
    pub root: TreePath,
    /// The name of the skill's directory.
    pub name: String,
    /// The file that becomes `SKILL.md` in the skill's root.
    pub skill_md: TreePath,
    /// Symbolic links below the root, and the regular files they lead to.
    pub links: Vec<(TreePath, TreePath)>,
}

/// Why a tree cannot be materialised.
#[derive(Debug, thiserror::Error)]
pub enum MaterialiseError {
    /// Two skills of which one is inside the other.
    #[error("skill {inner:?} is inside of skill {outer:?}")]
    Nested {
        /// The outer root.
        outer: TreePath,
        /// The inner root.
        inner: TreePath,
    },
    /// A skill's name that is not a directory's.
    #[error("{name:?} cannot be the name of a skill's directory")]
    Name {
        /// The name.
        name: String,
    },
    /// A path that is not what it should be.
    #[error("{path:?} is not a {expected} of the tree")]
    Missing {
        /// The path.
        path: TreePath,
        /// What it should be.
        expected: &'static str,
    },
    /// Something else is already named SKILL.md.
    #[error("{path:?} cannot become SKILL.md: its skill already has one")]
    Occupied {
        /// The file that was to become it.
        path: TreePath,
    },
    /// A directory for the result cannot be made.
    #[error("cannot make directory {name:?} for the result")]
    Directory {
        /// Its name.
        name: String,
        /// The system's error.
        source: io::Error,
    },
    /// A link cannot be made a file.
    #[error("cannot make a file of link {path:?}")]
    Link {
        /// The link.
        path: TreePath,
        /// The system's error.
        source: io::Error,
    },
    /// Something cannot be moved.
    #[error("cannot move {path:?} to its place")]
    Move {
        /// What was to be moved.
        path: TreePath,
        /// The system's error.
        source: io::Error,
    },
}

impl MaterialiseError {
    /// The system's error, where it was one.
    pub fn io(&self) -> Option<&io::Error> {
        match self {
            Self::Directory { source, .. }
            | Self::Link { source, .. }
            | Self::Move { source, .. } => Some(source),
            Self::Nested { .. }
            | Self::Name { .. }
            | Self::Missing { .. }
            | Self::Occupied { .. } => None,
        }
    }
}

/// Moves each skill to `<slot>/<name>` below `out`; the slot is its position in `placements`.
/// `out` is empty and on the file system of the sink's directory. What belongs to no skill stays
/// behind. The tree no longer describes the sink's directory afterwards.
pub fn materialise(
    sink: &mut DiskSink,
    tree: &Tree,
    placements: &[Placement],
    out: BorrowedFd<'_>,
) -> Result<(), MaterialiseError> {
    check(tree, placements)?;
    for (slot, placement) in placements.iter().enumerate() {
        link(sink, tree, &placement.links)?;
        rename_skill_md(sink, tree, placement)?;
        let slot = directory(out, &slot.to_string())?;
        if placement.root.is_root() {
            let skill = directory(slot.as_fd(), &placement.name)?;
            move_root(sink, tree, &placement.links, Some(&placement.skill_md), skill.as_fd())?;
        } else {
            shift(sink, &placement.root, slot.as_fd(), &placement.name)?;
        }
    }
    Ok(())
}

/// Moves the whole tree to `root` below `out`, with `links` as for [`Placement::links`].
pub fn materialise_raw(
    sink: &mut DiskSink,
    tree: &Tree,
    links: &[(TreePath, TreePath)],
    out: BorrowedFd<'_>,
) -> Result<(), MaterialiseError> {
    link(sink, tree, links)?;
    let root = directory(out, RAW)?;
    move_root(sink, tree, links, None, root.as_fd())
}

fn check(tree: &Tree, placements: &[Placement]) -> Result<(), MaterialiseError> {
    let missing =
        |path: &TreePath, expected| Err(MaterialiseError::Missing { path: path.clone(), expected });
    for (index, placement) in placements.iter().enumerate() {
        let Placement { root, name, skill_md, links } = placement;
        match TreePath::parse(name.as_bytes()) {
            Ok(path) if path.depth() == 1 && path.name() == Some(name) => {}
            _ => return Err(MaterialiseError::Name { name: name.clone() }),
        }
        if tree.dir(root).is_none() {
            return missing(root, "directory");
        }
        let linked = links.iter().any(|(link, _)| link == skill_md);
        if skill_md.strip(root).is_none_or(|path| path.is_root())
            || !(linked || tree.is_file(skill_md))
        {
            return missing(skill_md, "file of the skill");
        }
        for other in &placements[index + 1..] {
            let nested = |outer: &Placement, inner: &Placement| MaterialiseError::Nested {
                outer: outer.root.clone(),
                inner: inner.root.clone(),
            };
            if other.root.strip(root).is_some() {
                return Err(nested(placement, other));
            }
            if root.strip(&other.root).is_some() {
                return Err(nested(other, placement));
            }
        }
    }
    Ok(())
}

/// Makes links regular files: other names of the files they lead to.
fn link(
    sink: &mut DiskSink,
    tree: &Tree,
    links: &[(TreePath, TreePath)],
) -> Result<(), MaterialiseError> {
    for (path, file) in links {
        if !matches!(tree.get(path), Some(Node::Symlink(_))) {
            return Err(MaterialiseError::Missing { path: path.clone(), expected: "link" });
        }
        if !tree.is_file(file) {
            return Err(MaterialiseError::Missing { path: file.clone(), expected: "file" });
        }
        sink.link(file, path)
            .map_err(|source| MaterialiseError::Link { path: path.clone(), source })?;
    }
    Ok(())
}

fn rename_skill_md(
    sink: &mut DiskSink,
    tree: &Tree,
    placement: &Placement,
) -> Result<(), MaterialiseError> {
    let Placement { root, skill_md, links, .. } = placement;
    let Ok(wanted) = root.join(SKILL_MD) else { return Ok(()) };
    if *skill_md == wanted {
        return Ok(());
    }
    if tree.get(&wanted).is_some() || links.iter().any(|(link, _)| *link == wanted) {
        return Err(MaterialiseError::Occupied { path: skill_md.clone() });
    }
    let into = open(sink, root, skill_md)?;
    shift(sink, skill_md, into.as_fd(), SKILL_MD)
}

/// Moves what is in the tree's root. `skill_md` already has its new name there.
fn move_root(
    sink: &mut DiskSink,
    tree: &Tree,
    links: &[(TreePath, TreePath)],
    skill_md: Option<&TreePath>,
    into: BorrowedFd<'_>,
) -> Result<(), MaterialiseError> {
    for (name, node) in &tree.root().entries {
        let Ok(path) = TreePath::root().join(name) else { continue };
        let link = matches!(node, Node::Symlink(_));
        if Some(&path) == skill_md || link && !links.iter().any(|(link, _)| *link == path) {
            continue;
        }
        shift(sink, &path, into, name)?;
    }
    match (skill_md, TreePath::root().join(SKILL_MD)) {
        (Some(_), Ok(renamed)) => shift(sink, &renamed, into, SKILL_MD),
        _ => Ok(()),
    }
}

/// Moves one file or directory. Nothing is ever overwritten.
fn shift(
    sink: &mut DiskSink,
    path: &TreePath,
    into: BorrowedFd<'_>,
    name: &str,
) -> Result<(), MaterialiseError> {
    sink.forget();
    let from = open(sink, &path.parent().unwrap_or_default(), path)?;
    renameat_with(&from, path.name().unwrap_or_default(), into, name, RenameFlags::NOREPLACE)
        .map_err(|errno| MaterialiseError::Move { path: path.clone(), source: errno.into() })
}

fn open(sink: &DiskSink, dir: &TreePath, path: &TreePath) -> Result<OwnedFd, MaterialiseError> {
    sink.open_dir(dir).map_err(|source| MaterialiseError::Move { path: path.clone(), source })
}

fn directory(parent: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, MaterialiseError> {
    make_dir(parent, name)
        .map_err(|source| MaterialiseError::Directory { name: name.to_owned(), source })
}
