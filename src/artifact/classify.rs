//! What a manifest is, and so what to do with its layers (formats.md §6.3). The types and what
//! they mean are data, in [`super::media_types`]; the rows of the table are named below.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::descriptor::Descriptor;
use super::document::Manifest;
use super::media_types::{self as types, ConfigKind, LayerKind, format};
use super::path::{PathError, TreePath};
use super::plan::{Action, Layer, Plan};
use crate::reference::{Digest, DigestError};

/// ORAS's mark of a directory that it packed.
const ORAS_UNPACK: &str = "io.deis.oras.content.unpack";
/// ORAS's digest of that directory's tar before compression.
const ORAS_CONTENT_DIGEST: &str = "io.deis.oras.content.digest";
/// Where `ModelPack` says a layer's content belongs.
const MODEL_FILEPATH: &str = "org.cncf.model.filepath";
const SKILL_MD: &str = "SKILL.md";
/// How many media types an error lists.
const LISTED: usize = 8;

/// What a manifest is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Class {
    /// Layers to unpack.
    Tree(Plan),
    /// A skillimage collection: the blob is a YAML list of references, see [`super::collection`].
    SkillimageCollection(Descriptor),
}

/// Why a manifest holds no skills.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ClassifyError {
    /// Something known that is not a skill.
    #[error("the artifact is {what} ({media_type}), not a skill")]
    NotASkill {
        /// What it is.
        what: &'static str,
        /// What tells.
        media_type: String,
    },
    /// A layer that is never fetched or cannot be read.
    #[error("layer {digest} is {what} ({media_type}), which is not supported")]
    Refused {
        /// The layer.
        digest: Digest,
        /// What it is.
        what: &'static str,
        /// Its media type.
        media_type: String,
    },
    /// There are no layers, or only the empty blob.
    #[error("the artifact has no layers")]
    Empty,
    /// A collection must have exactly one blob.
    #[error("the skillimage collection has {0} layers; it must have exactly one")]
    Collection(usize),
    /// A title that cannot be a path.
    #[error("layer {digest}: title {title:?} is not a path in the artifact: {problem}")]
    Title {
        /// The layer.
        digest: Digest,
        /// The title.
        title: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A title that [`TreePath`] refuses.
    #[error("layer {digest}: its title is not a path in the artifact")]
    TitlePath {
        /// The layer.
        digest: Digest,
        /// Why.
        source: PathError,
    },
    /// Two layers want to be the same file.
    #[error("layers {first} and {second} have the same title {title:?} and different content")]
    DuplicateTitle {
        /// The lower layer.
        first: Digest,
        /// The upper layer.
        second: Digest,
        /// The title.
        title: String,
    },
    /// An ORAS directory must say its name.
    #[error("layer {digest} is to be unpacked ({ORAS_UNPACK}) but has no title")]
    NoTitle {
        /// The layer.
        digest: Digest,
    },
    /// `io.deis.oras.content.digest` is not a digest.
    #[error("layer {digest}: {ORAS_CONTENT_DIGEST} cannot be read")]
    ContentDigest {
        /// The layer.
        digest: Digest,
        /// Why.
        source: DigestError,
    },
    /// Nothing in the table fits.
    #[error(
        "nothing is known about an artifact of this kind (artifact type {artifact_type:?}, \
         config {config:?}, layers {layers})"
    )]
    Unknown {
        /// Its artifact type, or nothing.
        artifact_type: String,
        /// Its config's media type, or nothing.
        config: String,
        /// Its layers' media types.
        layers: String,
    },
}

/// Tells what a manifest is by its types, artifact type and annotations. None of its blobs is
/// read: where only the bytes tell, the [`Action`] says so.
pub fn classify(manifest: &Manifest) -> Result<Class, ClassifyError> {
    let titled_skill = manifest.layers.iter().any(is_titled_skill_md);
    refuse_others(manifest, titled_skill)?;
    for layer in &manifest.layers {
        if let Some(LayerKind::Refused(what)) = kind(layer) {
            let media_type = shown(&layer.media_type);
            return Err(ClassifyError::Refused { digest: layer.digest.clone(), what, media_type });
        }
    }
    // Row 12. ORAS pushes the empty blob as a layer where there is nothing else.
    let is_empty =
        |layer: &&Descriptor| kind(layer) == Some(LayerKind::Empty) && layer.title().is_none();
    let layers: Vec<&Descriptor> = manifest.layers.iter().filter(|l| !is_empty(l)).collect();
    if layers.is_empty() {
        return Err(ClassifyError::Empty);
    }
    if let Some(blob) = collection(manifest, &layers)? {
        return Ok(Class::SkillimageCollection(blob.clone()));
    }
    let config = manifest.config.as_ref();
    let config_kind = config.and_then(|config| types::config(&config.media_type));
    let all_images = layers.iter().all(|layer| kind(layer) == Some(LayerKind::Image));
    let mut plan = if config_kind == Some(ConfigKind::Image) && all_images {
        image(manifest, &layers)
    } else {
        artifact(manifest, &layers, titled_skill)?
    };
    if config_kind.is_some() {
        plan.config = config.cloned();
    }
    Ok(Class::Tree(plan))
}

