//! From a reference to trees in the store: resolve, choose, fetch, verify, unpack, commit.
//!
//! A pull runs in a task of its own (see [`flight`]); who asked may leave and come back. It is
//! shared only by callers with the same reference, the same options *and* the same credentials.

mod backoff;
mod blobs;
pub mod collect;
mod diagnosis;
pub mod error;
pub mod flight;
mod flush;
mod inspect;
mod judge;
mod layers;
mod local;
mod plans;
pub mod policy;
pub mod progress;
mod remote;
mod scrub;
pub mod source;
mod space;
pub mod turns;
pub mod verification;
mod walk;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tracing::Instrument as _;

use backoff::Backoff;
pub use backoff::MAX_PAUSE;
pub use collect::{CollectPolicy, Collected, Occasion};
pub use diagnosis::diagnosis;
pub use error::{Blame, PullError};
use flight::{Flight, Flights};
use flush::Unflushed;
pub use inspect::{Inspected, InspectedPart, inspect};
pub use policy::PullPolicy;
pub use progress::{HumanBytes, Progress, Step, Took};
pub use source::Source;
pub use space::NoSpace;
use space::Space;
pub use turns::Tenant;
use turns::{Crowded, Place, Turns};
pub use verification::Verification;

use crate::artifact::descriptor::Platform;
use crate::artifact::lifecycle::Status;
use crate::artifact::name::Hints;
use crate::artifact::path::TreePath;
use crate::artifact::validation::Validation;
use crate::credentials::{Fingerprint, Logins};
use crate::observability::metrics::{Metrics, Phase};
use crate::observability::{task, trace};
use crate::reference::Digest;
use crate::registry::Registry;
use crate::store::{Store, StoredTree};
use crate::unpack::Limits;

/// What bounds pulls on this node.
#[derive(Debug, Clone)]
pub struct PullConfig {
    /// What one artifact may hold.
    pub limits: Limits,
    /// The platform chosen from indexes.
    pub platform: Platform,
    /// How many pulls run at once. One [`Tenant`] has no more than three quarters of them, if there
    /// are several.
    pub concurrent: usize,
    /// How many layers all pulls download at once.
    pub downloads: usize,
    /// How many bytes of staging all pulls may reserve; none for what the disk has. A pull that needs
    /// more runs alone.
    pub staging: Option<u64>,
    /// How long one pull may take.
    pub timeout: Duration,
    /// How long a pull that failed is not tried again, the first time; zero means not at all.
    pub backoff: Duration,
    /// States in a skill's life (`io.skillimage.status`) in which it is not pulled.
    pub refuse_status: Vec<Status>,
    /// Who is served what is stored.
    pub verification: Verification,
    /// When trees go that nobody uses.
    pub collect: CollectPolicy,
    /// Whether trees are brought to the disk once they are stored.
    pub durable: bool,
    /// Where pulls are counted.
    pub metrics: Metrics,
}

impl Default for PullConfig {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            platform: Platform::node(),
            concurrent: 8,
            downloads: 16,
            staging: None,
            timeout: Duration::from_secs(1800),
            backoff: Duration::from_secs(10),
            refuse_status: vec![Status::Archived],
            verification: Verification::default(),
            collect: CollectPolicy::default(),
            durable: true,
            metrics: Metrics::default(),
        }
    }
}

/// What to pull.
#[derive(Debug, Clone)]
pub struct PullRequest {
    /// The reference, or the layout.
    pub source: Source,
    /// When to ask the registry.
    pub policy: PullPolicy,
    /// What changes the files.
    pub options: PullOptions,
    /// What the caller may log in with.
    pub logins: Arc<Logins>,
    /// Whose turns it takes.
    pub tenant: Tenant,
}

/// What of a volume's attributes changes the files that are stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct PullOptions {
    /// The artifact as it is, with no search for skills.
    pub raw: bool,
    /// The directory's name, instead of the artifact's.
    pub name: Option<String>,
    /// The members wanted of a collection that only points to its skills; empty means all.
    pub skills: Vec<String>,
    /// The directory of the artifact to look in; none means all of it.
    pub sub_path: Option<TreePath>,
    /// How strictly a skill is judged.
    pub validation: Validation,
}

