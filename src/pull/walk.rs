//! The walk from a reference to the plans of its trees: manifests, indexes, collections, one
//! level deep. It asks the registry for documents, and [`Blobs`] for configs; it remembers nothing
//! itself.

use std::sync::Arc;

use bytes::Bytes;

use super::blobs::{Blobs, Opening, Small};
use super::judge::judged;
use super::source::{Origin, Resolved, Source};
use super::space::{Reserved, Space};
use super::{PullConfig, PullError, PullOptions, PullRequest};
use crate::artifact::classify::{Class, classify};
use crate::artifact::collection;
use crate::artifact::descriptor::Descriptor;
use crate::artifact::document::{Document, Index, Manifest};
use crate::artifact::index::{Choice, Member, choose, no_platform, same_layers};
use crate::artifact::name::{Hints, hints};
use crate::artifact::plan::Plan;
use crate::reference::{Digest, Reference, Selector};
use crate::registry::{Registry, RegistryError};
use crate::store::Store;

/// One manifest of what a reference resolved to, with the right to its blobs.
pub(super) struct Part {
    pub(super) origin: Origin,
    pub(super) digest: Digest,
    pub(super) plan: Plan,
    pub(super) hints: Hints,
    pub(super) options: PullOptions,
    /// What is odd about the manifest and its config.
    pub(super) findings: Vec<String>,
    /// The lowest layer, if it was asked for beside the config.
    pub(super) opening: Option<Opening>,
    /// The space for its layers, if it was reserved for that.
    pub(super) reserved: Option<Reserved>,
}

/// All that a reference resolved to.
pub(super) struct Parts {
    pub(super) digest: Digest,
    pub(super) parts: Vec<Part>,
    /// Whether it is a collection that points to its members.
    pub(super) collection: bool,
    /// What must be remembered so that the next publish needs no registry.
    pub(super) documents: Vec<Remembered>,
}

/// A document, and who read it where.
pub(super) struct Remembered {
    pub(super) origin: Origin,
    pub(super) digest: Digest,
    pub(super) body: Bytes,
}