fn kind(layer: &Descriptor) -> Option<LayerKind> {
    types::layer(&layer.media_type)
}

fn is_titled_skill_md(layer: &Descriptor) -> bool {
    layer.title().is_some_and(|title| title.rsplit('/').next() == Some(SKILL_MD))
}

/// Rows 1 and 2. A layer of such a type beside a file titled SKILL.md is one of a skill's files:
/// a skill may well bring an SBOM or a WebAssembly module.
fn refuse_others(manifest: &Manifest, titled_skill: bool) -> Result<(), ClassifyError> {
    let config = manifest.config.as_ref().map(|config| config.media_type.as_str());
    let layers = manifest.layers.iter().map(|layer| layer.media_type.as_str());
    let claims = [manifest.artifact_type.as_deref(), config].into_iter().flatten();
    for media_type in claims.chain(layers.filter(|_| !titled_skill)) {
        if let Some(other) = types::other(media_type) {
            let media_type = shown(media_type);
            return Err(ClassifyError::NotASkill { what: other.what(), media_type });
        }
    }
    Ok(())
}

/// Row 3.
fn collection<'a>(
    manifest: &Manifest,
    layers: &[&'a Descriptor],
) -> Result<Option<&'a Descriptor>, ClassifyError> {
    let artifact_type = manifest.artifact_type.as_deref().map(types::essence);
    let is_collection = artifact_type.as_deref() == Some(types::SKILLIMAGE_COLLECTION)
        || layers.iter().any(|layer| kind(layer) == Some(LayerKind::Collection));
    match layers {
        _ if !is_collection => Ok(None),
        [blob] => Ok(Some(blob)),
        _ => Err(ClassifyError::Collection(layers.len())),
    }
}

/// Row 4: titles mean nothing, the layers are a file system.
fn image(manifest: &Manifest, layers: &[&Descriptor]) -> Plan {
    let named = manifest.artifact_type.as_deref().and_then(types::image_format);
    let skillimage = || manifest.annotations.keys().any(|key| key.starts_with("io.skillimage."));
    let format = match named {
        Some(format) => format,
        None if skillimage() => format::SKILLIMAGE,
        None => format::IMAGE,
    };
    let layers = layers
        .iter()
        .map(|layer| Layer {
            descriptor: (*layer).clone(),
            action: Action::ImageLayer,
            diff_id: None,
        })
        .collect();
    Plan { format, layers, config: None, warnings: Vec::new() }
}

/// Rows 5 to 13, layer by layer.
fn artifact(
    manifest: &Manifest,
    layers: &[&Descriptor],
    titled_skill: bool,
) -> Result<Plan, ClassifyError> {
    let mut planned = Vec::with_capacity(layers.len());
    let mut titles: BTreeMap<TreePath, Digest> = BTreeMap::new();
    let mut format = None;
    let mut warnings = Vec::new();
    let mut skill_tars = 0;
    for layer in layers {
        let (action, layer_format) = match row(layer, titled_skill)? {
            Some(row) => row,
            None if layers.len() == 1 => (Action::Unknown, format::UNKNOWN),
            None => return Err(unknown(manifest)),
        };
        if layer_format == format::AGENTSKILLS {
            skill_tars += 1;
        }
        let path = match &action {
            Action::Directory { title, .. }
            | Action::TitledArchive { title }
            | Action::File { title } => Some(title),
            Action::ImageLayer | Action::Tar { .. } | Action::Unknown => None,
        };
        if let Some(path) = path {
            match titles.entry(path.clone()) {
                Entry::Vacant(entry) => {
                    entry.insert(layer.digest.clone());
                }
                Entry::Occupied(entry) if *entry.get() == layer.digest => continue,
                Entry::Occupied(entry) => {
                    return Err(ClassifyError::DuplicateTitle {
                        first: entry.get().clone(),
                        second: layer.digest.clone(),
                        title: path.to_string(),
                    });
                }
            }
        }
        format.get_or_insert(layer_format);
        planned.push(Layer { descriptor: (*layer).clone(), action, diff_id: None });
    }
    if skill_tars > 0 && layers.len() > 1 {
        warnings.push(format!(
            "the artifact has {} layers; the format allows one [Agent Skills OCI: layers]",
            layers.len()
        ));
    }
    let format = match format.unwrap_or(format::UNKNOWN) {
        format::ORAS_FILES if is_agentskills(manifest) => format::AGENTSKILLS_FILES,
        format => format,
    };
    Ok(Plan { format, layers: planned, config: None, warnings })
}

