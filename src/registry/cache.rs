//! Logins that were accepted lately, so that the next pull need not log in again.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::hosts::Route;
use super::session::Session;
use crate::credentials::Credential;

/// How many are kept; each holds a token.
const ENTRIES: usize = 64;

/// How long one is kept, so that a withdrawn credential does not work for much longer.
const LIFETIME: Duration = Duration::from_secs(5 * 60);

/// Sessions by host, repository and credential, the latest used last. There is no way to one without
/// its credential: the login, and whose it is and where it is from, since what a session brings is
/// granted to its holder and told with its origin.
#[derive(Debug, Default)]
pub(super) struct Cache {
    entries: Mutex<VecDeque<Entry>>,
}

#[derive(Debug)]
struct Entry {
    session: Session,
    expires: Instant,
}

impl Cache {
    pub(super) fn get(&self, route: &Route, credential: Option<&Credential>) -> Option<Session> {
        let entry = self.take(route, credential)?;
        let session = entry.session.clone();
        self.entries().push_back(entry);
        Some(session)
    }

    pub(super) fn put(&self, session: Session) {
        drop(self.take(&session.api().route, session.credential()));
        let expires = Instant::now() + LIFETIME;
        let mut entries = self.entries();
        if entries.len() >= ENTRIES {
            entries.pop_front();
        }
        entries.push_back(Entry { session, expires });
    }

    pub(super) fn forget(&self, route: &Route, credential: Option<&Credential>) {
        drop(self.take(route, credential));
    }

    fn take(&self, route: &Route, credential: Option<&Credential>) -> Option<Entry> {
        let now = Instant::now();
        let mut entries = self.entries();
        entries.retain(|entry| entry.expires > now);
        let index = entries.iter().position(|Entry { session, .. }| {
            session.credential() == credential && *session.api().route == *route
        })?;
        entries.remove(index)
    }

    fn entries(&self) -> MutexGuard<'_, VecDeque<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
