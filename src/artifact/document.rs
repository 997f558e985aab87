//! Reading what a registry answers to a manifest request: an index or an image manifest.
//!
//! The rules are those of CVE-2021-41190: a document that could be read as two kinds, or whose
//! own media type is not the one it was served with, is refused.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::descriptor::{Descriptor, or_default};
use super::media_types as types;

/// The longest document that is parsed, in bytes (what registries accept, OCI distribution).
pub const MAX_BYTES: usize = 4 << 20;
/// How many manifests an index may list.
pub const MAX_CHILDREN: usize = 100;

/// The `Accept` header of a manifest request: the four media types that [`Document::parse`] reads.
pub const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// What a reference resolves to.
#[expect(clippy::large_enum_variant, reason = "one per pull, taken apart at once")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// A list of manifests.
    Index(Index),
    /// One manifest.
    Manifest(Manifest),
}

/// An OCI index or a Docker manifest list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Its media type: as it says itself, as it was served, or by its shape.
    pub media_type: String,
    /// Its artifact type; never empty.
    pub artifact_type: Option<String>,
    /// What it lists, at most [`MAX_CHILDREN`].
    pub manifests: Vec<Descriptor>,
    /// The producer's annotations.
    pub annotations: BTreeMap<String, String>,
}

/// An OCI image manifest or a Docker schema 2 manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Its media type: as it says itself, as it was served, or by its shape.
    pub media_type: String,
    /// Its artifact type; never empty.
    pub artifact_type: Option<String>,
    /// The config blob.
    pub config: Option<Descriptor>,
    /// The layers, lowest first. Their number is the caller's to limit.
    pub layers: Vec<Descriptor>,
    /// The producer's annotations.
    pub annotations: BTreeMap<String, String>,
    /// The manifest that this one is about, where it is a referrer.
    pub subject: Option<Descriptor>,
}

/// Why a body is no document.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// More than [`MAX_BYTES`].
    #[error("the manifest has {0} bytes, more than {MAX_BYTES}")]
    TooLarge(usize),
    /// Not JSON, or a field is not of its type.
    #[error("the manifest cannot be read as JSON")]
    Json(#[source] serde_json::Error),
    /// Docker's first schema, whose layers cannot be verified by the manifest's digest.
    #[error("Docker manifest schema 1 is not supported; push the artifact again with a newer tool")]
    Schema1,
    /// The OCI artifact manifest, which the specification dropped before its release.
    #[error(
        "the OCI artifact manifest was removed from the specification; push the artifact again \
         as an image manifest (ORAS 1.1 or newer does)"
    )]
    ArtifactManifest,
    /// `schemaVersion` is required and must be 2.
    #[error("the manifest has no schemaVersion")]
    NoSchemaVersion,
    /// Another `schemaVersion`.
    #[error("the manifest has schemaVersion {0}, which is not 2")]
    SchemaVersion(i64),
    /// It could be read as an index and as a manifest (CVE-2021-41190).
    #[error("the document has {0}: it could be read as an index and as a manifest")]
    Ambiguous(&'static str),
    /// Its own media type is not the one it was served with (CVE-2021-41190).
    #[error("the document says it is {document:?} but was served as {served:?}")]
    MediaTypeMismatch {
        /// The document's `mediaType`.
        document: String,
        /// The response's `Content-Type`.
        served: String,
    },
    /// Its fields are those of the other kind.
    #[error("the document is served as {media_type:?} but has {field:?}")]
    Shape {
        /// The media type.
        media_type: String,
        /// The field that the media type does not have.
        field: &'static str,
    },
    /// Not a media type of [`ACCEPT`].
    #[error("media type {0:?} is neither an image manifest nor an index")]
    MediaType(String),
    /// Nothing tells what it is.
    #[error("the document has neither \"manifests\" nor \"layers\"")]
    Unrecognised,
    /// More than [`MAX_CHILDREN`].
    #[error("the index lists {0} manifests, more than {MAX_CHILDREN}")]
    TooManyChildren(usize),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    #[serde(default, deserialize_with = "or_default")]
    annotations: BTreeMap<String, String>,
    subject: Option<Descriptor>,
    fs_layers: Option<IgnoredAny>,
    blobs: Option<IgnoredAny>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Index,
    Manifest,
}