fn is_agentskills(manifest: &Manifest) -> bool {
    let config = manifest.config.as_ref().map(|config| types::essence(&config.media_type));
    manifest.artifact_type.as_deref() == Some(types::AGENTSKILLS_SKILL)
        || config.as_deref() == Some(types::AGENTSKILLS_CONFIG)
}

/// The first of rows 5 to 8 that fits a layer.
fn row(
    layer: &Descriptor,
    titled_skill: bool,
) -> Result<Option<(Action, &'static str)>, ClassifyError> {
    if layer.annotation(ORAS_UNPACK) == Some("true") {
        return Ok(Some((directory(layer)?, format::ORAS_DIRECTORY)));
    }
    let kind = kind(layer);
    match kind {
        Some(LayerKind::SkillTar(format)) => {
            return Ok(Some((Action::Tar { under: TreePath::root() }, format)));
        }
        Some(LayerKind::ModelTar) => {
            let under = match layer.annotation(MODEL_FILEPATH) {
                Some(path) => title(layer, path)?.parent().unwrap_or_default(),
                None => TreePath::root(),
            };
            return Ok(Some((Action::Tar { under }, format::MODELPACK)));
        }
        _ => {}
    }
    let name = match (kind, layer.title()) {
        (Some(LayerKind::ModelFile), None) => layer.annotation(MODEL_FILEPATH),
        (_, title) => title,
    };
    let Some(name) = name else { return Ok(None) };
    let path = title(layer, name)?;
    if path.is_root() {
        return Err(title_error(layer, name, "it names no file"));
    }
    if kind == Some(LayerKind::ModelFile) {
        return Ok(Some((Action::File { title: path }, format::MODELPACK)));
    }
    let archive = types::essence(&layer.media_type).contains("tar")
        || types::ARCHIVE_SUFFIXES.iter().any(|suffix| name.ends_with(suffix));
    Ok(Some(match archive && !titled_skill {
        true => (Action::TitledArchive { title: path }, format::ARCHIVE),
        false => (Action::File { title: path }, format::ORAS_FILES),
    }))
}

/// Row 5.
fn directory(layer: &Descriptor) -> Result<Action, ClassifyError> {
    let digest = || layer.digest.clone();
    let name = layer.title().ok_or_else(|| ClassifyError::NoTitle { digest: digest() })?;
    let content = match layer.annotation(ORAS_CONTENT_DIGEST) {
        Some(text) => Some(
            text.parse()
                .map_err(|source| ClassifyError::ContentDigest { digest: digest(), source })?,
        ),
        None => None,
    };
    Ok(Action::Directory { title: title(layer, name)?, content })
}

/// A title as a path. Unlike a name in a tar, an absolute one is an error: no tool writes such
/// titles but on purpose.
fn title(layer: &Descriptor, text: &str) -> Result<TreePath, ClassifyError> {
    if text.is_empty() {
        return Err(title_error(layer, text, "it is empty"));
    }
    if text.starts_with('/') {
        return Err(title_error(layer, text, "it is absolute"));
    }
    TreePath::parse(text.as_bytes())
        .map_err(|source| ClassifyError::TitlePath { digest: layer.digest.clone(), source })
}

fn title_error(layer: &Descriptor, title: &str, problem: &'static str) -> ClassifyError {
    ClassifyError::Title { digest: layer.digest.clone(), title: title.into(), problem }
}

/// Row 13.
fn unknown(manifest: &Manifest) -> ClassifyError {
    let mut layers: Vec<String> =
        manifest.layers.iter().map(|layer| shown(&layer.media_type)).collect();
    layers.dedup();
    if layers.len() > LISTED {
        layers.truncate(LISTED);
        layers.push("…".into());
    }
    ClassifyError::Unknown {
        artifact_type: manifest.artifact_type.clone().unwrap_or_default(),
        config: manifest.config.as_ref().map(|c| c.media_type.clone()).unwrap_or_default(),
        layers: layers.join(", "),
    }
}

/// A media type for a message: one that is longer than any real one is cut.
fn shown(media_type: &str) -> String {
    media_type.chars().take(128).collect::<String>().escape_debug().to_string()
}

#[cfg(test)]
mod tests;
