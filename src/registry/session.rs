//! One login at one host for one repository: its authorization, kept fresh.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::StatusCode;
use tokio::sync::Mutex;

use super::Shared;
use super::answer::{Answer, Attempt};
use super::ask::Ask;
use super::auth::{AuthError, Authenticator, Authorization};
use super::challenge::Challenge;
use super::error::{RegistryError, Target};
use super::host::Api;
use super::http::{Opened, Reply};
use crate::credentials::Credential;

/// The token of one credential for one repository at one host. Cheap to clone.
#[derive(Clone)]
pub(super) struct Session(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    api: Api,
    credential: Option<Credential>,
    grant: Mutex<Grant>,
    /// The registry has accepted the authorization, so that a 401 means that it ran out.
    proven: AtomicBool,
    /// Whose answer was a 401 renews and asks again, one after the other: a token may be good for
    /// one request only.
    turn: Mutex<()>,
}

/// What became of a token that ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Renewal {
    /// There is no other to get.
    No,
    /// There is a new one, made for this request.
    Own,
    /// There is a newer one already, which was made for another request.
    Others,
}

/// What the registry granted.
pub(super) struct Grant {
    challenge: Option<Challenge>,
    authorization: Authorization,
    /// Counts renewals, so that callers who fail at once renew once.
    generation: u64,
}

impl Grant {
    pub(super) fn new(challenge: Option<Challenge>, authorization: Authorization) -> Self {
        Self { challenge, authorization, generation: 0 }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("host", &self.0.api.host())
            .field("credential", &self.0.credential)
            .finish_non_exhaustive()
    }
}

impl Session {
    pub(super) fn new(
        shared: Arc<Shared>,
        api: Api,
        credential: Option<Credential>,
        grant: Grant,
    ) -> Self {
        let (grant, proven) = (Mutex::new(grant), AtomicBool::new(false));
        let turn = Mutex::default();
        Self(Arc::new(Inner { shared, api, credential, grant, proven, turn }))
    }

    /// The credential that the registry accepted; nothing if it asked for none.
    pub(super) fn credential(&self) -> Option<&Credential> {
        self.0.credential.as_ref()
    }

    pub(super) fn api(&self) -> &Api {
        &self.0.api
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.0.shared
    }

    /// Notes that the registry accepted the authorization.
    pub(super) fn prove(&self) {
        self.0.proven.store(true, Ordering::Relaxed);
    }

    /// The error for an answer that turned this login down.
    pub(super) fn refused(&self, target: &Arc<Target>, answer: Answer) -> RegistryError {
        let origin = self.credential().map(|credential| credential.origin.clone());
        RegistryError::refused(target, vec![Attempt { origin, answer }])
    }

    /// One exchange with the registry. A token that ran out is renewed, once.
    pub(super) async fn exchange(
        &self,
        target: &Arc<Target>,
        ask: &Ask,
        limit: u64,
    ) -> Result<Option<Reply>, RegistryError> {
        let transport = &self.0.shared.transport;
        let (authorization, generation) = self.authorization(target).await?;
        let proven = self.0.proven.load(Ordering::Relaxed);
        let shown = ask.clone().with(&authorization);
        let reply =
            transport.exchange(target, &shown, limit, &self.secrets(&authorization)).await?;
        let reply = match reply {
            Some(reply) if reply.status == StatusCode::UNAUTHORIZED && proven => {
                if self.renew(target, generation, reply.challenge()).await? == Renewal::No {
                    return Ok(Some(reply));
                }
                let (authorization, _) = self.authorization(target).await?;
                let shown = ask.clone().with(&authorization);
                transport.exchange(target, &shown, limit, &self.secrets(&authorization)).await?
            }
            other => other,
        };
        if reply.as_ref().is_some_and(|reply| reply.status.is_success()) {
            self.prove();
        }
        Ok(reply)
    }

    /// What no answer may repeat.
    fn secrets<'a>(&'a self, authorization: &'a Authorization) -> [&'a str; 2] {
        [authorization.secret(), self.credential().map_or("", |known| known.login.secret())]
    }

    /// One request to the registry, whose answer may be long. A token that ran out is renewed,
    /// once; one that another request had renewed meanwhile is tried before.
    pub(super) async fn open(
        &self,
        target: &Arc<Target>,
        ask: &Ask,
    ) -> Result<Opened, RegistryError> {
        let (mut opened, mut generation) = self.open_once(target, ask).await?;
        let is_worn = |opened: &Opened| match opened {
            Opened::Refused(reply) if reply.status == StatusCode::UNAUTHORIZED => {
                Some(reply.challenge())
            }
            _ => None,
        };
        let _turn = match is_worn(&opened) {
            Some(_) => self.0.turn.lock().await,
            None => return Ok(opened),
        };
        for _ in 0..2 {
            let Some(challenge) = is_worn(&opened) else { break };
            let renewal = self.renew(target, generation, challenge).await?;
            if renewal == Renewal::No {
                break;
            }
            (opened, generation) = self.open_once(target, ask).await?;
            if renewal == Renewal::Own {
                break;
            }
        }
        Ok(opened)
    }

    /// Returns the generation of the authorization that was shown, too.
    async fn open_once(
        &self,
        target: &Arc<Target>,
        ask: &Ask,
    ) -> Result<(Opened, u64), RegistryError> {
        let (authorization, generation) = self.authorization(target).await?;
        let shown = ask.clone().with(&authorization);
        let secrets = self.secrets(&authorization);
        let opened = self.0.shared.transport.open(target, &shown, &secrets).await?;
        Ok((opened, generation))
    }

    /// The authorization and its generation, renewed if it is about to run out.
    async fn authorization(
        &self,
        target: &Arc<Target>,
    ) -> Result<(Authorization, u64), RegistryError> {
        let mut grant = self.0.grant.lock().await;
        if grant.authorization.is_stale() {
            self.replace(target, &mut grant).await?;
        }
        Ok((grant.authorization.clone(), grant.generation))
    }

    /// Gets a new token in place of the one of `generation`.
    async fn renew(
        &self,
        target: &Arc<Target>,
        generation: u64,
        challenge: Option<Challenge>,
    ) -> Result<Renewal, RegistryError> {
        let mut grant = self.0.grant.lock().await;
        if grant.generation != generation {
            return Ok(Renewal::Others);
        }
        grant.challenge = challenge.or(grant.challenge.take());
        let renewable = match &grant.authorization {
            Authorization::Bearer { renew_at, .. } => renew_at.is_some(),
            Authorization::None => true,
            Authorization::Basic { .. } => false,
        };
        if !renewable || !matches!(grant.challenge, Some(Challenge::Bearer { .. })) {
            return Ok(Renewal::No);
        }
        self.replace(target, &mut grant).await?;
        Ok(Renewal::Own)
    }

    async fn replace(&self, target: &Arc<Target>, grant: &mut Grant) -> Result<(), RegistryError> {
        let shared = &self.0.shared;
        let authenticator = Authenticator {
            transport: &shared.transport,
            api: &self.0.api,
            target,
            plain_http: &shared.config.plain_http,
        };
        let challenge = grant.challenge.as_ref();
        match authenticator.authorize(challenge, self.credential()).await {
            Ok(authorization) => {
                grant.authorization = authorization;
                grant.generation += 1;
                Ok(())
            }
            Err(AuthError::Refused(answer)) => Err(self.refused(target, answer)),
            Err(AuthError::Failed(error)) => Err(error),
        }
    }
}
