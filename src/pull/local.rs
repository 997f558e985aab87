//! What the store can serve without asking anybody: only what this caller was granted, or what the
//! node's policy does not verify, and only if nothing is missing and the registry is not blocked.

use super::judge::judged;
use super::walk::wanted;
use super::{Found, Look, PullOptions, PullRequest, Pulled, Puller, key_options};
use crate::artifact::classify::{Class, classify};
use crate::artifact::descriptor::Descriptor;
use crate::artifact::document::{Document, Manifest};
use crate::artifact::index::{Choice, Member, choose, same_layers};
use crate::artifact::name::hints;
use crate::observability::chain;
use crate::reference::{Digest, Reference, Repository, Selector};

impl Puller {
    /// The request from the store alone. Reads from disk.
    pub(super) fn look(&self, request: &PullRequest) -> Look {
        let Some(reference) = request.source.reference() else { return Look::Missing(None) };
        let (digest, known) = match reference.selector() {
            Selector::Digest(digest) => (digest, None),
            Selector::Tag(_) => match self.store.reference(reference) {
                Some(known) => (known.digest.clone(), Some(known.digest)),
                None => return Look::Missing(None),
            },
        };
        self.local(request, reference, digest).map_or(Look::Missing(known), Look::Stored)
    }

    /// None if anything is missing or not granted.
    fn local(
        &self,
        request: &PullRequest,
        reference: &Reference,
        digest: Digest,
    ) -> Option<Pulled> {
        let local = Local { puller: self, request };
        let repository = reference.repository();
        let (found, collection) = match local.document(repository, &digest)? {
            Document::Manifest(manifest) => {
                (vec![local.tree(repository, &digest, &manifest, &request.options)?], false)
            }
            Document::Index(index) => match choose(&index, &self.config.platform).ok()? {
                Choice::One { child, warnings } => {
                    let (tree, findings) = local.child(repository, &child)?;
                    (vec![(tree, [findings, warnings].concat())], false)
                }
                Choice::Compare(children) => (vec![local.same(repository, &children)?], false),
                Choice::Collection(members) => {
                    (local.members(repository, wanted(members, &request.options)?)?, true)
                }
            },
        };
        let (trees, findings): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        let (source, findings) = (request.source.clone(), findings.concat());
        Some(Pulled { source, digest, trees, findings, collection, local: true })
    }
}

struct Local<'a> {
    puller: &'a Puller,
    request: &'a PullRequest,
}

impl Local<'_> {
    /// A stored document that this caller may see.
    fn document(&self, repository: &Repository, digest: &Digest) -> Option<Document> {
        let store = &self.puller.store;
        // What may not be pulled, because the node blocks the registry, is not served either.
        let names = match self.puller.registry.known_as(repository) {
            Ok(names) => names,
            Err(error) => {
                let error = chain(&error);
                tracing::debug!(%repository, error, "what is stored is not served");
                return None;
            }
        };
        let is_served = match self.puller.config.verification.is_needed(repository) {
            true => {
                let logins = &self.request.logins;
                let identities: Vec<_> =
                    names.iter().flat_map(|name| logins.identities(name, store.salt())).collect();
                store.is_granted(repository, digest, &identities)
            }
            // A document that only another repository had is not this one's.
            false => store.is_known(repository, digest),
        };
        is_served.then(|| self.stored(digest))?
    }

    /// A stored document that a granted one names.
    fn stored(&self, digest: &Digest) -> Option<Document> {
        Document::parse(&self.puller.store.manifest(digest)?, None).ok()
    }

    fn manifest(&self, digest: &Digest) -> Option<Manifest> {
        match self.stored(digest)? {
            Document::Manifest(manifest) => Some(manifest),
            Document::Index(_) => None,
        }
    }

    fn child(&self, repository: &Repository, child: &Descriptor) -> Option<Found> {
        let manifest = self.manifest(&child.digest)?;
        self.tree(repository, &child.digest, &manifest, &self.request.options)
    }

    fn same(&self, repository: &Repository, children: &[Descriptor]) -> Option<Found> {
        let manifests: Option<Vec<_>> =
            children.iter().map(|child| self.manifest(&child.digest)).collect();
        let manifests = manifests.filter(|manifests| same_layers(manifests))?;
        let digest = &children.first()?.digest;
        self.tree(repository, digest, manifests.first()?, &self.request.options)
    }

    fn members(&self, repository: &Repository, members: Vec<Member>) -> Option<Vec<Found>> {
        let tree = |member: Member| {
            let options = PullOptions { name: member.name, ..self.request.options.clone() };
            let digest = &member.descriptor.digest;
            let elsewhere: Option<Reference> =
                member.reference.as_deref().and_then(|text| text.parse().ok());
            let places = [Some(repository), elsewhere.as_ref().map(Reference::repository)];
            places.into_iter().flatten().find_map(|place| match self.document(place, digest)? {
                Document::Manifest(manifest) => self.tree(place, digest, &manifest, &options),
                Document::Index(_) => None,
            })
        };
        members.into_iter().map(tree).collect()
    }

    fn tree(
        &self,
        repository: &Repository,
        digest: &Digest,
        manifest: &Manifest,
        options: &PullOptions,
    ) -> Option<Found> {
        // A collection in a YAML file names tags, which only the registry can resolve.
        let Ok(Class::Tree(mut plan)) = classify(manifest) else { return None };
        let store = &self.puller.store;
        let config = match &plan.config {
            Some(config) => Some(store.manifest(&config.digest)?),
            None => None,
        };
        // What may not be used, or not under this validation, is for the remote path to refuse.
        let puller = &self.puller.config;
        let findings = judged(puller, digest, manifest, &mut plan, config.as_deref()).ok()?;
        let findings = options.validation.judge(findings).ok()?;
        let mut hints = hints(manifest, config.as_deref(), repository.last_segment());
        hints.given = options.name.clone();
        let tree = store.tree(&plan.key(&key_options(options, &hints)))?;
        store.is_vouched(repository, &tree.info.key).then_some((tree, findings))
    }
}
