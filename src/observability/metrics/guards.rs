//! What is counted when it ends, however it ends: by a return, an error, a panic, or a future that
//! is dropped.

use super::{Answer, Metrics, Outcome, State};

/// The statuses that registries are known to give; of any other only the class is told.
pub(super) const STATUSES: [(u16, &str); 17] = [
    (200, "200"),
    (206, "206"),
    (301, "301"),
    (302, "302"),
    (307, "307"),
    (308, "308"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (416, "416"),
    (429, "429"),
    (500, "500"),
    (502, "502"),
    (503, "503"),
    (504, "504"),
];

/// A pull that is counted when it ends, and as a defect if it never says how.
#[derive(Debug)]
#[must_use = "it is counted when it is dropped"]
pub struct Pull {
    metrics: Metrics,
    ended: Option<Outcome>,
}

impl Pull {
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self { metrics: metrics.clone(), ended: None }
    }

    /// It has ended; `local` says that no registry was asked.
    pub fn end(mut self, outcome: &'static str, local: bool) {
        self.ended = Some(Outcome { outcome, local });
    }
}

impl Drop for Pull {
    fn drop(&mut self) {
        let panicked = Outcome { outcome: "internal", local: false };
        self.metrics.0.pulls.get_or_create(&self.ended.take().unwrap_or(panicked)).inc();
    }
}

/// One of the pulls in flight.
#[derive(Debug)]
#[must_use = "it counts until it is dropped"]
pub struct InFlight {
    metrics: Metrics,
    state: &'static str,
}

impl InFlight {
    pub(super) fn new(metrics: &Metrics, state: &'static str) -> Self {
        metrics.0.pulls_in_flight.get_or_create(&State { state }).inc();
        Self { metrics: metrics.clone(), state }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.metrics.0.pulls_in_flight.get_or_create(&State { state: self.state }).dec();
    }
}

/// A request that is counted when it is answered, has failed, or is given up for lack of either.
#[derive(Debug)]
#[must_use = "it is counted when it is dropped"]
pub struct RegistryRequest {
    metrics: Metrics,
    code: &'static str,
}

impl RegistryRequest {
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self { metrics: metrics.clone(), code: "timeout" }
    }

    /// It was answered.
    pub fn answered(mut self, status: u16) {
        let known = STATUSES.iter().find(|(known, _)| *known == status);
        self.code = known.map_or_else(|| class(status), |(_, code)| code);
    }

    /// There was no answer; `why` is one word.
    pub fn failed(mut self, why: &'static str) {
        self.code = why;
    }
}

impl Drop for RegistryRequest {
    fn drop(&mut self) {
        self.metrics.0.registry_requests.get_or_create(&Answer { code: self.code }).inc();
    }
}

fn class(status: u16) -> &'static str {
    match status / 100 {
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        5 => "5xx",
        _ => "other",
    }
}
