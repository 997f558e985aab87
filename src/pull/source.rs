//! Where artifacts come from: a registry, or an OCI image layout on this machine. What follows,
//! from the walk to the last byte of a layer, is the same for both.
//!
//! Only the command line makes a [`Source::Layout`]: a pod must not name a path of the node.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream};

use crate::layout::{Layout, LayoutError, Location, LocationError};
use crate::observability::task;
use crate::reference::{Digest, Reference, ReferenceError};
use crate::registry::{self, Access, Registry, RegistryError};

/// How much of a layout's blob is read at once, in bytes.
const CHUNK: usize = 256 << 10;

/// What to pull from where.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Source {
    /// A reference to a registry.
    Registry(Reference),
    /// An OCI image layout: `oci:PATH[:TAG]` or `oci-archive:PATH[:TAG]`.
    Layout(Location),
}

impl Source {
    /// The reference, where it is one to a registry.
    pub fn reference(&self) -> Option<&Reference> {
        match self {
            Self::Registry(reference) => Some(reference),
            Self::Layout(_) => None,
        }
    }
}

impl From<Reference> for Source {
    fn from(reference: Reference) -> Self {
        Self::Registry(reference)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => reference.fmt(f),
            Self::Layout(location) => location.fmt(f),
        }
    }
}

/// Why a text names no source.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SourceParseError {
    /// Not a reference.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// `oci:` or `oci-archive:` without a path.
    #[error(transparent)]
    Location(#[from] LocationError),
}

impl FromStr for Source {
    type Err = SourceParseError;

    fn from_str(text: &str) -> Result<Self, SourceParseError> {
        Ok(match Location::parse(text)? {
            Some(location) => Self::Layout(location),
            None => Self::Registry(text.parse()?),
        })
    }
}

/// Why a document or a blob could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// From a registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// From a layout.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

impl SourceError {
    /// Whether there is no such thing.
    pub fn is_not_found(&self) -> bool {
        match self {
            // Of several hosts, what the one says that got furthest.
            Self::Registry(error) => {
                matches!(error.furthest().unwrap_or(error), RegistryError::NotFound { .. })
            }
            Self::Layout(error) => matches!(error, LayoutError::NoBlob { .. }),
        }
    }
}

/// Who holds an artifact's documents and blobs.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    /// A repository, and the right to read it.
    Repository(Access),
    /// A layout.
    Layout(Arc<Layout>),
}

/// A document, and who had it.
#[derive(Debug, Clone)]
pub(super) struct Resolved {
    pub(super) origin: Origin,
    pub(super) digest: Digest,
    pub(super) media_type: Option<String>,
    pub(super) body: Bytes,
}

impl From<registry::Resolved> for Resolved {
    fn from(resolved: registry::Resolved) -> Self {
        let registry::Resolved { access, digest, media_type, body } = resolved;
        Self { origin: Origin::Repository(access), digest, media_type, body }
    }
}

/// A blob's bytes in order, unverified. It ends after the first error.
pub(super) type Blob = stream::BoxStream<'static, Result<Bytes, SourceError>>;

impl Origin {
    /// What a location in a layout resolves to.
    pub(super) async fn layout(location: &Location) -> Result<Resolved, SourceError> {
        let location = location.clone();
        let open = move || {
            let layout = Layout::open(&location)?;
            let found = layout.resolve(location.tag())?;
            Ok((layout, found))
        };
        let (layout, (descriptor, body)) = blocking(open).await?;
        Ok(Resolved {
            origin: Self::Layout(Arc::new(layout)),
            digest: descriptor.digest,
            media_type: Some(descriptor.media_type).filter(|text| !text.is_empty()),
            body: body.into(),
        })
    }

    /// Another document of the same origin, verified.
    pub(super) async fn document(
        &self,
        registry: &Registry,
        digest: &Digest,
    ) -> Result<Resolved, SourceError> {
        match self {
            Self::Repository(access) => Ok(registry.manifest(access, digest).await?.into()),
            Self::Layout(layout) => {
                let (source, wanted) = (layout.clone(), digest.clone());
                let body = blocking(move || source.document(&wanted, 0)).await?;
                Ok(Resolved {
                    origin: self.clone(),
                    digest: digest.clone(),
                    media_type: None,
                    body: body.into(),
                })
            }
        }
    }

    /// A blob's bytes: never more than `size`, or than `cap` if `size` is 0 for unknown. Whoever
    /// reads checks the digest.
    pub(super) async fn blob(
        &self,
        registry: &Registry,
        digest: &Digest,
        size: u64,
        cap: u64,
    ) -> Result<Blob, SourceError> {
        match self {
            Self::Repository(access) => {
                let stream = registry.blob(access, digest, size, cap).await?;
                Ok(stream.map(|chunk| Ok(chunk?)).boxed())
            }
            Self::Layout(layout) => {
                let (layout, digest) = (layout.clone(), digest.clone());
                let piece = blocking(move || layout.blob(&digest, size, cap)).await?;
                let chunks = stream::try_unfold(piece, |mut piece| async move {
                    let read = move || Ok(piece.chunk(CHUNK)?.map(|bytes| (bytes.into(), piece)));
                    blocking(read).await
                });
                Ok(chunks.boxed())
            }
        }
    }

    /// Where this is, for people and programs.
    pub(super) fn place(&self) -> String {
        match self {
            Self::Repository(access) => access.repository().to_string(),
            Self::Layout(layout) => layout.location().place(),
        }
    }

    /// The name that a skill gets if nothing else gives it one.
    pub(super) fn last_name(&self) -> &str {
        match self {
            Self::Repository(access) => access.repository().last_segment(),
            Self::Layout(layout) => layout.location().name(),
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LayoutError> + Send + 'static,
) -> Result<T, SourceError> {
    let outcome = task::spawn_blocking(work).await;
    Ok(outcome.map_err(|error| LayoutError::Panicked(error.to_string()))??)
}