/// What a pull brought.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// What was asked for.
    pub source: Source,
    /// What it resolved to.
    pub digest: Digest,
    /// Its trees: one, or one per member of a collection.
    pub trees: Vec<Arc<StoredTree>>,
    /// What is odd about the manifests that led to the trees. What is odd about the files is in
    /// the trees, which other manifests may share.
    pub findings: Vec<String>,
    /// Whether it is a collection that points to its members.
    pub collection: bool,
    /// Whether everything was there already and the registry was not asked.
    pub local: bool,
}

impl Pulled {
    /// Everything odd about what was pulled.
    pub fn warnings(&self) -> impl Iterator<Item = &String> {
        self.findings.iter().chain(self.trees.iter().flat_map(|tree| &tree.info.warnings))
    }
}

/// What the store has for a request.
enum Look {
    /// All of it.
    Stored(Pulled),
    /// Not all, or not for this caller. What a tag meant when it was resolved last.
    Missing(Option<Digest>),
}

/// A tree, and what is odd about the manifest that led to it.
type Found = (Arc<StoredTree>, Vec<String>);

/// Who shares a pull: callers with the same logins for the same registries. Those that match the
/// reference would not do, because a collection's members may be anywhere.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    source: Source,
    policy: PullPolicy,
    options: PullOptions,
    logins: Fingerprint,
}

/// A pull that runs, or has just ended.
pub type PullFlight = Flight<Arc<Pulled>, PullError>;

/// Pulls artifacts into the store.
#[derive(Debug)]
pub struct Puller {
    registry: Registry,
    store: Arc<Store>,
    config: PullConfig,
    turns: Turns,
    space: Space,
    downloads: layers::Downloads,
    flights: Flights<Key, Arc<Pulled>, PullError>,
    backoff: Backoff,
    /// What stored documents lead to.
    plans: plans::Plans,
    /// What is to come to the disk.
    unflushed: Unflushed,
    /// Held while garbage is collected.
    collecting: Mutex<()>,
    /// How many trees have been collected.
    freed: AtomicU64,
}

impl Puller {
    /// A puller into `store`.
    pub fn new(registry: Registry, store: Arc<Store>, config: PullConfig) -> Self {
        let turns = Turns::new(config.concurrent);
        let downloads = layers::Downloads::new(config.downloads);
        let space = Space::new(store.clone(), config.staging, config.metrics.clone());
        let backoff = Backoff::new(config.backoff);
        Self {
            registry,
            store,
            config,
            turns,
            space,
            downloads,
            flights: Flights::default(),
            backoff,
            plans: plans::Plans::default(),
            unflushed: Unflushed::default(),
            collecting: Mutex::default(),
            freed: AtomicU64::new(0),
        }
    }

    /// Starts a pull, or joins the one that runs for the same thing and the same credentials.
    /// What failed a short while ago fails again, without a request.
    pub fn pull(self: &Arc<Self>, request: PullRequest) -> PullFlight {
        let key = Key {
            source: request.source.clone(),
            policy: request.policy,
            options: request.options.clone(),
            logins: request.logins.fingerprint(self.store.salt()),
        };
        let (puller, asked, tenant) = (self.clone(), key.clone(), request.tenant.clone());
        let flight = self.flights.join(key, PullError::Panicked, |number, progress| {
            let place = puller.turns.enter(number, request.tenant.clone());
            async move {
                let counted = puller.config.metrics.pull();
                let outcome = puller.run(request, asked, place, progress).await;
                match &outcome {
                    Ok(pulled) => counted.end("ok", pulled.local),
                    Err(error) => {
                        let local =
                            matches!(**error, PullError::NotPresent | PullError::BackOff(_));
                        counted.end(error.blame().name(), local);
                    }
                }
                outcome.map(Arc::new)
            }
        });
        if !flight.started {
            self.turns.join(flight.number, tenant);
        }
        flight
    }

