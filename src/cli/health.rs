//! What `skillmount node` tells about itself over HTTP.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::watch;

use super::Failure;
use crate::observability::chain;
use crate::observability::http::{self, HttpEndpoint, Pages};
use crate::observability::logging::LogLevel;
use crate::observability::metrics::{Metrics, Registration};
use crate::registration::Status;
use crate::store::Store;

/// How far the driver has come. It knows nothing of registries: one that is down is no reason to
/// take the driver out of service, since what is mounted or stored needs none.
#[derive(Default)]
pub(super) struct Health {
    pub(super) metrics: Metrics,
    store: OnceLock<Arc<Store>>,
    serving: AtomicBool,
    /// Absent where another process registers the driver.
    registration: OnceLock<watch::Receiver<Status>>,
    stopping: AtomicBool,
    /// How what is logged can be changed.
    pub(super) log_level: OnceLock<LogLevel>,
}

impl Health {
    /// Serves it for as long as the process lives.
    pub(super) async fn serve(self: &Arc<Self>, endpoint: HttpEndpoint) -> Result<(), Failure> {
        let failed = |error| Failure::Failed(format!("cannot serve HTTP on {endpoint}: {error}"));
        let listener = http::bind(endpoint).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        tracing::info!(%address, "serving /metrics, /livez and /readyz");
        tokio::spawn(http::serve(listener, self.clone()));
        Ok(())
    }

    /// The store is open.
    pub(super) fn opened(&self, store: &Arc<Store>) {
        // It is opened once.
        drop(self.store.set(store.clone()));
    }

    /// The CSI socket takes calls.
    pub(super) fn serving(&self) {
        self.serving.store(true, Ordering::Relaxed);
    }

    /// The driver registers itself, and this is how that goes.
    pub(super) fn registering(&self, status: watch::Receiver<Status>) {
        drop(self.registration.set(status));
    }

    /// No new calls are taken.
    pub(super) fn stopping(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }
}

impl Pages for Health {
    fn unready(&self) -> Option<&'static str> {
        let absent = |status: &watch::Receiver<Status>| *status.borrow() == Status::Absent;
        if self.stopping.load(Ordering::Relaxed) {
            Some("stopping")
        } else if !self.serving.load(Ordering::Relaxed) {
            Some("the CSI socket is not served yet")
        } else if self.registration.get().is_some_and(absent) {
            Some("the registration socket is not served")
        } else {
            None
        }
    }

    fn metrics(&self) -> Result<String, fmt::Error> {
        if let Some(store) = self.store.get() {
            match store.counts() {
                Ok(counts) => self.metrics.stored(counts),
                // What was true at the last scrape is shown again.
                Err(error) => {
                    tracing::warn!(error = chain(&error), "cannot count volumes for the metrics");
                }
            }
        }
        if let Some(status) = self.registration.get() {
            self.metrics.registration(match *status.borrow() {
                Status::Absent => Registration::Absent,
                Status::Waiting => Registration::Waiting,
                Status::Registered => Registration::Registered,
                Status::Refused(_) => Registration::Refused,
            });
        }
        self.metrics.text()
    }

    fn log_at(&self, level: &str) -> Result<(), String> {
        let changed = self.log_level.get().ok_or("logging is not set up")?;
        changed.set(level).map_err(|error| chain(&error))?;
        // At every level, so that the log tells why it changes.
        tracing::error!(level, "the log level is another from here on");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_says_what_is_missing() {
        let health = Health::default();
        assert_eq!(health.unready(), Some("the CSI socket is not served yet"));
        let (status, seen) = watch::channel(Status::Absent);
        health.serving();
        assert_eq!(health.unready(), None, "another process may register the driver");
        health.registering(seen);
        assert_eq!(health.unready(), Some("the registration socket is not served"));
        for served in [Status::Waiting, Status::Registered, Status::Refused("why".into())] {
            status.send_replace(served);
            assert_eq!(health.unready(), None);
        }
        status.send_replace(Status::Absent);
        assert_eq!(health.unready(), Some("the registration socket is not served"));
        health.stopping();
        assert_eq!(health.unready(), Some("stopping"));
    }
}
