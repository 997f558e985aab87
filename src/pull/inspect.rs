//! What a reference would mount, without writing a file: the same walk, the same unpacking and
//! the same judgement, into memory.

use std::sync::Arc;

use super::judge::judge;
use super::layers::{self, Work};
use super::progress::Progress;
use super::walk::Walk;
use super::{PullConfig, PullError, PullRequest};
use crate::artifact::plan::Layer;
use crate::artifact::skill::{FindError, Shape, Skill};
use crate::reference::Digest;
use crate::registry::Registry;
use crate::store::Totals;
use crate::unpack::MemorySink;

/// What a reference resolved to.
#[derive(Debug)]
pub struct Inspected {
    /// The digest of the manifest or index.
    pub digest: Digest,
    /// Whether it is a collection that points to its members.
    pub collection: bool,
    /// Its trees.
    pub parts: Vec<InspectedPart>,
}

/// One tree of it.
#[derive(Debug)]
pub struct InspectedPart {
    /// Where it is: its repository, or its layout.
    pub place: String,
    /// The digest of its manifest.
    pub digest: Digest,
    /// The format's stable name.
    pub format: &'static str,
    /// The layers: digest, media type and size as the manifest claims them.
    pub layers: Vec<(Digest, String, u64)>,
    /// How the skills lie in it.
    pub shape: Shape,
    /// The skills.
    pub skills: Vec<Skill>,
    /// How much a volume would show of it.
    pub totals: Totals,
    /// What is odd about it.
    pub warnings: Vec<String>,
}

/// Looks at a reference. Downloads its layers, keeps SKILL.md files in memory and nothing else
/// anywhere.
pub async fn inspect(
    registry: &Registry,
    config: &PullConfig,
    request: &PullRequest,
) -> Result<Inspected, PullError> {
    let found = Walk::new(registry, config, request).parts(None).await?;
    let mut parts = Vec::with_capacity(found.parts.len());
    let mut findings = Vec::new();
    let downloads = layers::Downloads::new(config.downloads);
    for mut part in found.parts {
        let limits = config.limits;
        let (sink, progress) = (MemorySink::new(&limits), Arc::new(Progress::default()));
        let work = Work { begin: || Ok((sink, ())), end: |unpacked, ()| Ok(unpacked) };
        let (opening, bounds) = (part.opening.take(), (limits, &downloads));
        let source = (&part.plan, opening);
        let mut unpacked =
            layers::lay_out(registry, &part.origin, source, work, bounds, &progress).await?;
        let verdict = match judge(&part, &mut unpacked) {
            // What a strict validation minds about one skill does not hide it in the next.
            Err(PullError::Find(FindError::Strict { findings: more })) => {
                findings.extend(more);
                continue;
            }
            verdict => verdict?,
        };
        let layer = |layer: &Layer| {
            let descriptor = &layer.descriptor;
            (descriptor.digest.clone(), descriptor.media_type.clone(), descriptor.size)
        };
        parts.push(InspectedPart {
            place: part.origin.place(),
            digest: part.digest,
            format: part.plan.format,
            layers: part.plan.layers.iter().map(layer).collect(),
            shape: verdict.layout.shape,
            skills: verdict.layout.skills,
            totals: verdict.totals.iter().copied().sum(),
            warnings: [part.findings, verdict.warnings].concat(),
        });
    }
    if !findings.is_empty() {
        return Err(FindError::Strict { findings }.into());
    }
    Ok(Inspected { digest: found.digest, collection: found.collection, parts })
}
