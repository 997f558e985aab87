//! What only the registry can give: the bytes of trees that are not stored yet.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;
use tracing::Instrument as _;

use super::judge;
use super::source::{Origin, Source};
use super::walk::{Part, Parts, Remembered, Walk};
use super::{Found, PullError, PullPolicy, PullRequest, Pulled, Puller, blocking, key_options};
use super::{layers, progress::Progress, progress::Step};
use crate::observability::metrics::Phase;
use crate::observability::{chain, task, trace};
use crate::reference::{Digest, Selector};
use crate::store::{self, FlushError, Staging, StoredTree, TreeInfo};
use crate::unpack::DiskSink;
use crate::unpack::Unpacked;

/// How many members of a collection are pulled at once.
const PARALLEL_MEMBERS: usize = 4;

impl Puller {
    pub(super) async fn remote(
        self: &Arc<Self>,
        request: &PullRequest,
        progress: &Arc<Progress>,
    ) -> Result<Pulled, PullError> {
        progress.enter(Step::Resolving);
        let start = Instant::now();
        // What is present stays: a tag that was resolved before is asked for by its digest, and
        // only the permission is at stake.
        let known = match (request.policy, request.source.reference()) {
            (PullPolicy::IfNotPresent, Some(reference))
                if matches!(reference.selector(), Selector::Tag(_)) =>
            {
                let (puller, reference) = (self.clone(), reference.clone());
                blocking(move || puller.store.reference(&reference))
                    .await?
                    .map(|known| known.digest)
            }
            _ => None,
        };
        let walk = Walk::new(&self.registry, &self.config, request).with_store(&self.store);
        let walked = walk.parts(known).instrument(trace::phase(Phase::Resolve)).await?;
        let Parts { digest, parts, collection, documents } = walked;
        self.config.metrics.phase(Phase::Resolve, start.elapsed());
        self.remember(request, &digest, documents).await?;
        let found: Vec<Found> = stream::iter(parts)
            .map(|part| self.tree(part, progress))
            .buffered(PARALLEL_MEMBERS)
            .try_collect()
            .await?;
        let (trees, findings): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        let (source, findings) = (request.source.clone(), findings.concat());
        Ok(Pulled { source, digest, trees, findings, collection, local: false })
    }

    /// Brings to the disk what an earlier run of the driver left in memory.
    pub fn flush_leftovers(self: &Arc<Self>) {
        self.flush(self.store.unflushed());
    }

    /// Flushing waits for the disk; a pod need not.
    fn flush(self: &Arc<Self>, keys: Vec<String>) {
        let puller = self.clone();
        task::spawn_blocking(move || {
            for key in keys {
                match puller.store.flush(&key) {
                    // It has been collected already.
                    Ok(()) | Err(FlushError::Unknown(_)) => {}
                    Err(error) => tracing::warn!(
                        tree = key,
                        error = chain(&error),
                        "cannot flush a tree; after a power cut it is pulled again"
                    ),
                }
            }
        });
    }

    async fn remember(
        self: &Arc<Self>,
        request: &PullRequest,
        digest: &Digest,
        documents: Vec<Remembered>,
    ) -> Result<(), PullError> {
        // What a layout says is nothing that a registry granted.
        let Source::Registry(reference) = request.source.clone() else { return Ok(()) };
        let (puller, digest) = (self.clone(), digest.clone());
        blocking(move || {
            let store = &puller.store;
            for Remembered { origin, digest, body } in documents {
                let Origin::Repository(access) = origin else { continue };
                store.put_manifest(&digest, &body)?;
                store.grant(access.repository(), &digest, &access.identities(store.salt()))?;
            }
            Ok(store.put_reference(&reference, &digest)?)
        })
        .await?
    }

    /// The tree of a part: the stored one, or a new one from the registry's bytes.
    async fn tree(
        self: &Arc<Self>,
        mut part: Part,
        progress: &Arc<Progress>,
    ) -> Result<Found, PullError> {
        let key = part.plan.key(&key_options(&part.options, &part.hints));
        if let Some(tree) = self.stored_tree(&part.origin, &key).await? {
            // Another manifest made the tree: what is odd about this one is not known yet.
            let findings = part.options.validation.judge(part.findings)?;
            return Ok((tree, findings));
        }
        progress.expect(part.plan.download_bytes());
        progress.enter(Step::Pulling);
        let start = Instant::now();
        let puller = self.clone();
        let staging = blocking(move || puller.store.stage()).await?.map_err(PullError::State)?;
        let directory = staging.tree_fd().try_clone_to_owned().map_err(PullError::State)?;
        let sink = DiskSink::new(directory);
        let bounds = (self.config.limits, &self.downloads);
        let (held, source) = ((sink, staging), (&part.plan, part.opening.take()));
        let (unpacked, staging) =
            layers::lay_out(&self.registry, &part.origin, source, held, bounds, progress)
                .instrument(trace::phase(Phase::Download))
                .await?;
        progress.enter(Step::Storing);
        let downloaded = Instant::now();
        self.config.metrics.phase(Phase::Download, downloaded - start);
        let findings = part.findings.clone();
        let puller = self.clone();
        let commit = blocking(move || puller.commit(part, key, unpacked, staging));
        let tree = commit.instrument(trace::phase(Phase::Store)).await??;
        self.config.metrics.phase(Phase::Store, downloaded.elapsed());
        if self.config.durable {
            self.flush(vec![tree.info.key.clone()]);
        }
        Ok((tree, findings))
    }

    /// The tree as it is stored, for a repository that once delivered it. To any other its bytes
    /// are not shown until it has delivered them too.
    async fn stored_tree(
        self: &Arc<Self>,
        origin: &Origin,
        key: &str,
    ) -> Result<Option<Arc<StoredTree>>, PullError> {
        let Some(tree) = self.store.tree(key) else { return Ok(None) };
        let Origin::Repository(access) = origin else { return Ok(Some(tree)) };
        let (puller, repository) = (self.clone(), access.repository().clone());
        let vouched =
            blocking(move || puller.store.is_vouched(&repository, &tree.info.key).then_some(tree));
        vouched.await
    }

    /// Finds the skills, puts their files into place and the tree into the store.
    fn commit(
        &self,
        part: Part,
        key: String,
        mut unpacked: Unpacked<DiskSink>,
        staging: Staging,
    ) -> Result<Arc<StoredTree>, PullError> {
        let verdict = judge::judge(&part, &mut unpacked)?;
        judge::place(&verdict.layout, &mut unpacked, staging.out_fd())?;
        let info = TreeInfo {
            key: key.clone(),
            format: part.plan.format.into(),
            shape: verdict.layout.shape,
            skills: judge::infos(&verdict),
            layers: part.plan.layers.iter().map(|layer| layer.descriptor.digest.clone()).collect(),
            totals: verdict.totals.iter().copied().sum(),
            warnings: verdict.warnings,
            created_at: store::now(),
        };
        let tree = staging.commit(&key, info)?;
        if let Origin::Repository(access) = &part.origin {
            self.store.vouch(access.repository(), &key)?;
        }
        Ok(tree)
    }
}
