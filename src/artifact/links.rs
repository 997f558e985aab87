//! Symbolic links inside a skill (formats.md §6.4). Agents ignore links, so each becomes a
//! regular file with its target's bytes; a link that cannot become one is an error, never
//! dropped.

use super::path::TreePath;
use super::tree::{Dir, Node, Tree};

/// How many links one may lead through, itself included.
pub const MAX_HOPS: usize = 8;

/// Why a link cannot become a regular file.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LinkError {
    /// The target starts with a slash.
    #[error("symbolic link {link:?} has an absolute target, {target:?}")]
    Absolute {
        /// The link.
        link: TreePath,
        /// Its target.
        target: String,
    },
    /// The target is outside the skill.
    #[error("symbolic link {link:?} leads out of the skill, to {target:?}")]
    Escapes {
        /// The link.
        link: TreePath,
        /// Its target, or that of a link it leads through.
        target: String,
    },
    /// There is nothing at the target.
    #[error("symbolic link {link:?} leads to {target:?}, which does not exist")]
    Dangling {
        /// The link.
        link: TreePath,
        /// Its target, or that of a link it leads through.
        target: String,
    },
    /// The target is a directory. Copying trees would make a small artifact large.
    #[error("symbolic link {link:?} leads to {target:?}, a directory; only links to files work")]
    Directory {
        /// The link.
        link: TreePath,
        /// Its target, or that of a link it leads through.
        target: String,
    },
    /// A directory on the way is itself a link.
    #[error("symbolic link {link:?} leads to {target:?} through another link to a directory")]
    Through {
        /// The link.
        link: TreePath,
        /// Its target, or that of a link it leads through.
        target: String,
    },
    /// The links never end at a file, or not soon enough.
    #[error(
        "symbolic link {link:?} leads to {target:?} and on through more than {MAX_HOPS} links \
         or in a circle"
    )]
    TooManyHops {
        /// The link.
        link: TreePath,
        /// Its target.
        target: String,
    },
}

/// All links below `root`, each with the regular file it leads to, in byte order. The file is
/// below `root` too, and every link on the way is.
pub fn resolve_links(tree: &Tree, root: &TreePath) -> Result<Vec<(TreePath, TreePath)>, LinkError> {
    let mut resolved = Vec::new();
    for (path, node) in tree.walk(root) {
        if let Node::Symlink(_) = node {
            let file = resolve(tree, root, &path)?;
            resolved.push((path, file));
        }
    }
    Ok(resolved)
}

/// The regular file below `root` that the link at `link` leads to.
pub(super) fn resolve(
    tree: &Tree,
    root: &TreePath,
    link: &TreePath,
) -> Result<TreePath, LinkError> {
    let mut at = link.clone();
    let mut target = String::new();
    for _ in 0..=MAX_HOPS {
        match tree.get(&at) {
            Some(Node::File(_)) => return Ok(at),
            Some(Node::Dir(_)) => {
                return Err(LinkError::Directory { link: link.clone(), target });
            }
            None if at.is_root() => {
                return Err(LinkError::Directory { link: link.clone(), target });
            }
            None => return Err(LinkError::Dangling { link: link.clone(), target }),
            Some(Node::Symlink(symlink)) => {
                target.clone_from(&symlink.target);
                at = step(tree, root, link, &at, &symlink.target)?;
            }
        }
    }
    let target = match tree.get(link) {
        Some(Node::Symlink(symlink)) => symlink.target.clone(),
        _ => target,
    };
    Err(LinkError::TooManyHops { link: link.clone(), target })
}

/// Where one target leads, component by component as the kernel would go: `..` after a link to
/// a directory is not what its text says, so no such link is gone through.
fn step(
    tree: &Tree,
    root: &TreePath,
    link: &TreePath,
    at: &TreePath,
    target: &str,
) -> Result<TreePath, LinkError> {
    let error = || (link.clone(), target.to_owned());
    let dangling = || {
        let (link, target) = error();
        LinkError::Dangling { link, target }
    };
    let escapes = || {
        let (link, target) = error();
        LinkError::Escapes { link, target }
    };
    if target.starts_with('/') {
        let (link, target) = error();
        return Err(LinkError::Absolute { link, target });
    }
    let mut path = at.parent().unwrap_or_default();
    let components: Vec<&str> =
        target.split('/').filter(|component| !matches!(*component, "" | ".")).collect();
    for (index, component) in components.iter().enumerate() {
        if *component == ".." {
            path = path.parent().ok_or_else(escapes)?;
            continue;
        }
        // A name that no path can have is the name of nothing.
        path = path.join(component).map_err(|_| dangling())?;
        if index + 1 < components.len() {
            match tree.get(&path) {
                Some(Node::Dir(Dir { .. })) => {}
                Some(Node::Symlink(_)) => {
                    let (link, target) = error();
                    return Err(LinkError::Through { link, target });
                }
                // Outside the skill nothing is told about what there is.
                Some(Node::File(_)) | None if path.strip(root).is_none() => return Err(escapes()),
                Some(Node::File(_)) | None => return Err(dangling()),
            }
        }
    }
    if components.is_empty() {
        return Err(dangling());
    }
    match path.strip(root) {
        Some(_) => Ok(path),
        None => Err(escapes()),
    }
}

#[cfg(test)]
mod tests;
