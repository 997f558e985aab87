//! From unpacked files to skills: find them, judge them, count them, put them into place.

use std::os::fd::BorrowedFd;

use super::PullError;
use super::walk::Part;
use crate::artifact::contents::Contents;
use crate::artifact::links::resolve_links;
use crate::artifact::path::TreePath;
use crate::artifact::skill::{FindError, Layout, Shape, Skill, find};
use crate::artifact::tree::{Node, Tree};
use crate::store::SkillInfo;
use crate::unpack::DiskSink;
use crate::unpack::Unpacked;
use crate::unpack::{Placement, materialise, materialise_raw};

/// What was found in an unpacked artifact.
pub(super) struct Verdict {
    /// The skills, or the whole tree.
    pub(super) layout: Layout,
    /// What is odd about its files. What is odd about the manifest stays with the part: other
    /// manifests have the same files.
    pub(super) warnings: Vec<String>,
    /// Files that the volume shows.
    pub(super) files: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    /// Files and directories.
    pub(super) inodes: u64,
}

/// Finds the skills and judges them, and what led to them, as strictly as was asked for.
pub(super) fn judge<S: Contents>(
    part: &Part,
    unpacked: &mut Unpacked<S>,
) -> Result<Verdict, PullError> {
    let validation = part.options.validation;
    let mut findings = [part.findings.as_slice(), &unpacked.warnings].concat();
    let layout = match part.options.raw {
        true => Layout::raw(),
        false => match find(&unpacked.tree, &mut unpacked.sink, &part.hints, validation) {
            // An author wants to hear of everything at once.
            Err(FindError::Strict { findings: more }) => {
                findings.extend(more);
                return Err(FindError::Strict { findings }.into());
            }
            found => found?,
        },
    };
    validation.judge(findings)?;
    let mut warnings = unpacked.warnings.clone();
    warnings.extend(layout.warnings.iter().cloned());
    let (mut files, mut bytes, mut inodes) = (0, 0, 0);
    let root = TreePath::root();
    let roots: Vec<&TreePath> = match layout.shape {
        Shape::Raw => vec![&root],
        Shape::Single | Shape::Collection => layout.skills.iter().map(|s| &s.root).collect(),
    };
    for root in roots {
        let count = count(&unpacked.tree, root);
        files += count.0;
        bytes += count.1;
        inodes += count.2;
    }
    Ok(Verdict { layout, warnings, files, bytes, inodes })
}

/// Files, bytes and inodes below `root`, itself included. A link becomes a hard link: it is a
/// file more, but no inode and no bytes.
fn count(tree: &Tree, root: &TreePath) -> (u64, u64, u64) {
    let (mut files, mut bytes, mut inodes) = (0, 0, 1);
    for (_, node) in tree.walk(root) {
        match node {
            Node::Dir(_) => inodes += 1,
            Node::Symlink(_) => files += 1,
            Node::File(file) => {
                files += 1;
                inodes += 1;
                bytes += file.size;
            }
        }
    }
    (files, bytes, inodes)
}

/// Puts the files of what was found into place below `out`.
pub(super) fn place(
    layout: &Layout,
    unpacked: &mut Unpacked<DiskSink>,
    out: BorrowedFd<'_>,
) -> Result<(), PullError> {
    let Unpacked { tree, sink, .. } = unpacked;
    if layout.shape == Shape::Raw {
        let links = resolve_links(tree, &TreePath::root())?;
        return Ok(materialise_raw(sink, tree, &links, out)?);
    }
    let placement = |skill: &Skill| {
        Ok(Placement {
            root: skill.root.clone(),
            name: skill.name.clone(),
            skill_md: skill.skill_md.clone(),
            links: resolve_links(tree, &skill.root)?,
        })
    };
    let placements: Result<Vec<_>, PullError> = layout.skills.iter().map(placement).collect();
    Ok(materialise(sink, tree, &placements?, out)?)
}

/// What the store keeps of a skill.
pub(super) fn info(skill: &Skill) -> SkillInfo {
    SkillInfo {
        name: skill.name.clone(),
        description: skill.description.clone(),
        files: skill.files,
        bytes: skill.bytes,
    }
}
