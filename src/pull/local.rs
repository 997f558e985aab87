//! What the store can serve without asking anybody: only what this caller was granted, or what the
//! node's policy does not verify, and only if nothing is missing and the registry is not blocked.

use super::judge::judged;
use super::plans::{Asked, Planned};
use super::walk::wanted;
use super::{Found, Look, PullOptions, PullRequest, Pulled, Puller, key_options};
use crate::artifact::classify::{Class, classify};
use crate::artifact::descriptor::Descriptor;
use crate::artifact::document::{Document, Manifest};
use crate::artifact::index::{Choice, Member, choose, same_layers};
use crate::artifact::name::hints;
use crate::observability::chain;
use crate::reference::{Digest, Reference, Repository, Selector};
use crate::stamp::Stamp;

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
        if !local.is_served(repository, &digest) {
            return None;
        }
        let asked = Asked {
            digest: digest.clone(),
            name: repository.last_segment().to_owned(),
            options: request.options.clone(),
        };
        let (found, collection) = match self.plans.get(&self.store, &asked) {
            Some(planned) => (vec![local.found(repository, &planned)?], false),
            None => match local.leads(repository, &digest)? {
                Leads::Tree(planned) => {
                    (vec![local.found(repository, &self.plans.put(asked, planned))?], false)
                }
                Leads::Members(members) => {
                    (local.members(repository, wanted(members, &request.options)?)?, true)
                }
            },
        };
        let (trees, findings): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        let (source, findings) = (request.source.clone(), findings.concat());
        Some(Pulled { source, digest, trees, findings, collection, local: true })
    }
}

/// What a stored document stands for.
enum Leads {
    /// One tree.
    Tree(Planned),
    /// A collection's.
    Members(Vec<Member>),
}

struct Local<'a> {
    puller: &'a Puller,
    request: &'a PullRequest,
}

impl Local<'_> {
    /// Whether this caller may see a document, if it is stored.
    fn is_served(&self, repository: &Repository, digest: &Digest) -> bool {
        let store = &self.puller.store;
        // What may not be pulled, because the node blocks the registry, is not served either.
        let names = match self.puller.registry.known_as(repository) {
            Ok(names) => names,
            Err(error) => {
                let error = chain(&error);
                tracing::debug!(%repository, error, "what is stored is not served");
                return false;
            }
        };
        match self.puller.config.verification.is_needed(repository) {
            true => {
                let logins = &self.request.logins;
                let identities: Vec<_> =
                    names.iter().flat_map(|name| logins.identities(name, store.salt())).collect();
                store.is_granted(repository, digest, &identities)
            }
            // A document that only another repository had is not this one's.
            false => store.is_known(repository, digest),
        }
    }

    /// A stored document, and what its file was.
    fn stored(&self, digest: &Digest) -> Option<(Document, Stamp)> {
        let (body, stamp) = self.puller.store.read_manifest(digest)?;
        Some((Document::parse(&body, None).ok()?, stamp))
    }

    /// What a document that this caller may see leads to.
    fn leads(&self, repository: &Repository, digest: &Digest) -> Option<Leads> {
        let options = &self.request.options;
        let (document, stamp) = self.stored(digest)?;
        let index = match document {
            Document::Manifest(manifest) => {
                return self
                    .planned(repository, (digest, &manifest, stamp), options)
                    .map(Leads::Tree);
            }
            Document::Index(index) => index,
        };
        let mut planned = match choose(&index, &self.puller.config.platform).ok()? {
            Choice::One { child, warnings } => {
                let (manifest, stamp) = self.manifest(&child.digest)?;
                let child = (&child.digest, &manifest, stamp);
                let mut planned = self.planned(repository, child, options)?;
                planned.findings.extend(warnings);
                planned
            }
            Choice::Compare(children) => self.same(repository, &children)?,
            Choice::Collection(members) => return Some(Leads::Members(members)),
        };
        planned.documents.push((digest.clone(), stamp));
        Some(Leads::Tree(planned))
    }

    fn manifest(&self, digest: &Digest) -> Option<(Manifest, Stamp)> {
        match self.stored(digest)? {
            (Document::Manifest(manifest), stamp) => Some((manifest, stamp)),
            (Document::Index(_), _) => None,
        }
    }

    fn same(&self, repository: &Repository, children: &[Descriptor]) -> Option<Planned> {
        let read: Option<Vec<_>> =
            children.iter().map(|child| self.manifest(&child.digest)).collect();
        let (manifests, stamps): (Vec<_>, Vec<_>) = read?.into_iter().unzip();
        let (manifest, child) = (manifests.first()?, children.first()?);
        if !same_layers(&manifests) {
            return None;
        }
        let mut others =
            children.iter().map(|child| child.digest.clone()).zip(stamps.iter().cloned());
        let (digest, stamp) = (&child.digest, others.next()?.1);
        let mut planned =
            self.planned(repository, (digest, manifest, stamp), &self.request.options)?;
        planned.documents.extend(others);
        Some(planned)
    }

    fn members(&self, repository: &Repository, members: Vec<Member>) -> Option<Vec<Found>> {
        let tree = |member: Member| {
            let options = PullOptions { name: member.name, ..self.request.options.clone() };
            let digest = &member.descriptor.digest;
            let elsewhere: Option<Reference> =
                member.reference.as_deref().and_then(|text| text.parse().ok());
            let places = [Some(repository), elsewhere.as_ref().map(Reference::repository)];
            let mut served =
                places.into_iter().flatten().filter(|place| self.is_served(place, digest));
            served.find_map(|place| {
                let (manifest, stamp) = self.manifest(digest)?;
                let planned = self.planned(place, (digest, &manifest, stamp), &options)?;
                self.found(place, &planned)
            })
        };
        members.into_iter().map(tree).collect()
    }

    /// The tree of a manifest, if nothing speaks against using it.
    fn planned(
        &self,
        repository: &Repository,
        (digest, manifest, stamp): (&Digest, &Manifest, Stamp),
        options: &PullOptions,
    ) -> Option<Planned> {
        // A collection in a YAML file names tags, which only the registry can resolve.
        let Ok(Class::Tree(mut plan)) = classify(manifest) else { return None };
        let mut documents = vec![(digest.clone(), stamp)];
        let config = match &plan.config {
            Some(config) => {
                let (body, stamp) = self.puller.store.read_manifest(&config.digest)?;
                documents.push((config.digest.clone(), stamp));
                Some(body)
            }
            None => None,
        };
        // What may not be used, or not under this validation, is for the remote path to refuse.
        let puller = &self.puller.config;
        let findings = judged(puller, digest, manifest, &mut plan, config.as_deref()).ok()?;
        let findings = options.validation.judge(findings).ok()?;
        let mut hints = hints(manifest, config.as_deref(), repository.last_segment());
        hints.given = options.name.clone();
        Some(Planned { key: plan.key(&key_options(options, &hints)), findings, documents })
    }

    /// The tree, if it is here and the repository has delivered it.
    fn found(&self, repository: &Repository, planned: &Planned) -> Option<Found> {
        let store = &self.puller.store;
        let tree = store.tree(&planned.key)?;
        let is_vouched = store.is_vouched(repository, &tree.info.key);
        is_vouched.then(|| (tree, planned.findings.clone()))
    }
}
