//! Config blobs: what a container image's and a skill's say that matters here.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::descriptor::or_default;
use super::document::Manifest;
use super::index::SKILL_NAME;
use super::media_types::{self as types, ConfigKind};
use crate::reference::Digest;

/// The longest config that is read, in bytes.
pub const MAX_BYTES: usize = 1 << 20;
/// The only version of the skill config there is (Agent Skills OCI draft, §4.2).
const SCHEMA_VERSION: &str = "1";

/// A config blob as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Config {
    /// A container image's.
    Image(ImageConfig),
    /// A skill's.
    Skill(SkillConfig),
}

/// A container image's config.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// The image's labels.
    pub labels: BTreeMap<String, String>,
    /// The digests of the uncompressed layers, lowest first; empty if it does not say.
    pub diff_ids: Vec<Digest>,
}

/// A skill's config.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SkillConfig {
    /// The version of its schema: `1`, or absent.
    pub schema_version: Option<String>,
    /// The skill's name.
    pub name: Option<String>,
}

/// Why a config cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// More than [`MAX_BYTES`].
    #[error("the config has {0} bytes, more than {MAX_BYTES}")]
    TooLarge(usize),
    /// Not JSON, or not of its schema.
    #[error("the config ({media_type}) cannot be read as JSON")]
    Json {
        /// Its media type.
        media_type: String,
        /// Why.
        source: serde_json::Error,
    },
    /// A version that the specification tells to refuse.
    #[error(
        "the skill's config has schemaVersion {0:?}; only \"1\" is known [Agent Skills OCI: config]"
    )]
    SchemaVersion(String),
}

#[derive(Deserialize)]
struct RawImage {
    #[serde(default, deserialize_with = "or_default")]
    config: RawImageConfig,
    #[serde(default, deserialize_with = "or_default")]
    rootfs: RawRootfs,
}

#[derive(Default, Deserialize)]
struct RawImageConfig {
    #[serde(default, rename = "Labels", deserialize_with = "or_default")]
    labels: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
struct RawRootfs {
    #[serde(default, deserialize_with = "or_default")]
    diff_ids: Vec<Digest>,
}

impl Config {
    /// Reads a manifest's config blob; none if its media type has no meaning here.
    pub fn parse(manifest: &Manifest, body: &[u8]) -> Result<Option<Self>, ConfigError> {
        let media_type =
            manifest.config.as_ref().map(|config| config.media_type.as_str()).unwrap_or_default();
        let Some(kind) = types::config(media_type) else { return Ok(None) };
        if body.len() > MAX_BYTES {
            return Err(ConfigError::TooLarge(body.len()));
        }
        let json = |source| ConfigError::Json {
            media_type: media_type.escape_debug().to_string(),
            source,
        };
        match kind {
            ConfigKind::Image | ConfigKind::ImageLike => {
                let raw: RawImage = serde_json::from_slice(body).map_err(json)?;
                Ok(Some(Self::Image(ImageConfig {
                    labels: raw.config.labels,
                    diff_ids: raw.rootfs.diff_ids,
                })))
            }
            ConfigKind::Skill => {
                let config: SkillConfig = serde_json::from_slice(body).map_err(json)?;
                match config.schema_version.as_deref() {
                    None | Some(SCHEMA_VERSION) => Ok(Some(Self::Skill(config))),
                    Some(other) => Err(ConfigError::SchemaVersion(other.into())),
                }
            }
        }
    }

    /// What a skill's config and its manifest's annotations lack or disagree on. A strict
    /// validation makes them errors; whether SKILL.md agrees is for [`super::skill::find`].
    pub fn findings(&self, manifest: &Manifest) -> Vec<String> {
        let Self::Skill(config) = self else { return Vec::new() };
        let mut findings = Vec::new();
        if config.schema_version.is_none() {
            findings.push("the config has no schemaVersion [Agent Skills OCI: config]".to_owned());
        }
        let annotation = manifest.annotations.get(SKILL_NAME);
        match (&config.name, annotation) {
            (None, _) => {
                findings.push("the config has no name [Agent Skills OCI: config]".to_owned());
            }
            (Some(name), Some(annotation)) if name != annotation => findings.push(format!(
                "the config's name {name:?} is not the annotation's {annotation:?} \
                 [Agent Skills OCI: annotations]"
            )),
            _ => {}
        }
        findings
    }
}

#[cfg(test)]
mod tests;
