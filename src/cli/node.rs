//! `skillmount node`: the driver.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};
use tokio::sync::{oneshot, watch};

use super::args::{LimitArgs, LogArgs, RegistryArgs};
use super::garbage::{GarbageArgs, ScrubArgs};
use super::health::Health;
use super::kube::KubeArgs;
use super::policy::PolicyArgs;
use super::providers::ProviderArgs;
use super::stop::Signals;
use super::{Failure, runtime};
use crate::csi::identity::IdentityService;
use crate::csi::node::NodeService;
use crate::csi::server::{self, socket_path};
use crate::events::{DRAIN, Events, Writer};
use crate::mount::KernelMounter;
use crate::observability::chain;
use crate::observability::http::{HttpEndpoint, NotAnEndpoint};
use crate::observability::trace::Traces;
use crate::observability::{logging, task};
use crate::pull::{PullConfig, Puller};
use crate::registration::Registrar;
use crate::registry::{Registry, RegistryConfig, install_crypto_provider};
use crate::store::{Store, label};
use crate::volume::{Sources, Volumes};

/// How often the driver looks whether its state directory is still there.
const WATCH_PERIOD: Duration = Duration::from_secs(2);

/// The longest driver name (CSI specification, GetPluginInfo).
const MAX_NAME: usize = 63;

/// How long what does not wait for a network may take, twice, when `--stop-grace` is over: first the
/// calls, then what blocks.
const LAST: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(super) struct NodeArgs {
    /// Socket to serve CSI on
    #[arg(long, env = "CSI_ENDPOINT", default_value = "unix:///csi/csi.sock")]
    endpoint: String,
    /// This node's name, as kubelet registers it
    #[arg(long, env = "NODE_NAME")]
    node_id: String,
    /// The driver's name: that of the CSIDriver object
    #[arg(long, env = "SKILLMOUNT_DRIVER_NAME", default_value = "csi.skillmount.dev", value_parser = driver_name)]
    driver_name: String,
    /// Directory for trees and records; must outlive the container
    #[arg(long, env = "SKILLMOUNT_STATE_DIR", default_value = "/var/lib/skillmount")]
    state_dir: PathBuf,
    /// SELinux label of the files that pods see, where the node has SELinux; empty for none
    /// [default: that of image layers where the node's policy is container-selinux]
    #[arg(long, value_name = "LABEL", env = "SKILLMOUNT_SELINUX_LABEL",
          value_parser = selinux_label)]
    selinux_label: Option<String>,
    /// Directory of kubelet's plugin registration sockets; without it another process registers
    /// the driver (node-driver-registrar)
    #[arg(long, value_name = "DIR", env = "SKILLMOUNT_REGISTRATION_DIR")]
    registration_dir: Option<PathBuf>,
    /// Path of the CSI socket on the node, as kubelet is told [default:
    /// /var/lib/kubelet/plugins/<DRIVER_NAME>/csi.sock]
    #[arg(long, value_name = "PATH", env = "SKILLMOUNT_KUBELET_ENDPOINT")]
    kubelet_endpoint: Option<PathBuf>,
    /// Address to serve /metrics, /livez and /readyz on, such as :9808; empty for none
    #[arg(long, value_name = "[ADDRESS]:PORT", env = "SKILLMOUNT_HTTP_ENDPOINT", default_value = "",
          value_parser = http_endpoint)]
    // Spelt out, since for an `Option` clap would take no default, and an empty variable for an
    // address.
    http_endpoint: std::option::Option<HttpEndpoint>,
    /// Seconds that calls in flight have when the driver is to stop; then those that wait are told to
    /// come again
    #[arg(long, value_name = "SECONDS", default_value_t = 20, env = "SKILLMOUNT_STOP_GRACE",
          value_parser = clap::value_parser!(u64).range(0..=3600))]
    stop_grace: u64,
    #[command(flatten)]
    registry: RegistryArgs,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    policy: PolicyArgs,
    #[command(flatten)]
    providers: ProviderArgs,
    #[command(flatten)]
    garbage: GarbageArgs,
    #[command(flatten)]
    scrub: ScrubArgs,
    #[command(flatten)]
    kube: KubeArgs,
    #[command(flatten)]
    log: LogArgs,
}