/// The walk of one request.
pub(super) struct Walk<'a> {
    registry: &'a Registry,
    config: &'a PullConfig,
    request: &'a PullRequest,
    blobs: Blobs<'a>,
    documents: Vec<Remembered>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        registry: &'a Registry,
        config: &'a PullConfig,
        request: &'a PullRequest,
    ) -> Self {
        let blobs = Blobs::new(registry, config.limits.total_bytes);
        Self { registry, config, request, blobs, documents: Vec::new() }
    }

    /// The same, for a caller who has a store.
    pub(super) fn with_store(mut self, store: &'a Arc<Store>, space: &'a Space) -> Self {
        self.blobs.store = Some(store);
        self.blobs.space = Some((space, &self.request.tenant));
        self
    }

    /// The documents behind the request's reference, down to the plans of its trees. `known` is
    /// what the tag meant before, where that is to be asked for first.
    pub(super) async fn parts(mut self, known: Option<Digest>) -> Result<Parts, PullError> {
        let resolved = self.resolve(known).await?;
        let digest = resolved.digest.clone();
        let (parts, collection) = match self.document(&resolved)? {
            Document::Manifest(manifest) => match self.classified(&digest, &manifest)? {
                Class::Tree(plan) => {
                    let options = self.request.options.clone();
                    (vec![self.part(&resolved, manifest, plan, options).await?], false)
                }
                Class::SkillimageCollection(list) => {
                    (self.listed(&resolved.origin, &list).await?, true)
                }
            },
            Document::Index(index) => match self.choose(&digest, &index)? {
                Choice::Collection(members) => (self.members(&resolved, members).await?, true),
                choice => {
                    (vec![self.one(&resolved, choice, self.request.options.clone()).await?], false)
                }
            },
        };
        tracing::debug!(source = %self.request.source, %digest, trees = parts.len(), "resolved");
        Ok(Parts { digest, parts, collection, documents: self.documents })
    }

    async fn resolve(&self, known: Option<Digest>) -> Result<Resolved, PullError> {
        let reference = match &self.request.source {
            Source::Registry(reference) => reference,
            Source::Layout(location) => {
                return Origin::layout(location).await.map_err(PullError::Resolve);
            }
        };
        let repository = reference.repository();
        let logins = || self.request.logins.clone() as _;
        if let Some(known) = known {
            let selector = Selector::Digest(known);
            match self.registry.resolve(repository, &selector, logins()).await {
                // The answer would name a digest that this caller may not know, and the tag may
                // have another one now.
                Err(error) if error.is_refusal() => {}
                answer => return resolved(answer),
            }
        }
        resolved(self.registry.resolve(repository, &reference.selector(), logins()).await)
    }

    fn choose(&self, digest: &Digest, index: &Index) -> Result<Choice, PullError> {
        choose(index, &self.config.platform)
            .map_err(|source| PullError::Index { digest: digest.clone(), source })
    }

    /// The one manifest of an index that is no collection.
    async fn one(
        &mut self,
        index: &Resolved,
        choice: Choice,
        options: PullOptions,
    ) -> Result<Part, PullError> {
        match choice {
            Choice::One { child, warnings } => {
                let resolved = self.fetch(&index.origin, &child.digest).await?;
                let manifest = self.manifest(&resolved)?;
                let mut part = self.only(&resolved, manifest, options).await?;
                part.findings.extend(warnings);
                Ok(part)
            }
            Choice::Compare(children) => self.same(index, &children, options).await,
            Choice::Collection(_) => Err(PullError::Nested(index.digest.clone())),
        }
    }

    fn classified(&self, digest: &Digest, manifest: &Manifest) -> Result<Class, PullError> {
        let class = classify(manifest)
            .map_err(|source| PullError::Classify { digest: digest.clone(), source })?;
        let limit = self.config.limits.layers;
        match &class {
            Class::Tree(plan) if plan.layers.len() > limit as usize => {
                Err(PullError::Layers { layers: plan.layers.len(), limit })
            }
            _ => Ok(class),
        }
    }

    fn document(&mut self, resolved: &Resolved) -> Result<Document, PullError> {
        let document = parse(resolved)?;
        self.documents.push(Remembered {
            origin: resolved.origin.clone(),
            digest: resolved.digest.clone(),
            body: resolved.body.clone(),
        });
        Ok(document)
    }

    fn manifest(&mut self, resolved: &Resolved) -> Result<Manifest, PullError> {
        match self.document(resolved)? {
            Document::Manifest(manifest) => Ok(manifest),
            Document::Index(_) => Err(PullError::Nested(resolved.digest.clone())),
        }
    }

    async fn fetch(&self, origin: &Origin, digest: &Digest) -> Result<Resolved, PullError> {
        origin
            .document(self.registry, digest)
            .await
            .map_err(|source| PullError::Manifest { digest: digest.clone(), source })
    }

    /// Several platforms, none of them this node's: fine if all have the same layers.
    async fn same(
        &mut self,
        index: &Resolved,
        children: &[Descriptor],
        options: PullOptions,
    ) -> Result<Part, PullError> {
        let mut manifests = Vec::with_capacity(children.len());
        let mut first = None;
        for child in children {
            let resolved = self.fetch(&index.origin, &child.digest).await?;
            manifests.push(self.manifest(&resolved)?);
            first.get_or_insert(resolved);
        }
        let (Some(resolved), true) = (first, same_layers(&manifests)) else {
            let source = no_platform(children, &self.config.platform);
            return Err(PullError::Index { digest: index.digest.clone(), source });
        };
        let manifest = manifests.swap_remove(0);
        self.only(&resolved, manifest, options).await
    }

    /// A manifest that must be one of a tree: collections do not nest.
    async fn only(
        &mut self,
        resolved: &Resolved,
        manifest: Manifest,
        options: PullOptions,
    ) -> Result<Part, PullError> {
        match self.classified(&resolved.digest, &manifest)? {
            Class::Tree(plan) => self.part(resolved, manifest, plan, options).await,
            Class::SkillimageCollection(_) => Err(PullError::Nested(resolved.digest.clone())),
        }
    }

    async fn part(
        &mut self,
        resolved: &Resolved,
        manifest: Manifest,
        mut plan: Plan,
        options: PullOptions,
    ) -> Result<Part, PullError> {
        let Small { body: config, is_new, opening, reserved } = match &plan.config {
            Some(config) => self.blobs.config(&resolved.origin, config, &plan.layers).await?,
            None => Small::default(),
        };
        if let (Some(descriptor), Some(body), true) = (&plan.config, &config, is_new) {
            self.documents.push(Remembered {
                origin: resolved.origin.clone(),
                digest: descriptor.digest.clone(),
                body: body.clone(),
            });
        }
        let digest = &resolved.digest;
        let findings = judged(self.config, digest, &manifest, &mut plan, config.as_deref())?;
        let mut hints = hints(&manifest, config.as_deref(), resolved.origin.last_name());
        hints.local = matches!(resolved.origin, Origin::Layout(_));
        hints.given = options.name.clone();
        Ok(Part {
            origin: resolved.origin.clone(),
            digest: resolved.digest.clone(),
            plan,
            hints,
            options,
            findings,
            opening,
            reserved,
        })
    }

    /// The members of an index collection: in the same repository, or where the index says,
    /// always by digest.
    async fn members(
        &mut self,
        index: &Resolved,
        members: Vec<Member>,
    ) -> Result<Vec<Part>, PullError> {
        let available: Vec<_> = members.iter().filter_map(|m| m.name.clone()).collect();
        let members = wanted(members, &self.request.options)
            .filter(|members| !members.is_empty())
            .ok_or_else(|| no_member(&self.request.options, &available))?;
        self.blobs.ahead = false;
        let mut parts = Vec::with_capacity(members.len());
        for member in members {
            let name = member.name.clone().unwrap_or_else(|| member.descriptor.digest.short());
            let part = self.member(index, member).await;
            parts.push(part.map_err(|source| PullError::Member { name, source: source.into() })?);
        }
        Ok(parts)
    }

    async fn member(&mut self, index: &Resolved, member: Member) -> Result<Part, PullError> {
        let digest = &member.descriptor.digest;
        let resolved = match (self.fetch(&index.origin, digest).await, &member.reference) {
            (Err(PullError::Manifest { source, .. }), Some(text)) if source.is_not_found() => {
                let reference: Reference = text
                    .parse()
                    .map_err(|source| PullError::MemberReference { name: text.clone(), source })?;
                self.elsewhere(&reference, &Selector::Digest(digest.clone())).await?
            }
            (answer, _) => answer?,
        };
        let manifest = self.manifest(&resolved)?;
        let options = PullOptions { name: member.name, ..self.request.options.clone() };
        self.only(&resolved, manifest, options).await
    }

    /// Another repository, with those of the caller's credentials that are for *it*.
    async fn elsewhere(
        &self,
        reference: &Reference,
        selector: &Selector,
    ) -> Result<Resolved, PullError> {
        let repository = reference.repository();
        let answer = self.registry.resolve(repository, selector, self.request.logins.clone()).await;
        let resolved = answer.map_err(|source| {
            let reference = reference.to_string();
            PullError::ResolveMember { reference, source: source.into() }
        })?;
        Ok(resolved.into())
    }

    /// The members of a skillimage collection: a YAML file of references.
    async fn listed(&mut self, origin: &Origin, list: &Descriptor) -> Result<Vec<Part>, PullError> {
        let body = self.blobs.small(origin, list).await?;
        let collection::Collection { entries, warnings } = collection::parse(&body)?;
        let wanted = &self.request.options.skills;
        let missing = wanted.iter().any(|name| entries.iter().all(|entry| entry.name != *name));
        if missing {
            let available: Vec<_> = entries.into_iter().map(|entry| entry.name).collect();
            return Err(no_member(&self.request.options, &available));
        }
        self.blobs.ahead = false;
        let mut parts = Vec::new();
        for entry in entries {
            if !wanted.is_empty() && !wanted.contains(&entry.name) {
                continue;
            }
            let part = self.entry(&entry).await;
            parts.push(part.map_err(|source| PullError::Member {
                name: entry.name.clone(),
                source: source.into(),
            })?);
        }
        if let Some(first) = parts.first_mut() {
            first.findings.extend(warnings);
        }
        Ok(parts)
    }

    async fn entry(&mut self, entry: &collection::Entry) -> Result<Part, PullError> {
        let resolved = self.elsewhere(&entry.image, &entry.image.selector()).await?;
        let options =
            PullOptions { name: Some(entry.name.clone()), ..self.request.options.clone() };
        match self.document(&resolved)? {
            Document::Manifest(manifest) => self.only(&resolved, manifest, options).await,
            Document::Index(index) => {
                let choice = self.choose(&resolved.digest, &index)?;
                self.one(&resolved, choice, options).await
            }
        }
    }
}

/// What a registry answered, as the walk goes on with it.
fn resolved(
    answer: Result<crate::registry::Resolved, RegistryError>,
) -> Result<Resolved, PullError> {
    answer.map(Into::into).map_err(|error| PullError::Resolve(error.into()))
}

fn parse(resolved: &Resolved) -> Result<Document, PullError> {
    Document::parse(&resolved.body, resolved.media_type.as_deref())
        .map_err(|source| PullError::Document { digest: resolved.digest.clone(), source })
}

fn no_member(options: &PullOptions, available: &[String]) -> PullError {
    PullError::NoMember { wanted: options.skills.join(", "), available: available.join(", ") }
}

/// The members that the `skills` attribute wants; none if one of them is not there.
pub(super) fn wanted(members: Vec<Member>, options: &PullOptions) -> Option<Vec<Member>> {
    if options.skills.is_empty() {
        return Some(members);
    }
    let named = |name: &String| members.iter().find(|m| m.name.as_ref() == Some(name)).cloned();
    options.skills.iter().map(named).collect()
}