/// What tells the kind, read first, so that an old or foreign kind gets its own
/// message and not one about a missing field.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    schema_version: Option<i64>,
    media_type: Option<String>,
}

impl Document {
    /// Reads a manifest's or an index's body. `content_type` is the response's header; its
    /// parameters are ignored, and so is its absence.
    pub fn parse(body: &[u8], content_type: Option<&str>) -> Result<Self, DocumentError> {
        if body.len() > MAX_BYTES {
            return Err(DocumentError::TooLarge(body.len()));
        }
        let head: Head = serde_json::from_slice(body).map_err(DocumentError::Json)?;
        let served = content_type.map(types::essence).filter(|text| !text.is_empty());
        let said = head.media_type.as_deref().map(types::essence).filter(|text| !text.is_empty());
        for media_type in [&said, &served].into_iter().flatten() {
            match media_type.as_str() {
                types::OCI_ARTIFACT => return Err(DocumentError::ArtifactManifest),
                types::DOCKER_SCHEMA1 | types::DOCKER_SCHEMA1_SIGNED => {
                    return Err(DocumentError::Schema1);
                }
                _ => {}
            }
        }
        match head.schema_version {
            Some(2) => {}
            Some(1) => return Err(DocumentError::Schema1),
            Some(other) => return Err(DocumentError::SchemaVersion(other)),
            None => return Err(DocumentError::NoSchemaVersion),
        }
        if let (Some(document), Some(served)) = (&said, &served)
            && document != served
        {
            return Err(DocumentError::MediaTypeMismatch {
                document: document.clone(),
                served: served.clone(),
            });
        }
        let raw: Raw = serde_json::from_slice(body).map_err(DocumentError::Json)?;
        // A server that knows no better serves a document without a media type as plain JSON.
        let served = served.filter(|text| !types::GENERIC_JSON.contains(&text.as_str()));
        raw.document(said.or(served))
    }
}

impl Raw {
    fn document(self, media_type: Option<String>) -> Result<Document, DocumentError> {
        if self.fs_layers.is_some() {
            return Err(DocumentError::Schema1);
        }
        if self.manifests.is_some() && self.layers.is_some() {
            return Err(DocumentError::Ambiguous("both \"manifests\" and \"layers\""));
        }
        if self.manifests.is_some() && self.config.is_some() {
            return Err(DocumentError::Ambiguous("both \"manifests\" and \"config\""));
        }
        let (kind, media_type) = match media_type {
            Some(media_type) => match media_type.as_str() {
                types::OCI_INDEX | types::DOCKER_LIST => (Kind::Index, media_type),
                types::OCI_MANIFEST | types::DOCKER_MANIFEST => (Kind::Manifest, media_type),
                _ => return Err(DocumentError::MediaType(media_type)),
            },
            None if self.manifests.is_some() => (Kind::Index, types::OCI_INDEX.to_owned()),
            None if self.layers.is_some() => (Kind::Manifest, types::OCI_MANIFEST.to_owned()),
            None => return Err(DocumentError::Unrecognised),
        };
        let wrong = match kind {
            Kind::Index if self.layers.is_some() => Some("layers"),
            Kind::Index if self.config.is_some() => Some("config"),
            Kind::Manifest if self.manifests.is_some() => Some("manifests"),
            _ if self.blobs.is_some() => Some("blobs"),
            _ => None,
        };
        if let Some(field) = wrong {
            return Err(DocumentError::Shape { media_type, field });
        }
        let artifact_type = self.artifact_type.filter(|text| !text.is_empty());
        if kind == Kind::Manifest {
            return Ok(Document::Manifest(Manifest {
                media_type,
                artifact_type,
                config: self.config,
                layers: self.layers.unwrap_or_default(),
                annotations: self.annotations,
                subject: self.subject,
            }));
        }
        let manifests = self.manifests.unwrap_or_default();
        if manifests.len() > MAX_CHILDREN {
            return Err(DocumentError::TooManyChildren(manifests.len()));
        }
        let annotations = self.annotations;
        Ok(Document::Index(Index { media_type, artifact_type, manifests, annotations }))
    }
}

#[cfg(test)]
mod tests;
