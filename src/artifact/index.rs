//! Which of an index's manifests to take (formats.md §6.2, step 2).

use super::descriptor::{Descriptor, Platform};
use super::document::{Index, Manifest};
use super::media_types::{self as types, Other};
use super::name::{self, NameError};

/// The name of a collection, and the mark of one (Agent Skills OCI draft).
const COLLECTION_NAME: &str = "io.agentskills.collection.name";
/// A skill's name.
pub(super) const SKILL_NAME: &str = "io.agentskills.skill.name";
/// Where a collection's member is, if it is not in the collection's repository.
const SKILL_REFERENCE: &str = "io.agentskills.skill.ref";
/// The same as other producers write it; elsewhere it is a bare tag.
const REFERENCE_NAME: &str = "org.opencontainers.image.ref.name";
/// BuildKit's mark of an attestation.
const DOCKER_REFERENCE_TYPE: &str = "vnd.docker.reference.type";

/// What to fetch next.
///
/// Whatever is fetched must be a manifest: an index below an index is an error, whatever its
/// descriptor claimed.
#[expect(clippy::large_enum_variant, reason = "one per pull, taken apart at once")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// This manifest.
    One {
        /// It.
        child: Descriptor,
        /// What is odd about the choice.
        warnings: Vec<String>,
    },
    /// None is for the node's platform. Fetch all: if [`same_layers`] holds, any will do and the
    /// first is taken; else the error is [`no_platform`].
    Compare(Vec<Descriptor>),
    /// Several skills.
    Collection(Vec<Member>),
}

/// A skill of a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The manifest: its digest is what counts, wherever it is found. The size may be 0.
    pub descriptor: Descriptor,
    /// The skill's name as the collection says it; none if it could not be a directory's.
    pub name: Option<String>,
    /// Where the skill is, if not in the collection's repository. Only ever fetched by the
    /// descriptor's digest.
    pub reference: Option<String>,
}

/// Why nothing of an index can be taken.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum IndexError {
    /// It lists nothing, or only signatures, attestations and SBOMs.
    #[error("the index lists no artifact (of {listed} manifests all are signatures or the like)")]
    Empty {
        /// How many manifests it lists.
        listed: usize,
    },
    /// Only one level of indexes is read.
    #[error("the index lists another index, {digest}; refer to that one by its digest")]
    Nested {
        /// The inner index.
        digest: String,
    },
    /// Two members of a collection have the same name.
    #[error("the collection's names are not unique")]
    Names(#[source] NameError),
    /// The manifests differ, and none is for the node.
    #[error("no manifest for {node} in the index (it has: {found})")]
    NoPlatform {
        /// The node's platform.
        node: String,
        /// The platforms that there are.
        found: String,
    },
}

/// Picks what to fetch of an index for a node of the given platform.
pub fn choose(index: &Index, platform: &Platform) -> Result<Choice, IndexError> {
    let listed = index.manifests.len();
    let left: Vec<&Descriptor> =
        index.manifests.iter().filter(|child| !is_about_another(child)).collect();
    if left.is_empty() {
        return Err(IndexError::Empty { listed });
    }
    if is_collection(index, &left) {
        left.iter().try_for_each(|child| refuse_index(child))?;
        let members: Vec<Member> = left.into_iter().map(member).collect();
        let names = members.iter().filter_map(|member| {
            let digest = member.descriptor.digest.short();
            Some((member.name.as_deref()?, member.reference.clone().unwrap_or(digest)))
        });
        name::refuse_collisions(names).map_err(IndexError::Names)?;
        return Ok(Choice::Collection(members));
    }
    let best = left.iter().filter_map(|child| Some((rank(child, platform)?, *child)));
    // min_by_key returns the first of equals, as container runtimes do.
    if let Some((_, child)) = best.min_by_key(|(rank, _)| *rank) {
        refuse_index(child)?;
        return Ok(Choice::One { child: child.clone(), warnings: Vec::new() });
    }
    let first = left[0];
    left.iter().try_for_each(|child| refuse_index(child))?;
    if left.iter().all(|child| child.digest == first.digest) {
        let warnings = match &first.platform {
            Some(other) => vec![format!(
                "the index has no manifest for {platform}; used {other} [OCI image index: platform]"
            )],
            None => Vec::new(),
        };
        return Ok(Choice::One { child: first.clone(), warnings });
    }
    Ok(Choice::Compare(left.into_iter().cloned().collect()))
}

