//! Metrics: what happened, counted where it happens, in the format of OpenMetrics.
//!
//! Every label is one of a fixed set of words. Nothing that a pod, an artifact or a registry
//! chooses becomes one (a reference, a host, a namespace): any pod could fill the memory of the
//! node and of Prometheus with them, and the logs have them. `docs/operations.md` lists all.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Seconds, from a mount to kubelet's patience of two minutes.
const CALL_BUCKETS: [f64; 13] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 120.0];

/// Seconds, up to the default of `--pull-timeout`.
const PULL_BUCKETS: [f64; 13] =
    [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 600.0, 1800.0];

/// The statuses that registries are known to give; of any other only the class is told.
const STATUSES: [(u16, &str); 17] = [
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

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Version {
    version: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    method: &'static str,
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
    local: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Part {
    phase: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    code: &'static str,
}

/// A part of what a pod waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// A pull's wait for its turn.
    Wait,
    /// From a reference to manifests.
    Resolve,
    /// A tree's layers are downloaded, verified and unpacked, all at once.
    Download,
    /// A tree's skills are found and put into the store.
    Store,
    /// A volume is mounted and recorded.
    Mount,
}

/// How far the driver's registration with kubelet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registration {
    /// There is no socket.
    Absent,
    /// Kubelet has said nothing yet.
    Waiting,
    /// It is done.
    Registered,
    /// Kubelet refused the driver.
    Refused,
}

/// What the store holds, when somebody asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Volumes with a record.
    pub volumes: u64,
    /// Trees.
    pub trees: u64,
    /// The sum of the sizes of their files, in bytes.
    pub bytes: u64,
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// The metrics of one process. Clones count together; a default one counts for nobody.
#[derive(Clone)]
pub struct Metrics(Arc<Families>);

struct Families {
    registry: Registry,
    csi_operations: Family<Call, Counter>,
    csi_operation_duration: Histograms<Call>,
    pulls: Family<Outcome, Counter>,
    pull_duration: Histogram,
    pulls_in_flight: Family<State, Gauge>,
    phase_duration: Histograms<Part>,
    downloaded: Counter,
    registry_requests: Family<Answer, Counter>,
    volumes: Gauge<u64, AtomicU64>,
    store_trees: Gauge<u64, AtomicU64>,
    store_bytes: Gauge<u64, AtomicU64>,
    /// Without a series until it is known.
    registration: Family<State, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        let calls: fn() -> Histogram = || Histogram::new(CALL_BUCKETS);
        let phases: fn() -> Histogram = || Histogram::new(PULL_BUCKETS);
        let mut families = Families {
            registry: Registry::with_prefix("skillmount"),
            csi_operations: Family::default(),
            csi_operation_duration: Family::new_with_constructor(calls),
            pulls: Family::default(),
            pull_duration: phases(),
            pulls_in_flight: Family::default(),
            phase_duration: Family::new_with_constructor(phases),
            downloaded: Counter::default(),
            registry_requests: Family::default(),
            volumes: Gauge::default(),
            store_trees: Gauge::default(),
            store_bytes: Gauge::default(),
            registration: Family::default(),
        };
        families.register();
        Self(Arc::new(families))
    }
}

impl Families {
    fn register(&mut self) {
        let all = &mut self.registry;
        let build = Family::<Version, Gauge>::default();
        build.get_or_create(&Version { version: env!("CARGO_PKG_VERSION") }).set(1);
        all.register("build_info", "The version of the driver", build);
        let calls = self.csi_operations.clone();
        all.register("csi_operations", "Calls of CSI methods that have ended", calls);
        all.register_with_unit(
            "csi_operation_duration",
            "How long calls of CSI methods took",
            Unit::Seconds,
            self.csi_operation_duration.clone(),
        );
        let pulls = self.pulls.clone();
        all.register("pulls", "Pulls that have ended, by what came of them", pulls);
        all.register_with_unit(
            "pull_duration",
            "How long pulls took that asked a registry and succeeded, from their turn on",
            Unit::Seconds,
            self.pull_duration.clone(),
        );
        for state in ["waiting", "running"] {
            drop(self.pulls_in_flight.get_or_create(&State { state }));
        }
        let pulls = self.pulls_in_flight.clone();
        all.register("pulls_in_flight", "Pulls that wait for their turn, or run", pulls);
        all.register_with_unit(
            "phase_duration",
            "How long the parts took of what a pod waits for, where they succeeded",
            Unit::Seconds,
            self.phase_duration.clone(),
        );
        let bytes = self.downloaded.clone();
        all.register_with_unit("downloaded", "Received bytes of blobs", Unit::Bytes, bytes);
        let requests = self.registry_requests.clone();
        all.register("registry_requests", "Requests to registries and token services", requests);
        all.register("volumes", "Volumes that are published here", self.volumes.clone());
        all.register("store_trees", "Trees in the store", self.store_trees.clone());
        let bytes = self.store_bytes.clone();
        all.register_with_unit("store", "Bytes of files in the store", Unit::Bytes, bytes);
        let states = self.registration.clone();
        all.register("registration", "1 for how far the registration with kubelet is", states);
    }
}