impl NodeArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        let socket = socket_path(&self.endpoint).map_err(|e| Failure::usage(&e))?;
        if self.node_id.is_empty() || self.node_id.len() > 256 {
            return Err(Failure::Usage("--node-id must have 1 to 256 bytes".into()));
        }
        let traces = Traces::from_environment().map_err(|e| Failure::usage(&e))?;
        let log_level = logging::init(self.log.log_format, &self.log.log_level, &traces)
            .map_err(|e| Failure::usage(&e))?;
        install_crypto_provider();
        let health = Arc::new(Health::default());
        // It is set once.
        drop(health.log_level.set(log_level));
        let config = RegistryConfig { metrics: health.metrics.clone(), ..self.registry.config() };
        let registry = Registry::new(config).map_err(|e| Failure::usage(&e))?;
        let pulls = self.policy.config(self.limits.config())?;
        let pulls = PullConfig { collect: self.garbage.policy()?, ..pulls };
        let sources = Sources {
            pod_secrets: self.kube.pod_secrets(&self.node_id)?,
            node_files: Arc::new(self.policy.node_files()),
            providers: self.providers.providers(health.metrics.clone())?,
        };
        let events = self.kube.events(&self.driver_name, &self.node_id, health.metrics.clone())?;
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            driver_name = self.driver_name,
            node_id = self.node_id,
            endpoint = %socket.display(),
            state_dir = %self.state_dir.display(),
            http_endpoint = self.http_endpoint.map(|endpoint| endpoint.to_string()),
            registry = ?self.registry,
            limits = ?self.limits,
            policy = ?self.policy,
            credential_providers = ?sources.providers,
            garbage = ?self.garbage,
            scrub = ?self.scrub,
            kube = ?self.kube,
            "starting"
        );
        raise_file_limit();
        forbid_core_dumps();
        let runtime = runtime()?;
        let outcome =
            runtime.block_on(self.serve(&socket, registry, pulls, sources, events, &health));
        // What still blocks is cut short as by a crash, of which nothing is left but staging.
        runtime.shutdown_timeout(if outcome.is_ok() { LAST } else { Duration::ZERO });
        traces.finish();
        outcome
    }

    async fn serve(
        self,
        socket: &Path,
        registry: Registry,
        pulls: PullConfig,
        sources: Sources,
        events: Option<(Events, Writer)>,
        health: &Arc<Health>,
    ) -> Result<(), Failure> {
        let signals = Signals::catch().map_err(|e| Failure::failed(&e))?;
        let metrics = health.metrics.clone();
        // First, so that it can say what the rest waits for.
        if let Some(endpoint) = self.http_endpoint {
            health.serve(endpoint).await?;
        }
        let store = Arc::new(Store::open(&self.state_dir).map_err(|e| Failure::failed(&e))?);
        health.opened(&store);
        self.label(&store);
        let mounter = Arc::new(KernelMounter::detect());
        let pulls = PullConfig { metrics: metrics.clone(), ..pulls };
        let puller = Arc::new(Puller::new(registry.clone(), store.clone(), pulls));
        let (events, writer) = events.unzip();
        let volumes = Volumes::new(store.clone(), mounter, puller.clone());
        let volumes = Arc::new(volumes.with_sources(sources).with_events(events));
        let recovered = volumes.recover().map_err(|e| Failure::failed(&e))?;
        tracing::info!(
            published = recovered.published,
            unmounted = recovered.unmounted,
            unclear = recovered.unclear,
            half_made = recovered.half_made,
            forgotten = recovered.forgotten,
            "volumes known"
        );
        let listener = server::bind(socket).await.map_err(|e| Failure::failed(&e))?;
        health.serving();
        let registrar = self.registrar();
        if let Some(registrar) = &registrar {
            health.registering(registrar.status());
        }
        tracing::info!(endpoint = %socket.display(), "serving");
        task::spawn(async move { registry.warm_up().await });
        let (stopping, stopped) = watch::channel(false);
        let grace = Duration::from_secs(self.stop_grace);
        let ending = ending(signals, (&stopping, grace), health, volumes.clone());
        // Until the last call has ended.
        let (served, has_served) = oneshot::channel::<()>();
        let writing =
            writer.map(|writer| tokio::spawn(writer.run(async { drop(has_served.await) })));
        let identity = IdentityService::new(self.driver_name.clone());
        let node = NodeService::new(self.node_id.clone(), volumes);
        let serving = async {
            let stop = raised(stopped.clone());
            server::serve(listener, identity, node, metrics, stop).await;
            Ok(())
        };
        let registering = async {
            let Some(registrar) = registrar else { return Ok(()) };
            registrar.serve(raised(stopped.clone())).await.map_err(|e| Failure::failed(&e))
        };
        // Recovery is over: what is mounted is known.
        let collecting = async {
            puller.clone().collect_regularly(raised(stopped.clone())).await;
            Ok(())
        };
        let scrubbing = async {
            puller.clone().scrub_regularly(self.scrub.interval(), raised(stopped.clone())).await;
            Ok(())
        };
        let watching = watch(store, raised(stopped.clone()));
        let all = async { tokio::try_join!(serving, registering, collecting, scrubbing, watching) };
        tokio::select! {
            ended = all => {
                ended?;
            }
            failure = ending => return Err(failure),
        }
        drop(served);
        if let Some(writing) = writing {
            // Nobody waits longer for events than a stop has time.
            drop(tokio::time::timeout(DRAIN, writing).await);
        }
        tracing::info!("stopped; published volumes stay mounted");
        Ok(())
    }

    /// Labels what is going to be made in the store, if the node has SELinux. A node that does not
    /// let it may have a policy under which pods can read the files all the same.
    fn label(&self, store: &Store) {
        let context = label::context();
        let Some(label) = label::choose(self.selinux_label.as_deref(), &context) else { return };
        match store.label(label) {
            Ok(true) if !store.trees().is_empty() => tracing::warn!(
                label,
                trees = store.trees().len(),
                "trees have an SELinux label from now on; those that are there keep theirs, under \
                 which pods may not read them: when no volume uses them, `skillmount prune` \
                 removes them"
            ),
            Ok(changed) => tracing::info!(label, changed, "trees have an SELinux label"),
            Err(error) => tracing::warn!(
                error = chain(&error),
                context = context.trim_end_matches('\0'),
                "pods may not be allowed to read their volumes: see --selinux-label"
            ),
        }
    }

    /// What registers the driver with kubelet, if that was asked for.
    fn registrar(&self) -> Option<Registrar> {
        let directory = self.registration_dir.as_ref()?;
        let endpoint = self.kubelet_endpoint.clone().unwrap_or_else(|| {
            format!("/var/lib/kubelet/plugins/{}/csi.sock", self.driver_name).into()
        });
        Some(Registrar::new(directory, &self.driver_name, &endpoint))
    }
}