/// Whether all manifests have the same layers in the same order, so that any will do.
pub fn same_layers(manifests: &[Manifest]) -> bool {
    let layers = |manifest: &Manifest| -> Vec<_> {
        manifest.layers.iter().map(|layer| layer.digest.clone()).collect()
    };
    match manifests.split_first() {
        Some((first, rest)) => {
            let first = layers(first);
            rest.iter().all(|manifest| layers(manifest) == first)
        }
        None => false,
    }
}

/// The error of a [`Choice::Compare`] whose manifests differ.
pub fn no_platform(children: &[Descriptor], platform: &Platform) -> IndexError {
    let found: Vec<String> = children
        .iter()
        .map(|child| match &child.platform {
            Some(platform) => platform.to_string().escape_debug().to_string(),
            None => "none given".into(),
        })
        .collect();
    IndexError::NoPlatform { node: platform.to_string(), found: found.join(", ") }
}

fn is_collection(index: &Index, children: &[&Descriptor]) -> bool {
    index.artifact_type.as_deref() == Some(types::AGENTSKILLS_COLLECTION)
        || index.annotations.contains_key(COLLECTION_NAME)
        || children.iter().all(|child| {
            child.artifact_type.as_deref() == Some(types::AGENTSKILLS_SKILL)
                && child.platform.is_none()
        })
}

fn member(child: &Descriptor) -> Member {
    let text = |key| child.annotation(key).filter(|text| !text.is_empty());
    let reference = text(SKILL_REFERENCE)
        .or_else(|| text(REFERENCE_NAME).filter(|reference| reference.contains('/')));
    Member {
        descriptor: child.clone(),
        name: text(SKILL_NAME)
            .filter(|name| name::directory_problem(name, false).is_none())
            .map(Into::into),
        reference: reference.map(Into::into),
    }
}

/// Whether a child is a signature, an attestation or an SBOM of another one.
fn is_about_another(child: &Descriptor) -> bool {
    let about = |media_type: &str| matches!(types::other(media_type), Some(Other::About(_)));
    child.annotations.contains_key(DOCKER_REFERENCE_TYPE)
        || child.platform.as_ref().is_some_and(|p| p.architecture == "unknown" && p.os == "unknown")
        || child.artifact_type.as_deref().is_some_and(about)
        || about(&child.media_type)
}

fn refuse_index(child: &Descriptor) -> Result<(), IndexError> {
    match types::essence(&child.media_type).as_str() {
        types::OCI_INDEX | types::DOCKER_LIST => {
            Err(IndexError::Nested { digest: child.digest.to_string() })
        }
        _ => Ok(()),
    }
}

/// How well a child fits the node, lower is better; none if it does not.
fn rank(child: &Descriptor, node: &Platform) -> Option<u8> {
    let platform = child.platform.as_ref()?;
    if platform.os != node.os || platform.architecture != node.architecture {
        return None;
    }
    let variant = |platform: &'_ Platform| -> String {
        match (platform.variant.as_deref(), platform.architecture.as_str()) {
            // What no variant means (containerd, platforms.Normalize).
            (None | Some(""), "arm64") => "v8".into(),
            (None | Some(""), "arm") => "v7".into(),
            (None | Some(""), "amd64") => "v1".into(),
            (variant, _) => variant.unwrap_or_default().into(),
        }
    };
    match (variant(platform) == variant(node), &platform.variant) {
        (true, _) => Some(0),
        (false, None) => Some(1),
        (false, Some(_)) => Some(2),
    }
}

#[cfg(test)]
mod tests;