impl Metrics {
    /// Counts a call of a CSI method that has ended with `code`.
    pub fn csi_call(&self, method: &'static str, code: &'static str, took: Duration) {
        let call = Call { method, code };
        self.0.csi_operations.get_or_create(&call).inc();
        self.0.csi_operation_duration.get_or_create(&call).observe(took.as_secs_f64());
    }

    /// A pull begins.
    pub fn pull(&self) -> Pull {
        Pull { metrics: self.clone(), ended: None }
    }

    /// A registry's pull has succeeded, `took` after it had its turn.
    pub fn pulled(&self, took: Duration) {
        self.0.pull_duration.observe(took.as_secs_f64());
    }

    /// A pull waits for its turn, until what this returns is dropped.
    pub fn waiting(&self) -> InFlight {
        InFlight::new(self, "waiting")
    }

    /// A pull runs, until what this returns is dropped.
    pub fn running(&self) -> InFlight {
        InFlight::new(self, "running")
    }

    /// A phase has succeeded.
    pub fn phase(&self, phase: Phase, took: Duration) {
        let phase = match phase {
            Phase::Wait => "wait",
            Phase::Resolve => "resolve",
            Phase::Download => "download",
            Phase::Store => "store",
            Phase::Mount => "mount",
        };
        self.0.phase_duration.get_or_create(&Part { phase }).observe(took.as_secs_f64());
    }

    /// Bytes of a blob came from a registry.
    pub fn downloaded(&self, bytes: usize) {
        self.0.downloaded.inc_by(bytes as u64);
    }

    /// A request is sent to a registry, or to a token service.
    pub fn request(&self) -> RegistryRequest {
        RegistryRequest { metrics: self.clone(), code: "timeout" }
    }

    /// What the store holds now.
    pub fn stored(&self, stored: Stored) {
        self.0.volumes.set(stored.volumes);
        self.0.store_trees.set(stored.trees);
        self.0.store_bytes.set(stored.bytes);
    }

    /// How far the driver's registration with kubelet is.
    pub fn registration(&self, registration: Registration) {
        for (state, is) in [
            ("absent", registration == Registration::Absent),
            ("waiting", registration == Registration::Waiting),
            ("registered", registration == Registration::Registered),
            ("refused", registration == Registration::Refused),
        ] {
            self.0.registration.get_or_create(&State { state }).set(i64::from(is));
        }
    }

    /// All metrics as text that parsers of OpenMetrics and of Prometheus' own format read.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.0.registry)?;
        Ok(text)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// A pull that is counted when it ends, and as a defect if it never says how.
#[derive(Debug)]
#[must_use = "it is counted when it is dropped"]
pub struct Pull {
    metrics: Metrics,
    ended: Option<Outcome>,
}

impl Pull {
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
    fn new(metrics: &Metrics, state: &'static str) -> Self {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of one metric.
    fn lines(metrics: &Metrics, name: &str) -> Vec<String> {
        let text = metrics.text().unwrap();
        let lines = text.lines().filter(|line| line.starts_with(name));
        let mut lines: Vec<_> = lines.map(Into::into).collect();
        lines.sort();
        lines
    }

    #[test]
    fn a_registry_cannot_choose_labels() {
        let metrics = Metrics::default();
        for status in 100..=999 {
            metrics.request().answered(status);
        }
        let series = lines(&metrics, "skillmount_registry_requests_total");
        assert_eq!(series.len(), STATUSES.len() + 5);
        assert!(series.contains(&r#"skillmount_registry_requests_total{code="404"} 1"#.into()));
        assert!(series.contains(&r#"skillmount_registry_requests_total{code="5xx"} 96"#.into()));
    }

    #[test]
    fn what_is_dropped_is_counted_too() {
        let metrics = Metrics::default();
        drop(metrics.request());
        drop(metrics.pull());
        metrics.pull().end("ok", true);
        let (waiting, running) = (metrics.waiting(), metrics.running());
        drop(waiting);
        assert_eq!(
            lines(&metrics, "skillmount_pulls_in_flight"),
            [
                r#"skillmount_pulls_in_flight{state="running"} 1"#,
                r#"skillmount_pulls_in_flight{state="waiting"} 0"#,
            ]
        );
        drop(running);
        assert_eq!(
            lines(&metrics, "skillmount_pulls_total"),
            [
                r#"skillmount_pulls_total{outcome="internal",local="false"} 1"#,
                r#"skillmount_pulls_total{outcome="ok",local="true"} 1"#,
            ]
        );
        assert_eq!(
            lines(&metrics, "skillmount_registry_requests_total"),
            [r#"skillmount_registry_requests_total{code="timeout"} 1"#]
        );
    }

    #[test]
    fn registration_is_told_once_it_is_known() {
        let metrics = Metrics::default();
        assert_eq!(lines(&metrics, "skillmount_registration"), [""; 0]);
        metrics.registration(Registration::Waiting);
        metrics.registration(Registration::Refused);
        assert_eq!(
            lines(&metrics, "skillmount_registration"),
            [
                r#"skillmount_registration{state="absent"} 0"#,
                r#"skillmount_registration{state="refused"} 1"#,
                r#"skillmount_registration{state="registered"} 0"#,
                r#"skillmount_registration{state="waiting"} 0"#,
            ]
        );
    }
}
