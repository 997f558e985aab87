//! Artifacts of every family, byte for byte in the shapes that their producers give them.
//!
//! Each function pushes blobs and manifest, and returns the digest that the tag resolves to.
//! The families and their numbers (F1a, F2 …) are those of the survey of formats.

mod agentskills;
mod images;
mod oras;
mod others;
mod skillimage;
mod vendors;

use serde_json::{Value, json};
use skillmount::reference::Digest;

use super::blobs::{gzip, zstd};
use super::registry::Registry;
use super::skills::Skill;

pub use agentskills::*;
pub use images::*;
pub use oras::*;
use others::statement;
pub use others::*;
pub use skillimage::*;
pub use vendors::*;

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub const LAYER_TAR: &str = "application/vnd.oci.image.layer.v1.tar";
pub const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
pub const SKILL: &str = "application/vnd.agentskills.skill.v1";

pub const TITLE: &str = "org.opencontainers.image.title";

/// When every fixture says that it was made.
pub const CREATED: &str = "2026-05-05T12:00:00Z";

/// A layer with the digest of what it holds when not compressed.
#[derive(Debug, Clone)]
pub struct Layer {
    pub media_type: String,
    pub bytes: Vec<u8>,
    pub diff_id: Digest,
    pub annotations: Option<Value>,
}

impl Layer {
    /// A gzip'd layer of an OCI image.
    pub fn gzip(tar: Vec<u8>) -> Self {
        Self::raw(LAYER, gzip(&tar), &tar)
    }

    /// A zstd layer of an OCI image.
    pub fn zstd(tar: Vec<u8>) -> Self {
        Self::raw(LAYER_ZSTD, zstd(&tar), &tar)
    }

    /// A layer of an OCI image that is not compressed.
    pub fn plain(tar: Vec<u8>) -> Self {
        Self::raw(LAYER_TAR, tar.clone(), &tar)
    }

    /// Any bytes under any type; `inner` is what the diff id is of.
    pub fn raw(media_type: &str, bytes: Vec<u8>, inner: &[u8]) -> Self {
        let diff_id = Digest::sha256(inner);
        Self { media_type: media_type.into(), bytes, diff_id, annotations: None }
    }

    pub fn annotations(self, annotations: Value) -> Self {
        Self { annotations: Some(annotations), ..self }
    }

    pub fn media_type(self, media_type: &str) -> Self {
        Self { media_type: media_type.into(), ..self }
    }

    /// Pushes the layer's blob and returns its descriptor.
    pub fn push(&self, registry: &Registry) -> Value {
        let descriptor = registry.push_blob(self.bytes.clone());
        match &self.annotations {
            Some(annotations) => descriptor.annotated(&self.media_type, annotations.clone()),
            None => descriptor.json(&self.media_type),
        }
    }
}

/// An image manifest of a config and layers.
pub fn manifest(config: Value, layers: Vec<Value>) -> Value {
    json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers})
}

/// The same with an artifact type.
pub fn artifact(artifact_type: &str, config: Value, layers: Vec<Value>) -> Value {
    let mut document = manifest(config, layers);
    document["artifactType"] = artifact_type.into();
    document
}

/// An index of child descriptors.
pub fn index(manifests: Vec<Value>) -> Value {
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests})
}

/// Pushes a blob and returns its descriptor.
pub fn blob(registry: &Registry, media_type: &str, bytes: impl Into<Vec<u8>>) -> Value {
    registry.push_blob(bytes.into()).json(media_type)
}

/// The well-known empty config, `{}`.
pub fn empty_config(registry: &Registry) -> Value {
    blob(registry, EMPTY, "{}")
}

/// An image config for linux on `architecture` with these layers.
pub fn image_config(architecture: &str, layers: &[Layer]) -> Value {
    let diff_ids: Vec<String> = layers.iter().map(|layer| layer.diff_id.to_string()).collect();
    json!({
        "architecture": architecture,
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    })
}

fn with_annotations(mut document: Value, annotations: Value) -> Value {
    document["annotations"] = annotations;
    document
}

/// The config blob of the Agent Skills draft (F2).
fn skill_config(skill: &Skill) -> Vec<u8> {
    let config = json!({
        "schemaVersion": "1",
        "name": skill.name,
        "version": skill.version,
        "description": skill.description,
        "license": "Apache-2.0",
        "allowedTools": ["Bash"],
        "metadata": {},
    });
    config.to_string().into_bytes()
}

fn skill_annotations(skill: &Skill) -> Value {
    json!({
        "org.opencontainers.image.created": CREATED,
        "org.opencontainers.image.title": skill.name,
        "org.opencontainers.image.version": skill.version,
        "org.opencontainers.image.description": skill.description,
        "org.opencontainers.image.licenses": "Apache-2.0",
        "io.agentskills.skill.name": skill.name,
    })
}