    /// What all of the requests ask for, if the store has it and may serve it without asking a
    /// registry. Reads from disk.
    pub fn stored(&self, requests: &[PullRequest]) -> Option<Vec<Arc<Pulled>>> {
        let stored = |request: &PullRequest| match request.policy {
            PullPolicy::Always => None,
            PullPolicy::IfNotPresent | PullPolicy::Never => match self.look(request) {
                Look::Stored(pulled) => Some(Arc::new(pulled)),
                Look::Missing(_) => None,
            },
        };
        let pulled: Option<Vec<_>> = requests.iter().map(stored).collect();
        pulled.iter().flatten().for_each(|_| self.config.metrics.pull().end("ok", true));
        pulled
    }

    async fn run(
        self: &Arc<Self>,
        request: PullRequest,
        key: Key,
        place: Place,
        progress: Arc<Progress>,
    ) -> Result<Pulled, Arc<PullError>> {
        let mut known = None;
        if request.policy != PullPolicy::Always {
            let (puller, request) = (self.clone(), request.clone());
            match blocking(move || puller.look(&request)).await? {
                Look::Stored(pulled) => return Ok(pulled),
                Look::Missing(digest) => known = digest,
            }
        }
        if request.policy == PullPolicy::Never {
            return Err(PullError::NotPresent.into());
        }
        if let Some(last) = self.backoff.check(&key, Instant::now()) {
            return Err(PullError::BackOff(last).into());
        }
        let outcome = self.in_turn(&request, known, &place, &progress).await.map_err(Arc::new);
        self.backoff.record(&key, Instant::now(), outcome.as_ref().err());
        outcome
    }

    /// Asks the registry once it is this pull's turn.
    async fn in_turn(
        self: &Arc<Self>,
        request: &PullRequest,
        known: Option<Digest>,
        place: &Place,
        progress: &Arc<Progress>,
    ) -> Result<Pulled, PullError> {
        progress.enter(Step::Waiting);
        let metrics = &self.config.metrics;
        let (waiting, asked) = (metrics.waiting(), Instant::now());
        progress.asks(asked);
        let turn = place.turn().instrument(trace::phase(Phase::Wait)).await;
        turn.map_err(|Crowded(waiting)| PullError::Crowded(waiting))?;
        drop(waiting);
        let (_running, start) = (metrics.running(), Instant::now());
        progress.begins(start);
        metrics.phase(Phase::Wait, start - asked);
        // The wait for a turn is not the pull's fault: its time starts here.
        let limit = self.config.timeout;
        let pull = async {
            let freed = self.freed();
            let mut outcome = self.remote(request, known.clone(), progress).await;
            let met = outcome.as_ref().err().and_then(Occasion::of);
            if let Some(occasion) = met
                && self.made_space(freed, occasion).await
            {
                outcome = self.remote(request, known, progress).await;
            }
            match outcome {
                Err(error) if error.is_disk_full() => Err(self.measured(error).await),
                outcome => outcome,
            }
        };
        let pulled = tokio::time::timeout(limit, pull)
            .await
            .map_err(|_| PullError::Timeout(limit.as_secs()))??;
        let end = Instant::now();
        progress.ends(end);
        metrics.pulled(end - start);
        Ok(pulled)
    }

    /// Where pulls are counted.
    pub fn metrics(&self) -> &Metrics {
        &self.config.metrics
    }
}

/// The part of a content key that is not in the manifest's layers: options that change bytes,
/// and the names that a skill without one of its own falls back to.
fn key_options(options: &PullOptions, hints: &Hints) -> String {
    let mut text = match (options.raw, options.validation) {
        // Raw trees hold no names.
        (true, Validation::Strict) => return "raw strict".into(),
        (true, _) => return "raw".into(),
        (false, Validation::Strict) => String::from("skills strict"),
        (false, Validation::Lenient) => String::from("skills"),
        // Takes a SKILL.md that the others refuse.
        (false, Validation::None) => String::from("skills unread"),
    };
    if let Some(path) = &options.sub_path {
        text.push_str(&format!("\nbelow\0{path}"));
    }
    if let Some(name) = &hints.given {
        text.push_str(&format!("\ngiven\0{name}"));
    }
    for (place, name) in &hints.names {
        text.push_str(&format!("\n{place}\0{name}"));
    }
    text.push_str(&format!("\nfallback\0{}", hints.fallback));
    text
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, PullError> {
    task::spawn_blocking(work).await.map_err(layers::panicked)
}
