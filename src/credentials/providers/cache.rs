//! Answers that are kept in memory as long as their provider allows.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::answer::{Answer, CacheKeyType};
use super::workload::AccountKey;
use crate::reference::Repository;

/// How many answers of one provider are kept; the one used longest ago gives way.
const ENTRIES: usize = 256;

/// For which images an answer was given.
#[derive(PartialEq, Eq)]
enum Scope {
    Image(Repository),
    Registry(String),
    Global,
}

/// The answers of one provider, the latest used last. Without `Debug`.
#[derive(Default)]
pub(super) struct Cache(Mutex<VecDeque<Entry>>);

struct Entry {
    scope: Scope,
    account: Option<AccountKey>,
    answer: Arc<Answer>,
    expires: Instant,
}

impl Cache {
    /// An answer that is good for an image, and for that service account where the provider asks
    /// for one: given for the very image, else for its registry, else for all.
    pub(super) fn get(
        &self,
        image: &Repository,
        account: Option<&AccountKey>,
    ) -> Option<Arc<Answer>> {
        let now = Instant::now();
        let mut entries = self.entries();
        entries.retain(|entry| entry.expires > now);
        let types = [CacheKeyType::Image, CacheKeyType::Registry, CacheKeyType::Global];
        let index = types.into_iter().find_map(|key_type| {
            let scope = Scope::of(key_type, image);
            entries.iter().position(|e| e.scope == scope && e.account.as_ref() == account)
        })?;
        let entry = entries.remove(index)?;
        let answer = entry.answer.clone();
        entries.push_back(entry);
        Some(answer)
    }

    /// Keeps an answer to the question for an image.
    pub(super) fn put(
        &self,
        image: &Repository,
        account: Option<AccountKey>,
        answer: &Arc<Answer>,
        default_lifetime: Duration,
    ) {
        let lifetime = answer.lifetime.unwrap_or(default_lifetime);
        if lifetime.is_zero() {
            return;
        }
        let scope = Scope::of(answer.cache_key_type, image);
        let expires = Instant::now() + lifetime;
        let mut entries = self.entries();
        entries.retain(|entry| entry.scope != scope || entry.account != account);
        if entries.len() >= ENTRIES {
            entries.pop_front();
        }
        entries.push_back(Entry { scope, account, answer: answer.clone(), expires });
    }

    fn entries(&self) -> MutexGuard<'_, VecDeque<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Scope {
    fn of(key_type: CacheKeyType, image: &Repository) -> Self {
        match key_type {
            CacheKeyType::Image => Self::Image(image.clone()),
            CacheKeyType::Registry => Self::Registry(image.registry().into()),
            CacheKeyType::Global => Self::Global,
        }
    }
}

#[cfg(test)]
mod tests;
