//! What may be used, and how it is judged: manifests, and the skills in unpacked files, which are
//! found, counted and put into place.

use std::os::fd::BorrowedFd;

use super::walk::Part;
use super::{PullConfig, PullError};
use crate::artifact::config::Config;
use crate::artifact::contents::Contents;
use crate::artifact::document::Manifest;
use crate::artifact::lifecycle::{Advice, Status};
use crate::artifact::links::resolve_links;
use crate::artifact::path::TreePath;
use crate::artifact::plan::Plan;
use crate::artifact::skill::{FindError, Layout, Shape, Skill, find_below};
use crate::artifact::tree::{Node, Tree};
use crate::reference::Digest;
use crate::store::{SkillInfo, Totals};
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
    /// What there is of each skill, in their order; of a raw tree, of the whole.
    pub(super) totals: Vec<Totals>,
}

/// What is odd about a manifest and its config, or what forbids to use them; and what the config
/// says about the layers.
pub(super) fn judged(
    config: &PullConfig,
    digest: &Digest,
    manifest: &Manifest,
    plan: &mut Plan,
    body: Option<&[u8]>,
) -> Result<Vec<String>, PullError> {
    let mut findings = plan.warnings.clone();
    if let Some(body) = body {
        let read = Config::parse(manifest, body)
            .map_err(|source| PullError::ConfigRead { digest: digest.clone(), source })?;
        findings.extend(read.iter().flat_map(|config| config.findings(manifest)));
        if let Some(Config::Image(image)) = read {
            plan.expect(&image.diff_ids);
        }
    }
    match Status::of(manifest) {
        Some(status) if config.refuse_status.contains(&status) => {
            return Err(PullError::Status(status));
        }
        Some(status) if status.advice() == Advice::Warn => {
            findings.push(format!("its status is {status} [skillimage: io.skillimage.status]"));
        }
        Some(_) | None => {}
    }
    Ok(findings)
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
        false => match find_below(
            &unpacked.tree,
            part.options.sub_path.as_ref().unwrap_or(&TreePath::root()),
            &mut unpacked.sink,
            &part.hints,
            validation,
        ) {
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
    let root = TreePath::root();
    let roots: Vec<&TreePath> = match layout.shape {
        Shape::Raw => vec![&root],
        Shape::Single | Shape::Collection => layout.skills.iter().map(|s| &s.root).collect(),
    };
    let totals = roots.into_iter().map(|root| count(&unpacked.tree, root)).collect();
    Ok(Verdict { layout, warnings, totals })
}

/// What is below `root`, itself included. A link becomes a hard link: it is a file more, but no
/// inode and no bytes.
fn count(tree: &Tree, root: &TreePath) -> Totals {
    let mut totals = Totals { files: 0, bytes: 0, inodes: 1 };
    for (_, node) in tree.walk(root) {
        match node {
            Node::Dir(_) => totals.inodes += 1,
            Node::Symlink(_) => totals.files += 1,
            Node::File(file) => {
                totals.files += 1;
                totals.inodes += 1;
                totals.bytes += file.size;
            }
        }
    }
    totals
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

/// What the store keeps of each skill.
pub(super) fn infos(verdict: &Verdict) -> Vec<SkillInfo> {
    let skills = verdict.layout.skills.iter().zip(&verdict.totals);
    let info = |(skill, totals): (&Skill, &Totals)| SkillInfo {
        name: skill.name.clone(),
        description: skill.description.clone(),
        totals: *totals,
    };
    skills.map(info).collect()
}
