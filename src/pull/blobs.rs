//! Blobs that are wanted before the unpacker is: configs, collections, and beside a config that
//! has to be asked for the lowest layer, which in most cases is all there is to download.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::task::JoinHandle;

use super::source::{Blob, Origin, SourceError};
use super::space::{Claim, Reserved, Space};
use super::{PullError, Tenant};
use crate::artifact::config;
use crate::artifact::descriptor::Descriptor;
use crate::artifact::plan::Layer;
use crate::observability::task;
use crate::registry::Registry;
use crate::store::Store;

/// A blob that has been asked for. Nobody reads of it before it is wanted: until then no more of
/// it comes than fits into the connection. Dropping it ends the request.
pub(super) struct Opening(JoinHandle<Result<Blob, SourceError>>);

impl Opening {
    /// In a task of its own: others wait for the session of a request that nobody drives.
    fn new(asked: impl Future<Output = Result<Blob, SourceError>> + Send + 'static) -> Self {
        Self(task::spawn(asked))
    }

    /// The answer; none if the task broke.
    pub(super) async fn opened(mut self) -> Option<Result<Blob, SourceError>> {
        (&mut self.0).await.ok()
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A config, and what was asked for beside it.
#[derive(Default)]
pub(super) struct Small {
    /// Verified; none if there is none.
    pub(super) body: Option<Bytes>,
    /// It is not from the store.
    pub(super) is_new: bool,
    pub(super) opening: Option<Opening>,
    /// The space for all layers, where it was there at once.
    pub(super) reserved: Option<Reserved>,
}

/// Where the blobs of one pull come from.
pub(super) struct Blobs<'a> {
    registry: &'a Registry,
    /// The most bytes of a layer of which nobody says how many it has.
    cap: u64,
    /// What was read before.
    pub(super) store: Option<&'a Arc<Store>>,
    /// Where the layers are to go, and on whose account.
    pub(super) space: Option<(&'a Space, &'a Tenant)>,
    /// A layer may be asked for beside its config. Not so in a collection: its members wait for
    /// each other, and each would hold a connection.
    pub(super) ahead: bool,
}

impl<'a> Blobs<'a> {
    pub(super) fn new(registry: &'a Registry, cap: u64) -> Self {
        Self { registry, cap, store: None, space: None, ahead: true }
    }

    /// A config: from its descriptor, from the store if this caller has read it in this repository
    /// before, or else from the origin; then the lowest of the `layers` is asked for at the same
    /// time, unless they are stored, so that one round trip does for both. What the config says
    /// still counts before anything of the layer does. Nothing is asked for if there is no space for
    /// the layers, and no layer before its space is reserved.
    pub(super) async fn config(
        &self,
        origin: &Origin,
        descriptor: &Descriptor,
        layers: &[Layer],
    ) -> Result<Small, PullError> {
        if descriptor.inline().is_none() {
            let stored = self.stored(origin, descriptor, layers).await?;
            if let Some(body) = stored.body {
                return Ok(Small { body: Some(body), ..Small::default() });
            }
            if let Some(lowest) = layers.first().filter(|_| !stored.layers) {
                let reserved = self.reserve(layers).await?;
                if let Some(reserved) = reserved.filter(|_| self.ahead) {
                    return self.both(origin, descriptor, &lowest.descriptor, reserved).await;
                }
            }
        }
        let body = self.small(origin, descriptor).await?;
        Ok(Small { body: Some(body), is_new: true, ..Small::default() })
    }

    /// The space for the layers, if it is there now. The members of a collection do not keep it:
    /// they wait for each other.
    async fn reserve(&self, layers: &[Layer]) -> Result<Option<Reserved>, PullError> {
        let Some((space, tenant)) = self.space else { return Ok(Some(Reserved::default())) };
        space.reserve_now(tenant, Claim::of(layers, self.cap)).await
    }

    async fn both(
        &self,
        origin: &Origin,
        config: &Descriptor,
        layer: &Descriptor,
        reserved: Reserved,
    ) -> Result<Small, PullError> {
        let (registry, from, cap) = (self.registry.clone(), origin.clone(), self.cap);
        let Descriptor { digest, size, .. } = layer.clone();
        let opening = Opening::new(async move { from.blob(&registry, &digest, size, cap).await });
        let body = self.small(origin, config).await?;
        let (opening, reserved) = (Some(opening), Some(reserved));
        Ok(Small { body: Some(body), is_new: true, opening, reserved })
    }

    /// A small blob, whole: from the descriptor's inline data if its digest is right.
    pub(super) async fn small(
        &self,
        origin: &Origin,
        descriptor: &Descriptor,
    ) -> Result<Bytes, PullError> {
        if let Some(data) = descriptor.inline() {
            return Ok(data.into());
        }
        let digest = &descriptor.digest;
        let failed = |source| PullError::Config { digest: digest.clone(), source };
        let most = config::MAX_BYTES as u64;
        if descriptor.size > most {
            let problem = format!("it has {} bytes, more than {most}", descriptor.size);
            return Err(PullError::Small { digest: digest.clone(), problem });
        }
        let mut stream =
            origin.blob(self.registry, digest, descriptor.size, most).await.map_err(failed)?;
        let mut body = Vec::new();
        while let Some(chunk) = stream.next().await {
            body.extend_from_slice(&chunk.map_err(failed)?);
        }
        if !digest.matches(&body) {
            let problem = format!("its {} bytes have another digest", body.len());
            return Err(PullError::ConfigContent { digest: digest.clone(), problem });
        }
        Ok(body.into())
    }

    /// What the store has for this caller: of another's repository it has nothing.
    async fn stored(
        &self,
        origin: &Origin,
        config: &Descriptor,
        layers: &[Layer],
    ) -> Result<Stored, PullError> {
        let (Some(store), Origin::Repository(access)) = (self.store, origin) else {
            return Ok(Stored::default());
        };
        let (store, access, config) = (store.clone(), access.clone(), config.digest.clone());
        let layers: Vec<_> = layers.iter().map(|layer| layer.descriptor.digest.clone()).collect();
        // With its layers a config comes and goes, so the disk is asked only if they may be there.
        if !store.may_have_layers(&layers) {
            return Ok(Stored::default());
        }
        let look = move || {
            let repository = access.repository();
            let read = store.is_granted(repository, &config, &access.identities(store.salt()));
            Stored {
                body: read.then(|| store.manifest(&config)).flatten().map(Into::into),
                layers: store.has_layers(repository, &layers.iter().collect::<Vec<_>>()),
            }
        };
        super::blocking(look).await
    }
}

/// What need not be asked for.
#[derive(Default)]
struct Stored {
    body: Option<Bytes>,
    /// All layers, in a tree.
    layers: bool,
}
