//! How long a call waits: until shortly before its caller stops listening, and no longer than the
//! driver has once it is told to stop.

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// What one call waits with.
#[derive(Debug, Clone)]
pub(super) struct Patience {
    deadline: Instant,
    /// Raised once no call may wait any more.
    given_up: watch::Receiver<bool>,
}

/// Why a call does not wait any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Late {
    /// Its caller is about to stop listening.
    Deadline,
    /// The driver stops.
    Stopping,
}

impl Patience {
    pub(super) fn new(deadline: Instant, given_up: watch::Receiver<bool>) -> Self {
        Self { deadline, given_up }
    }

    /// When the caller stops listening.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Waits for `work`, which is dropped if it does not end in time. What is ready is taken in any
    /// case.
    pub(super) async fn within<T>(&self, work: impl Future<Output = T>) -> Result<T, Late> {
        match self.unless_stopping(timeout_at(self.deadline, work)).await {
            Some(done) => done.map_err(|_| Late::Deadline),
            None => Err(Late::Stopping),
        }
    }

    /// Waits for what has a deadline of its own; nothing, if the driver stops.
    pub(super) async fn unless_stopping<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut given_up = self.given_up.clone();
        tokio::select! {
            biased;
            done = work => Some(done),
            // Volumes hold the other end.
            _ = given_up.wait_for(|given_up| *given_up) => None,
        }
    }
}
