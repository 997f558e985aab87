//! The hosts of one repository for one caller, one after the other.
//!
//! Each host has its own candidates. A login goes to a mirror if its key is for that mirror; the
//! logins for the registry itself go to no mirror but those that the administrator lists.

use std::sync::Arc;

use super::access::Access;
use super::answer::{Answer, Attempt};
use super::error::{Item, RegistryError, Target};
use super::hosts::{Route, Routes};
use super::http::ATTEMPTS;
use super::manifest;
use super::session::Session;
use super::trial::{Granted, Trial};
use super::{Registry, Resolved};
use crate::credentials::{Candidates, Matched, Unobtainable};
use crate::reference::{Digest, Repository, Selector};

/// What a host's failure is kept with.
pub(super) type Failed = (String, RegistryError);

/// The hosts of one repository, and what one caller may show to them.
pub(super) struct Search {
    registry: Registry,
    repository: Repository,
    routes: Routes,
    candidates: Arc<dyn Candidates>,
}

impl Search {
    pub(super) async fn new(
        registry: &Registry,
        repository: &Repository,
        selector: &Selector,
        candidates: Arc<dyn Candidates>,
    ) -> Result<Arc<Self>, RegistryError> {
        let registry = registry.clone();
        let routes = registry.routes(repository).await.map_err(|source| {
            let target = target(repository, Item::Manifest(selector.clone()), None);
            RegistryError::Hosts { target, source }
        })?;
        Ok(Arc::new(Self { registry, repository: repository.clone(), routes, candidates }))
    }

    pub(super) fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Gets a manifest from the first host that has it. A host that is not the last is asked once:
    /// its failures are what the next one is there for.
    pub(super) async fn manifest(
        self: &Arc<Self>,
        selector: &Selector,
    ) -> Result<Resolved, RegistryError> {
        let item = || Item::Manifest(selector.clone());
        let routes = self.routes.fitting(selector).map_err(|source| {
            let target = target(&self.repository, item(), None);
            RegistryError::Hosts { target, source }
        })?;
        self.first(routes, selector, Vec::new()).await
    }

    /// Gets a further manifest as the caller of `access`: where it got the last one, or else from
    /// the first of the other hosts that has it.
    pub(super) async fn another(
        self: &Arc<Self>,
        access: &Access,
        digest: &Digest,
    ) -> Result<Resolved, RegistryError> {
        let selector = Selector::Digest(digest.clone());
        let session = &access.session;
        let target = self.target(session, Item::Manifest(selector.clone()));
        let error = match manifest::get(session, &target, &selector).await {
            Ok(Ok(found)) => return Ok(self.resolved(session.clone(), found)),
            Ok(Err(answer)) => session.refused(&target, answer),
            Err(error) => error,
        };
        let failed = vec![(session.api().host().to_owned(), error)];
        self.first(self.others(session), &selector, failed).await
    }

    async fn first(
        self: &Arc<Self>,
        routes: Vec<Arc<Route>>,
        selector: &Selector,
        mut failed: Vec<Failed>,
    ) -> Result<Resolved, RegistryError> {
        let mut left = routes.len();
        for route in routes {
            left -= 1;
            let attempts = if left == 0 { ATTEMPTS } else { 1 };
            match self.at(&route, attempts, selector).await {
                Ok((session, found)) => return Ok(self.resolved(session, found)),
                Err(error) => {
                    if left > 0 {
                        let (host, repository) = (&route.host, &self.repository);
                        tracing::debug!(%repository, host, %error, "trying the next host");
                    }
                    failed.push((route.host.clone(), error));
                }
            }
        }
        Err(self.among(Item::Manifest(selector.clone()), failed))
    }

    /// The login of the caller of `access` at another host, proved with the manifest it has.
    pub(super) async fn session(
        &self,
        route: &Arc<Route>,
        manifest: &Digest,
    ) -> Result<Session, RegistryError> {
        let selector = Selector::Digest(manifest.clone());
        Ok(self.at(route, ATTEMPTS, &selector).await?.0)
    }

    /// The hosts that may be asked for content, without that of `session`.
    pub(super) fn others(&self, session: &Session) -> Vec<Arc<Route>> {
        let own = &session.api().route;
        let may = |route: &&Route| route.digests && **route != **own;
        self.routes.all().filter(may).cloned().map(Arc::new).collect()
    }

    /// The one error of all hosts that were asked for something.
    pub(super) fn among(&self, item: Item, failed: Vec<Failed>) -> RegistryError {
        RegistryError::among(target(&self.repository, item, None), failed)
    }

    /// What is asked of the host of `session`.
    pub(super) fn target(&self, session: &Session, item: Item) -> Arc<Target> {
        let route = &session.api().route;
        target(&self.repository, item, Some(route))
    }

    fn resolved(self: &Arc<Self>, session: Session, found: manifest::Found) -> Resolved {
        let manifest::Found { digest, media_type, body } = found;
        let access = Access { session, manifest: digest.clone(), search: self.clone() };
        Resolved { access, digest, media_type, body }
    }

    /// Gets a manifest from one host, with the first of the candidates that it accepts.
    async fn at(
        &self,
        route: &Arc<Route>,
        attempts: u32,
        selector: &Selector,
    ) -> Result<Granted, RegistryError> {
        let target = target(&self.repository, Item::Manifest(selector.clone()), Some(route));
        let api = self.registry.api(route, attempts).await.ok_or_else(|| {
            let (target, host) = (target.clone(), route.host.clone());
            RegistryError::Protocol { target, host, problem: "is no host of a URL".into() }
        })?;
        let mut trial = Trial::new(&self.registry, api, target.clone(), selector);
        let mut attempts = Vec::new();
        let Matched { credentials, mut failures } = self.matching(route).await;
        if let Some(granted) = trial.all(credentials, &mut attempts).await? {
            return Ok(granted);
        }
        let further = self.further(route).await;
        failures.extend(further.failures);
        if let Some(granted) = trial.all(further.credentials, &mut attempts).await? {
            return Ok(granted);
        }
        if attempts.is_empty() {
            match trial.attempt(None).await? {
                Ok(granted) => return Ok(granted),
                Err(answer) => attempts.push(Attempt { origin: None, answer }),
            }
        }
        attempts.extend(failures.into_iter().map(|Unobtainable { origin, problem }| Attempt {
            origin: Some(origin),
            answer: Answer::Unobtainable(problem),
        }));
        Err(RegistryError::refused(&target, attempts))
    }

    /// What the caller has at hand to show to a host.
    async fn matching(&self, route: &Route) -> Matched {
        let mut all = Matched::default();
        for repository in self.registry.names(route, &self.repository) {
            all.add(self.candidates.matching(&repository).await);
        }
        all
    }

    /// What the caller can get besides to show to a host.
    async fn further(&self, route: &Route) -> Matched {
        let mut all = Matched::default();
        for repository in self.registry.names(route, &self.repository) {
            all.add(self.candidates.further(&repository).await);
        }
        all
    }
}

/// What is asked of a repository, and of which mirror.
fn target(repository: &Repository, item: Item, route: Option<&Arc<Route>>) -> Arc<Target> {
    let mirror = route.filter(|route| route.is_mirror).map(|route| route.host.clone());
    Arc::new(Target { repository: repository.clone(), item, mirror })
}
