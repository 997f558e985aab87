//! Logins that were accepted lately, so that the next pull need not log in again.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::hosts::Route;
use super::session::Session;
use crate::credentials::{Credential, Identity, Salt};

/// How many are kept; each holds a token.
const ENTRIES: usize = 64;

/// How long one is kept, so that a withdrawn credential does not work for much longer.
const LIFETIME: Duration = Duration::from_secs(5 * 60);

/// Sessions by host, repository and credential, the latest used last. There is no way to one without
/// its credential.
#[derive(Debug)]
pub(super) struct Cache {
    /// Random for this process: a memory dump tells no hash of a password that could be guessed.
    salt: Option<Salt>,
    entries: Mutex<VecDeque<Entry>>,
}

#[derive(Debug)]
struct Entry {
    identity: Identity,
    session: Session,
    expires: Instant,
}

impl Cache {
    pub(super) fn new() -> Self {
        let mut key = [0; 32];
        // Without randomness nothing is kept.
        let salt = aws_lc_rs::rand::fill(&mut key).ok().map(|()| Salt::new(&key));
        Self { salt, entries: Mutex::default() }
    }

    pub(super) fn get(&self, route: &Route, credential: Option<&Credential>) -> Option<Session> {
        let entry = self.take(route, credential)?;
        let session = entry.session.clone();
        self.entries().push_back(entry);
        Some(session)
    }

    pub(super) fn put(&self, session: Session) {
        let Some(identity) = self.identity(session.credential()) else { return };
        drop(self.take(&session.api().route, session.credential()));
        let expires = Instant::now() + LIFETIME;
        let mut entries = self.entries();
        if entries.len() >= ENTRIES {
            entries.pop_front();
        }
        entries.push_back(Entry { identity, session, expires });
    }

    pub(super) fn forget(&self, route: &Route, credential: Option<&Credential>) {
        drop(self.take(route, credential));
    }

    fn take(&self, route: &Route, credential: Option<&Credential>) -> Option<Entry> {
        let identity = self.identity(credential)?;
        let now = Instant::now();
        let mut entries = self.entries();
        entries.retain(|entry| entry.expires > now);
        let index = entries
            .iter()
            .position(|entry| entry.identity == identity && *entry.session.api().route == *route)?;
        entries.remove(index)
    }

    fn identity(&self, credential: Option<&Credential>) -> Option<Identity> {
        let salt = self.salt.as_ref()?;
        Some(credential.map_or(Identity::Anonymous, |credential| credential.identity(salt)))
    }

    fn entries(&self) -> MutexGuard<'_, VecDeque<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
