//! Accesses that were granted lately, so that the next pull need not log in again.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::access::Access;
use crate::credentials::{Credential, Identity, Salt};
use crate::reference::Repository;

/// How many accesses are kept; each holds a token and some connections.
const ENTRIES: usize = 64;

/// How long an access is kept, so that a withdrawn credential does not work for much longer.
const LIFETIME: Duration = Duration::from_secs(5 * 60);

/// Accesses by repository and credential, the latest used last. There is no way to one without
/// its credential.
#[derive(Debug)]
pub(super) struct Cache {
    /// Random for this process: a memory dump tells no hash of a password that could be guessed.
    salt: Option<Salt>,
    entries: Mutex<VecDeque<Entry>>,
}

#[derive(Debug)]
struct Entry {
    repository: Repository,
    identity: Identity,
    access: Access,
    expires: Instant,
}

impl Cache {
    pub(super) fn new() -> Self {
        let mut key = [0; 32];
        // Without randomness nothing is kept.
        let salt = aws_lc_rs::rand::fill(&mut key).ok().map(|()| Salt::new(&key));
        Self { salt, entries: Mutex::default() }
    }

    pub(super) fn get(
        &self,
        repository: &Repository,
        credential: Option<&Credential>,
    ) -> Option<Access> {
        let entry = self.take(repository, credential)?;
        let access = entry.access.clone();
        self.entries().push_back(entry);
        Some(access)
    }

    pub(super) fn put(&self, repository: &Repository, access: Access) {
        let Some(identity) = self.identity(access.credential()) else { return };
        drop(self.take(repository, access.credential()));
        let expires = Instant::now() + LIFETIME;
        let mut entries = self.entries();
        if entries.len() >= ENTRIES {
            entries.pop_front();
        }
        entries.push_back(Entry { repository: repository.clone(), identity, access, expires });
    }

    pub(super) fn forget(&self, repository: &Repository, credential: Option<&Credential>) {
        drop(self.take(repository, credential));
    }

    fn take(&self, repository: &Repository, credential: Option<&Credential>) -> Option<Entry> {
        let identity = self.identity(credential)?;
        let now = Instant::now();
        let mut entries = self.entries();
        entries.retain(|entry| entry.expires > now);
        let index = entries
            .iter()
            .position(|entry| entry.repository == *repository && entry.identity == identity)?;
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
