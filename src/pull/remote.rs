//! What only the registry can give: the bytes of trees that are not stored yet.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;
use tracing::{Instrument as _, Span};

use super::judge;
use super::layers::{self, Work};
use super::progress::{Progress, Step};
use super::source::{Origin, Source};
use super::space::Claim;
use super::walk::{Part, Parts, Remembered, Walk};
use super::{Found, PullError, PullRequest, Pulled, Puller, Tenant, blocking, key_options};
use crate::observability::metrics::Phase;
use crate::observability::trace;
use crate::reference::Digest;
use crate::store::{self, Staging, StoredTree, TreeInfo};
use crate::unpack::DiskSink;
use crate::unpack::Unpacked;

/// How many members of a collection are pulled at once.
const PARALLEL_MEMBERS: usize = 4;

impl Puller {
    /// What is present stays: a tag that was resolved before, to `known`, is asked for by that
    /// digest, and only the permission is at stake.
    pub(super) async fn remote(
        self: &Arc<Self>,
        request: &PullRequest,
        known: Option<Digest>,
        progress: &Arc<Progress>,
    ) -> Result<Pulled, PullError> {
        progress.enter(Step::Resolving);
        let start = Instant::now();
        let walk =
            Walk::new(&self.registry, &self.config, request).with_store(&self.store, &self.space);
        let walked = walk.parts(known).instrument(trace::phase(Phase::Resolve)).await?;
        let Parts { digest, parts, collection, documents } = walked;
        self.config.metrics.phase(Phase::Resolve, start.elapsed());
        let trees = stream::iter(parts)
            .map(|part| self.tree(part, &request.tenant, progress))
            .buffered(PARALLEL_MEMBERS)
            .try_collect::<Vec<Found>>();
        // What was read is remembered while the rest comes. Neither is left alone when the other
        // fails: threads of a pull that has ended would take space on a full disk.
        let (found, remembered) = tokio::join!(trees, self.remember(request, documents));
        let found = found?;
        remembered?;
        // Last: a tag that means something broken is to be asked for again, not its digest.
        self.refer(request, &digest).await?;
        let (trees, findings): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        let (source, findings) = (request.source.clone(), findings.concat());
        Ok(Pulled { source, digest, trees, findings, collection, local: false })
    }

    async fn remember(
        self: &Arc<Self>,
        request: &PullRequest,
        documents: Vec<Remembered>,
    ) -> Result<(), PullError> {
        // What a layout says is nothing that a registry granted.
        if request.source.reference().is_none() {
            return Ok(());
        }
        let puller = self.clone();
        blocking(move || {
            let store = &puller.store;
            for Remembered { origin, digest, body } in documents {
                let Origin::Repository(access) = origin else { continue };
                store.put_manifest(&digest, &body)?;
                store.grant(access.repository(), &digest, &access.identities(store.salt()))?;
            }
            Ok(())
        })
        .await?
    }

    /// Remembers what the reference means.
    async fn refer(
        self: &Arc<Self>,
        request: &PullRequest,
        digest: &Digest,
    ) -> Result<(), PullError> {
        let Source::Registry(reference) = request.source.clone() else { return Ok(()) };
        let (puller, digest) = (self.clone(), digest.clone());
        blocking(move || Ok(puller.store.put_reference(&reference, &digest)?)).await?
    }

    /// The tree of a part: the stored one, or a new one from the registry's bytes.
    async fn tree(
        self: &Arc<Self>,
        mut part: Part,
        tenant: &Tenant,
        progress: &Arc<Progress>,
    ) -> Result<Found, PullError> {
        let key = part.plan.key(&key_options(&part.options, &part.hints));
        if let Some(tree) = self.stored_tree(&part.origin, &key).await? {
            // Another manifest made the tree: what is odd about this one is not known yet.
            let findings = part.options.validation.judge(part.findings)?;
            return Ok((tree, findings));
        }
        let claim = Claim::of(&part.plan.layers, self.config.limits.total_bytes);
        let reserved = match part.reserved.take() {
            Some(reserved) => reserved,
            None => self.space.reserve(tenant, claim, || progress.enter(Step::Reserving)).await?,
        };
        progress.expect(part.plan.download_bytes());
        progress.enter(Step::Pulling);
        let start = Instant::now();
        let opening = part.opening.take();
        let part = Arc::new(part);
        let store = self.store.clone();
        let begin = move || {
            let staging = store.stage()?;
            let directory = staging.tree_fd().try_clone_to_owned()?;
            // The space is taken until the files are gone from staging.
            Ok((DiskSink::new(directory), (staging, reserved)))
        };
        let (puller, made, told) = (self.clone(), part.clone(), progress.clone());
        let caller = Span::current();
        let end = move |unpacked, (staging, _reserved)| {
            let _caller = caller.entered();
            puller.config.metrics.phase(Phase::Download, start.elapsed());
            told.enter(Step::Storing);
            let start = Instant::now();
            let commit = || puller.commit(&made, key, unpacked, staging);
            let tree = trace::phase(Phase::Store).in_scope(commit)?;
            puller.config.metrics.phase(Phase::Store, start.elapsed());
            if puller.config.durable {
                puller.flush([tree.info.key.clone()]);
            }
            Ok(tree)
        };
        let begin = move || begin().map_err(PullError::State);
        let (source, bounds) = ((&part.plan, opening), (self.config.limits, &self.downloads));
        let work = Work { begin, end };
        let tree = layers::lay_out(&self.registry, &part.origin, source, work, bounds, progress)
            .instrument(trace::phase(Phase::Download))
            .await?;
        Ok((tree, part.findings.clone()))
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
        part: &Part,
        key: String,
        mut unpacked: Unpacked<DiskSink>,
        staging: Staging,
    ) -> Result<Arc<StoredTree>, PullError> {
        let verdict = judge::judge(part, &mut unpacked)?;
        judge::place(&verdict.layout, &mut unpacked, staging.out_fd())?;
        let repository = match &part.origin {
            Origin::Repository(access) => Some(access.repository()),
            Origin::Layout(_) => None,
        };
        let info = TreeInfo {
            key: key.clone(),
            format: part.plan.format.into(),
            shape: verdict.layout.shape,
            skills: judge::infos(&verdict),
            layers: part.plan.layers.iter().map(|layer| layer.descriptor.digest.clone()).collect(),
            repository: repository.cloned(),
            totals: verdict.totals.iter().copied().sum(),
            warnings: verdict.warnings,
            created_at: store::now(),
        };
        let tree = staging.commit(&key, info)?;
        // Another's pull may have made it meanwhile.
        if let Some(repository) =
            repository.filter(|made| tree.info.repository.as_ref() != Some(made))
        {
            self.store.vouch(repository, &key)?;
        }
        Ok(tree)
    }
}
