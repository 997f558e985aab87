//! The candidates for one host, one after the other.

use std::sync::Arc;

use reqwest::StatusCode;

use super::Registry;
use super::answer::{Answer, Attempt};
use super::auth::{AuthError, Authenticator, Authorization};
use super::challenge::Challenge;
use super::error::{RegistryError, Target};
use super::host::Api;
use super::http::Reply;
use super::manifest::{self, Found};
use super::session::{Grant, Session};
use crate::credentials::{Credential, Login};
use crate::reference::Selector;

/// What a host says to a caller who shows nothing.
enum Door {
    /// The manifest: it is public.
    Open(Reply),
    /// The caller was turned down.
    Closed(Closed),
}

/// A refusal of a caller who showed nothing.
#[derive(Clone)]
struct Closed {
    /// How to log in, if the host says so.
    challenge: Option<Challenge>,
    answer: Answer,
}

/// A manifest, and the login that got it.
pub(super) type Granted = (Session, Found);

/// The trial of one host for one manifest.
pub(super) struct Trial<'a> {
    registry: &'a Registry,
    api: Api,
    target: Arc<Target>,
    selector: &'a Selector,
    /// Known after the first candidate that needs to know how to log in.
    closed: Option<Closed>,
}

impl<'a> Trial<'a> {
    pub(super) fn new(
        registry: &'a Registry,
        api: Api,
        target: Arc<Target>,
        selector: &'a Selector,
    ) -> Self {
        Self { registry, api, target, selector, closed: None }
    }

    /// Candidates in their order: the manifest, or nothing if all were turned down.
    pub(super) async fn all(
        &mut self,
        credentials: Vec<Credential>,
        attempts: &mut Vec<Attempt>,
    ) -> Result<Option<Granted>, RegistryError> {
        for credential in credentials {
            match self.attempt(Some(&credential)).await? {
                Ok(granted) => return Ok(Some(granted)),
                Err(answer) => attempts.push(Attempt { origin: Some(credential.origin), answer }),
            }
        }
        Ok(None)
    }

    /// One candidate: the manifest, or how the host turned the candidate down.
    pub(super) async fn attempt(
        &mut self,
        credential: Option<&Credential>,
    ) -> Result<Result<Granted, Answer>, RegistryError> {
        let shared = &self.registry.0;
        let route = self.api.route.clone();
        let known = shared.cache.get(&route, credential);
        // How often a host is asked depends on how many there are behind it.
        if let Some(session) = known.filter(|known| *known.api() == self.api) {
            match manifest::get(&session, &self.target, self.selector).await {
                Ok(Ok(found)) => return Ok(Ok((session, found))),
                Err(error) if !error.is_refusal() => return Err(error),
                // What was granted before is not any more: start from the beginning.
                Ok(Err(_)) | Err(_) => shared.cache.forget(&route, credential),
            }
        }
        let challenge = match credential.map(|credential| &credential.login) {
            // A token is presented as it is, and needs no challenge.
            Some(Login::Bearer(_)) => None,
            login => {
                let Closed { challenge, answer } = match self.knock(login.is_some()).await? {
                    Door::Open(reply) => return self.public(reply).map(Ok),
                    Door::Closed(closed) => closed,
                };
                let hopeless = match login {
                    Some(_) => challenge.is_none(),
                    None => !matches!(challenge, Some(Challenge::Bearer { .. })),
                };
                if hopeless {
                    return Ok(Err(answer));
                }
                challenge
            }
        };
        let authenticator = Authenticator {
            transport: &shared.transport,
            api: &self.api,
            target: &self.target,
            plain_http: &shared.config.plain_http,
        };
        let authorization = match authenticator.authorize(challenge.as_ref(), credential).await {
            Ok(authorization) => authorization,
            Err(AuthError::Refused(answer)) => return Ok(Err(answer)),
            Err(AuthError::Failed(error)) => return Err(error),
        };
        let session = self.session(credential, Grant::new(challenge, authorization));
        let result = manifest::get(&session, &self.target, self.selector).await?;
        Ok(result.map(|found| {
            shared.cache.put(session.clone());
            (session, found)
        }))
    }

    fn session(&self, credential: Option<&Credential>, grant: Grant) -> Session {
        Session::new(self.registry.0.clone(), self.api.clone(), credential.cloned(), grant)
    }

    /// Asks for the manifest and shows nothing, once for all candidates. Where the answer does
    /// not say how to log in, because the registry hides what is private, the API's root may.
    async fn knock(&mut self, has_login: bool) -> Result<Door, RegistryError> {
        if let Some(closed) = &self.closed {
            return Ok(Door::Closed(closed.clone()));
        }
        let transport = &self.registry.0.transport;
        let limit = self.registry.0.config.manifest_bytes;
        let ask = manifest::ask(&self.api, self.selector);
        let reply = transport
            .exchange(&self.target, &ask, limit, &[])
            .await?
            .ok_or_else(|| manifest::too_large(&self.target, limit))?;
        let mut challenge = match reply.status {
            StatusCode::UNAUTHORIZED => reply.challenge(),
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => None,
            _ => return Ok(Door::Open(reply)),
        };
        if challenge.is_none() && has_login {
            let root = self.api.knock();
            let reply = transport.exchange(&self.target, &root, limit, &[]).await?;
            challenge = reply
                .filter(|reply| reply.status == StatusCode::UNAUTHORIZED)
                .and_then(|reply| reply.challenge());
        }
        let closed = Closed { challenge, answer: reply.answer(None) };
        Ok(Door::Closed(self.closed.insert(closed).clone()))
    }

    /// A login of nobody, with the manifest that anyone can get.
    fn public(&self, reply: Reply) -> Result<Granted, RegistryError> {
        let found = manifest::check(&self.api, &self.target, self.selector, reply)?;
        let session = self.session(None, Grant::new(None, Authorization::None));
        session.prove();
        self.registry.0.cache.put(session.clone());
        Ok((session, found))
    }
}
