//! Which hosts were found to speak TLS, and which not, so that not each pull has to find out.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::hosts::{Route, Setup};

/// How many are remembered.
const ENTRIES: usize = 64;

/// How long one is: a host may learn TLS, or somebody may have answered in its place.
const LIFETIME: Duration = Duration::from_secs(5 * 60);

/// What was found out lately, the latest last. It holds only for the setup it was found out with:
/// whom the host is trusted by is part of the question.
#[derive(Debug, Default)]
pub(super) struct Schemes(Mutex<VecDeque<Entry>>);

#[derive(Debug)]
struct Entry {
    host: String,
    setup: Arc<Setup>,
    plain: bool,
    expires: Instant,
}

impl Entry {
    fn is_of(&self, route: &Route) -> bool {
        self.host == route.host && self.setup == route.setup
    }
}

impl Schemes {
    /// Whether the host is without TLS, if that is known.
    pub(super) fn is_plain(&self, route: &Route, now: Instant) -> Option<bool> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = |entry: &&Entry| entry.expires > now && entry.is_of(route);
        entries.iter().find(known).map(|entry| entry.plain)
    }

    /// Remembers it.
    pub(super) fn put(&self, route: &Route, plain: bool, now: Instant) {
        let (host, setup) = (route.host.clone(), route.setup.clone());
        let entry = Entry { host, setup, plain, expires: now + LIFETIME };
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|entry| entry.expires > now && !entry.is_of(route));
        if entries.len() >= ENTRIES {
            entries.pop_front();
        }
        entries.push_back(entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(host: &str, setup: &Setup) -> Route {
        let reference: crate::reference::Reference = format!("{host}/a").parse().unwrap();
        let setup = Arc::new(setup.clone());
        Route { setup, ..Route::original(reference.repository()) }
    }

    #[test]
    fn schemes_are_known_for_a_while_and_for_one_setup() {
        let (schemes, now) = (Schemes::default(), Instant::now());
        let mut other = Setup::default();
        other.tls.skip_verify = true;
        let known = route("r.example", &Setup::default());
        schemes.put(&known, true, now);
        let ask = |route: &Route, after| schemes.is_plain(route, now + Duration::from_secs(after));
        assert_eq!(ask(&route("r.example", &Setup::default()), 299), Some(true));
        assert_eq!(ask(&known, 300), None);
        assert_eq!(ask(&route("r.example", &other), 0), None);
        assert_eq!(ask(&route("s.example", &Setup::default()), 0), None);
        schemes.put(&known, false, now);
        assert_eq!(ask(&known, 0), Some(false));
        for number in 0..ENTRIES {
            schemes.put(&route(&format!("s{number}.example"), &other), true, now);
        }
        assert_eq!(ask(&known, 0), None);
        assert_eq!(schemes.0.lock().unwrap().len(), ENTRIES);
    }
}
