//! Metrics: what happened, counted where it happens, in the format of OpenMetrics.
//!
//! Every label is one of a fixed set of words, or a name in the node's configuration. Nothing that
//! a pod, an artifact or a registry chooses becomes one (a reference, a host, a namespace): any pod
//! could fill the memory of the node and of Prometheus with them, and the logs have them.
//! `docs/operations.md` lists all.

mod guards;
mod labels;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

pub use guards::{InFlight, Pull, RegistryRequest};
use labels::{Answer, Call, Ending, Outcome, Part, Provided, State, Version};

/// Seconds, from a mount to kubelet's patience of two minutes.
const CALL_BUCKETS: [f64; 13] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 120.0];

/// Seconds, up to the default of `--pull-timeout`.
const PULL_BUCKETS: [f64; 13] =
    [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 600.0, 1800.0];

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

impl Phase {
    /// What metrics and traces call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Resolve => "resolve",
            Self::Download => "download",
            Self::Store => "store",
            Self::Mount => "mount",
        }
    }
}

/// What came of a question to a credential provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provision {
    /// A kept answer did.
    Cached,
    /// The program answered.
    Ok,
    /// It did not, or not as it should.
    Failed,
    /// It took too long.
    Timeout,
}

impl Provided {
    fn new(provider: &str, answer: Provision) -> Self {
        let outcome = match answer {
            Provision::Cached => "cached",
            Provision::Ok => "ok",
            Provision::Failed => "failed",
            Provision::Timeout => "timeout",
        };
        Self { provider: provider.into(), outcome }
    }
}

/// What came of an event for a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventOutcome {
    /// The API server has it.
    Written,
    /// The pod has had too many.
    Limited,
    /// Too many waited.
    Dropped,
    /// The API server did not take it.
    Failed,
}

impl EventOutcome {
    const ALL: [Self; 4] = [Self::Written, Self::Limited, Self::Dropped, Self::Failed];

    fn label(self) -> Ending {
        let outcome = match self {
            Self::Written => "written",
            Self::Limited => "limited",
            Self::Dropped => "dropped",
            Self::Failed => "failed",
        };
        Ending { outcome }
    }
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
    staging_reserved: Gauge<u64, AtomicU64>,
    registry_requests: Family<Answer, Counter>,
    credential_providers: Family<Provided, Counter>,
    events: Family<Ending, Counter>,
    tasks: Gauge<u64, AtomicU64>,
    volumes: Gauge<u64, AtomicU64>,
    store_trees: Gauge<u64, AtomicU64>,
    store_bytes: Gauge<u64, AtomicU64>,
    trees_damaged: Counter,
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
            staging_reserved: Gauge::default(),
            registry_requests: Family::default(),
            credential_providers: Family::default(),
            events: Family::default(),
            tasks: Gauge::default(),
            volumes: Gauge::default(),
            store_trees: Gauge::default(),
            store_bytes: Gauge::default(),
            trees_damaged: Counter::default(),
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
        let (what, bytes) =
            ("Bytes that running pulls have reserved", self.staging_reserved.clone());
        all.register_with_unit("staging_reserved", what, Unit::Bytes, bytes);
        let requests = self.registry_requests.clone();
        all.register("registry_requests", "Requests to registries and token services", requests);
        let providers = self.credential_providers.clone();
        all.register(
            "credential_provider_requests",
            "Questions to credential providers",
            providers,
        );
        all.register("events", "Events for pods, by what came of them", self.events.clone());
        all.register("volumes", "Volumes that are published here", self.volumes.clone());
        all.register("store_trees", "Trees in the store", self.store_trees.clone());
        let bytes = self.store_bytes.clone();
        all.register_with_unit("store", "Bytes of files in the store", Unit::Bytes, bytes);
        let damaged = self.trees_damaged.clone();
        all.register("trees_damaged", "Trees whose files were not what they were", damaged);
        all.register("tasks", "Tasks of the runtime that have not ended", self.tasks.clone());
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
        Pull::new(self)
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
        let phase = phase.name();
        self.0.phase_duration.get_or_create(&Part { phase }).observe(took.as_secs_f64());
    }

    /// Bytes of a blob came from a registry.
    pub fn downloaded(&self, bytes: usize) {
        self.0.downloaded.inc_by(bytes as u64);
    }

    /// So many bytes of staging are reserved now.
    pub fn reserved(&self, bytes: u64) {
        self.0.staging_reserved.set(bytes);
    }

    /// A request is sent to a registry, or to a token service.
    pub fn request(&self) -> RegistryRequest {
        RegistryRequest::new(self)
    }

    /// There is a credential provider, by the name that the administrator gave it.
    pub fn credential_provider(&self, provider: &str) {
        for answer in [Provision::Cached, Provision::Ok, Provision::Failed, Provision::Timeout] {
            drop(self.0.credential_providers.get_or_create(&Provided::new(provider, answer)));
        }
    }

    /// A credential provider was asked.
    pub fn provided(&self, provider: &str, answer: Provision) {
        self.0.credential_providers.get_or_create(&Provided::new(provider, answer)).inc();
    }

    /// Events are told.
    pub fn events(&self) {
        for outcome in EventOutcome::ALL {
            drop(self.0.events.get_or_create(&outcome.label()));
        }
    }

    /// An event was told, or lost.
    pub fn event(&self, outcome: EventOutcome) {
        self.0.events.get_or_create(&outcome.label()).inc();
    }

    /// What the store holds now.
    pub fn stored(&self, stored: Stored) {
        self.0.volumes.set(stored.volumes);
        self.0.store_trees.set(stored.trees);
        self.0.store_bytes.set(stored.bytes);
    }

    /// A tree's files are not what they were.
    pub fn tree_damaged(&self) {
        self.0.trees_damaged.inc();
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
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            self.0.tasks.set(runtime.metrics().num_alive_tasks() as u64);
        }
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

#[cfg(test)]
mod tests;