/// Fails once the state directory is not the one any more that was opened, or not whole: only a new
/// start makes it anew.
async fn watch(store: Arc<Store>, stop: impl Future<Output = ()>) -> Result<(), Failure> {
    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => return Ok(()),
            () = tokio::time::sleep(WATCH_PERIOD) => {}
        }
        let looked = store.clone();
        let looked = task::spawn_blocking(move || looked.lost());
        let looked = tokio::select! {
            () = &mut stop => return Ok(()),
            looked = looked => looked,
        };
        if let Ok(Some(lost)) = looked {
            let lost = lost.display();
            return Err(Failure::Failed(format!(
                "{lost} was removed or replaced under the running driver; the next start makes \
                 the state directory anew, and volumes stay mounted"
            )));
        }
    }
}

/// Stops at a signal: raises `stopping`, and after `grace` lets no call wait any more. Resolves if
/// that does not end the driver either, or somebody does not want to wait for it.
async fn ending(
    mut signals: Signals,
    (stopping, grace): (&watch::Sender<bool>, Duration),
    health: &Health,
    volumes: Arc<Volumes>,
) -> Failure {
    let signal = signals.next().await;
    tracing::info!(signal, ?grace, "stopping: calls in flight are finished");
    health.stopping();
    stopping.send_replace(true);
    let patient = async {
        tokio::time::sleep(grace).await;
        tracing::info!("calls that still wait are told to come again");
        volumes.give_up();
        tokio::time::sleep(LAST).await;
    };
    Failure::Failed(tokio::select! {
        () = patient => "calls in flight did not end in time: kubelet makes them again".into(),
        signal = signals.next() => format!("stopped at once by a second signal, {signal}"),
    })
}

/// An overlay of hundreds of skills holds a descriptor for each while it is made, and the usual
/// soft limit of 1024 is there for `select(2)`, which nothing here uses.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

/// The memory of this process holds logins of many tenants, and where the node puts core dumps is
/// not known.
fn forbid_core_dumps() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    // The limit alone does not keep a core from a program that /proc/sys/kernel/core_pattern names.
    let outcome = setrlimit(Resource::Core, none)
        .and_then(|()| set_dumpable_behavior(DumpableBehavior::NotDumpable));
    if let Err(error) = outcome {
        tracing::warn!(%error, "cannot forbid core dumps");
    }
}

/// Resolves once the flag is raised, or can never be.
async fn raised(mut flag: watch::Receiver<bool>) {
    drop(flag.wait_for(|raised| *raised).await);
}

/// An address, or nothing for an empty text.
fn http_endpoint(text: &str) -> Result<Option<HttpEndpoint>, NotAnEndpoint> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some) }
}

/// A label, or nothing for an empty text.
fn selinux_label(text: &str) -> Result<String, &'static str> {
    let valid = text.is_empty() || label::is_label(text);
    valid.then(|| text.to_owned()).ok_or("it is not user:role:type or user:role:type:level")
}

/// Kubernetes wants a DNS subdomain, the CSI specification at most 63 characters.
fn driver_name(name: &str) -> Result<String, String> {
    let word = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    if name.len() <= MAX_NAME && name.split('.').all(word) {
        return Ok(name.into());
    }
    Err(format!("not a DNS subdomain of at most {MAX_NAME} characters"))
}
