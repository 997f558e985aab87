//! Descriptors: how a manifest names a blob or another manifest
//! (OCI image specification, descriptor.md).

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};

use crate::reference::Digest;

/// A descriptor. Its size and media type are claims; only the digest is proof.
///
/// `urls` is not read: a foreign layer is never fetched from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the producer says the content is; empty if it says nothing.
    #[serde(default, deserialize_with = "or_default")]
    pub media_type: String,
    /// The content's digest.
    pub digest: Digest,
    /// The content's length in bytes; 0 where the producer left it out.
    #[serde(default, deserialize_with = "or_default")]
    pub size: u64,
    /// The artifact type of a manifest that is listed in an index.
    #[serde(default)]
    pub artifact_type: Option<String>,
    /// The producer's annotations.
    #[serde(default, deserialize_with = "or_default")]
    pub annotations: BTreeMap<String, String>,
    /// The platform of a manifest that is listed in an index.
    #[serde(default)]
    pub platform: Option<Platform>,
    /// The content itself, base64, where it is small. To be used only if its digest is right.
    #[serde(default)]
    pub data: Option<String>,
}

/// Reads an explicit `null` like an absent field, as Go's decoder does.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// `org.opencontainers.image.title`: the file name that ORAS gives to a layer.
pub const TITLE: &str = "org.opencontainers.image.title";

impl Descriptor {
    /// An annotation's value.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.get(key).map(String::as_str)
    }

    /// The content that stands in the descriptor itself, if its digest is right.
    pub fn inline(&self) -> Option<Vec<u8>> {
        let data = STANDARD.decode(self.data.as_deref()?).ok()?;
        self.digest.matches(&data).then_some(data)
    }

    /// The file name that ORAS gives to the layer. A claim like all others: it may be anything.
    pub fn title(&self) -> Option<&str> {
        self.annotation(TITLE)
    }
}

/// A platform as Go names it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Platform {
    /// `amd64`, `arm64`, `s390x`, …
    #[serde(default)]
    pub architecture: String,
    /// `linux`, …
    #[serde(default)]
    pub os: String,
    /// `v7`, `v8`, …
    #[serde(default)]
    pub variant: Option<String>,
}

impl Platform {
    /// The platform this binary runs on, which is the node's.
    pub fn node() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "powerpc64" => "ppc64le",
            other => other,
        };
        Self { architecture: architecture.into(), os: "linux".into(), variant: None }
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}
