//! Whiteouts: names by which an image layer hides what lower layers hold (OCI image
//! specification, layer.md, *Whiteouts*).

use crate::artifact::path::TreePath;

use super::error::Problem;

const PREFIX: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";
/// AUFS keeps its own files under such names (`.wh..wh.plnk`); no tool unpacks them.
const META: &str = ".wh..wh.";

/// What a path says by its names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// Nothing: it is a plain path.
    None,
    /// The sibling of this path is hidden.
    Hides(TreePath),
    /// What lower layers put into this directory is hidden.
    Opaque(TreePath),
    /// It is nothing that anybody should see.
    Ignored,
}

/// Reads a path of an image layer.
pub(super) fn mark(path: &TreePath) -> Result<Mark, Problem> {
    let Some((name, parents)) = path.components().split_last() else { return Ok(Mark::None) };
    let invalid = |reason| Problem::Whiteout { path: path.clone(), reason };
    if parents.iter().any(|parent| parent.starts_with(META)) {
        return Ok(Mark::Ignored);
    }
    if parents.iter().any(|parent| parent.starts_with(PREFIX)) {
        return Err(invalid("has entries below it"));
    }
    let Some(hidden) = name.strip_prefix(PREFIX) else { return Ok(Mark::None) };
    let parent = path.parent().unwrap_or_default();
    match hidden {
        "" | "." | ".." => Err(invalid("names nothing to hide")),
        _ if name == OPAQUE => Ok(Mark::Opaque(parent)),
        _ if name.starts_with(META) => Ok(Mark::Ignored),
        _ => match parent.join(hidden) {
            Ok(hidden) => Ok(Mark::Hides(hidden)),
            Err(source) => Err(Problem::Name { source }),
        },
    }
}

/// Refuses whiteouts where they have no meaning.
pub(super) fn refuse(path: &TreePath) -> Result<(), Problem> {
    match path.components().iter().any(|name| name.starts_with(PREFIX)) {
        true => Err(Problem::Whiteout {
            path: path.clone(),
            reason: "has no meaning here: only layers of container images have whiteouts",
        }),
        false => Ok(()),
    }
}
