//! Back-off: a pull that failed is not tried again at once, however often kubelet asks.
//!
//! The times are kubelet's for images (`MaxImageBackOff` and the back-off manager in
//! pkg/kubelet): the first pause doubles with each failure up to five minutes, and is forgotten
//! twice as long after the last one. What counts is who asks for what: other credentials, and so
//! a corrected Secret, begin anew. What is stored is served in the meantime.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Blame, Key, PullError, PullOptions, PullPolicy, Source};
use crate::credentials::Fingerprint;

/// The longest pause.
pub const MAX_PAUSE: Duration = Duration::from_secs(300);

/// How long after its last failure a pull counts as one that never failed.
const FORGOTTEN: Duration = Duration::from_secs(600);

/// How many failures are remembered; the oldest gives way.
const MAX_ENTRIES: usize = 1000;

/// What is not to be tried.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Attempt {
    source: Source,
    policy: PullPolicy,
    logins: Fingerprint,
    /// The options under which it failed; none if it fails under any.
    options: Option<PullOptions>,
}

#[derive(Debug)]
struct Failure {
    error: Arc<PullError>,
    /// When it failed last.
    at: Instant,
    pause: Duration,
}

/// The pulls of one node that failed lately.
#[derive(Debug)]
pub(super) struct Backoff {
    /// The pause after a first failure; zero means that there is none.
    first: Duration,
    failures: Mutex<HashMap<Attempt, Failure>>,
}

impl Backoff {
    pub(super) fn new(first: Duration) -> Self {
        Self { first: first.min(MAX_PAUSE), failures: Mutex::default() }
    }

    /// Why this pull is not to be tried now: how it failed last.
    pub(super) fn check(&self, key: &Key, now: Instant) -> Option<Arc<PullError>> {
        let failures = self.failures();
        attempts(key)
            .iter()
            .filter_map(|attempt| failures.get(attempt))
            .find(|failure| failure.at + failure.pause > now)
            .map(|failure| failure.error.clone())
    }

    /// Remembers how a pull ended.
    pub(super) fn record(&self, key: &Key, now: Instant, failure: Option<&Arc<PullError>>) {
        if self.first.is_zero() {
            return;
        }
        let mut failures = self.failures();
        let [whatever, this] = attempts(key);
        let Some(error) = failure else {
            failures.remove(&whatever);
            failures.remove(&this);
            return;
        };
        let scope = match **error {
            // Which members are wanted is an option.
            PullError::Member { .. } => Scope::Options,
            // Nobody was asked.
            PullError::Crowded(_) => Scope::Nothing,
            // About this node.
            ref error if error.is_disk_full() => Scope::Nothing,
            _ => scope(error.blame()),
        };
        let attempt = match scope {
            Scope::Reference => whatever,
            Scope::Options => this,
            Scope::Nothing => return,
        };
        let (at, pause) = match failures.get(&attempt).map(|last| (last.at, last.pause)) {
            // Two pulls that ran at the same time failed once.
            Some((at, pause)) if at + pause > now => (at, pause),
            Some((at, pause)) if at + FORGOTTEN > now => (now, (pause * 2).min(MAX_PAUSE)),
            _ => (now, self.first),
        };
        if failures.len() >= MAX_ENTRIES && !failures.contains_key(&attempt) {
            failures.retain(|_, failure| failure.at + FORGOTTEN > now);
            let oldest = failures.iter().min_by_key(|(_, failure)| failure.at);
            let oldest = oldest.map(|(attempt, _)| attempt.clone());
            if let Some(oldest) = oldest.filter(|_| failures.len() >= MAX_ENTRIES) {
                failures.remove(&oldest);
            }
        }
        failures.insert(attempt, Failure { error: error.clone(), at, pause });
    }

    fn failures(&self) -> MutexGuard<'_, HashMap<Attempt, Failure>> {
        // The table stays consistent between statements.
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pull under any options, and under its own.
fn attempts(key: &Key) -> [Attempt; 2] {
    let attempt = |options| Attempt {
        source: key.source.clone(),
        policy: key.policy,
        logins: key.logins.clone(),
        options,
    };
    [attempt(None), attempt(Some(key.options.clone()))]
}

/// What will fail again.
enum Scope {
    /// The reference with these credentials, whatever is made of it.
    Reference,
    /// The reference with these options: a corrected attribute may help.
    Options,
    /// Nothing that another try would ask of a registry in vain.
    Nothing,
}

fn scope(blame: Blame) -> Scope {
    match blame {
        Blame::Unauthenticated
        | Blame::Forbidden
        | Blame::NotFound
        | Blame::Configuration
        | Blame::Corrupt
        | Blame::Exhausted
        // The registry's own retries have failed by now, and more requests are what a registry
        // that is down or limits their rate needs least.
        | Blame::Transient => Scope::Reference,
        Blame::Request | Blame::Artifact => Scope::Options,
        // About this node or this program, not about the reference.
        Blame::Internal => Scope::Nothing,
    }
}

#[cfg(test)]
mod tests;
