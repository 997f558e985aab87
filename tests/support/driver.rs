//! The driver under test: in this process over a real unix socket, with the kernel's mounts or
//! with any other [`Mounter`], and a client that speaks as kubelet does.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use skillmount::artifact::descriptor::Platform;
use skillmount::credentials::NodeFiles;
use skillmount::credentials::providers::{Providers, ProvidersConfig};
use skillmount::csi::identity::IdentityService;
use skillmount::csi::node::NodeService;
use skillmount::csi::server;
use skillmount::csi::v1::identity_client::IdentityClient;
use skillmount::csi::v1::node_client::NodeClient;
use skillmount::csi::v1::volume_capability::{AccessMode, AccessType, MountVolume, access_mode};
use skillmount::csi::v1::{
    NodeGetVolumeStatsRequest, NodePublishVolumeRequest, NodeUnpublishVolumeRequest,
    VolumeCapability, VolumeCondition,
};
use skillmount::events::{Events, Reporter};
use skillmount::kube::Api;
use skillmount::mount::{KernelMounter, Mounter};
use skillmount::observability::metrics::Metrics;
use skillmount::pull::{CollectPolicy, Collected, Occasion, PullConfig, Puller, Verification};
use skillmount::registry::{Registry, RegistryConfig, install_crypto_provider};
use skillmount::store::Store;
use skillmount::unpack::Limits;
use skillmount::volume::{PodSecrets, Sources, Volumes};
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tower::service_fn;

/// The uid of the pod that all volumes are for: `agent` in the namespace `team`.
pub const POD_UID: &str = "0768eb6d-4803-492e-91ed-aa92be06dc18";

/// What a driver is started with.
pub struct Setup {
    pub registry: RegistryConfig,
    pub limits: Limits,
    pub platform: Platform,
    pub mounter: Arc<dyn Mounter>,
    /// How long a pull that failed is not tried again. Not at all by default: tests put things
    /// right and try at once.
    pub backoff: Duration,
    pub verification: Verification,
    pub pod_secrets: Option<PodSecrets>,
    pub node_credentials: Vec<PathBuf>,
    pub providers: Option<ProvidersConfig>,
    pub collect: CollectPolicy,
    /// Layers that are downloaded at once.
    pub downloads: usize,
    /// Bytes of staging that all pulls may reserve.
    pub staging: Option<u64>,
    /// Where events are written.
    pub events: Option<Api>,
}

impl Default for Setup {
    fn default() -> Self {
        let registry =
            RegistryConfig { retry_pause: Duration::from_millis(1), ..RegistryConfig::default() };
        Self {
            registry,
            limits: Limits::default(),
            platform: Platform::node(),
            mounter: Arc::new(KernelMounter::detect()),
            backoff: Duration::ZERO,
            verification: Verification::default(),
            pod_secrets: None,
            node_credentials: vec![],
            providers: None,
            collect: CollectPolicy::default(),
            downloads: PullConfig::default().downloads,
            staging: None,
            events: None,
        }
    }
}

/// A running driver.
pub struct Driver {
    pub root: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<()>,
    client: Client,
    store: Weak<Store>,
    puller: Weak<Puller>,
    volumes: Weak<Volumes>,
    metrics: Metrics,
}

/// What kubelet is to a driver. Clones share one connection.
#[derive(Clone)]
pub struct Client(Channel);

/// A volume as a pod asks for it.
#[derive(Clone)]
pub struct Volume {
    pub id: String,
    pub target: PathBuf,
    pub read_only: bool,
    pub attributes: HashMap<String, String>,
    pub secrets: HashMap<String, String>,
    /// That of the pod.
    pub service_account: String,
}

impl Driver {
    /// Starts a driver with its state, socket and targets below `root`, which may hold those of
    /// an earlier one.
    pub async fn start(root: &Path, setup: Setup) -> Self {
        install_crypto_provider();
        let state = root.join("state");
        let store = Arc::new(Store::open(&state).expect("open the store"));
        let registry = Registry::new(setup.registry).expect("set up the registry");
        let config = PullConfig {
            limits: setup.limits,
            platform: setup.platform,
            concurrent: 8,
            downloads: setup.downloads,
            staging: setup.staging,
            timeout: Duration::from_secs(60),
            backoff: setup.backoff,
            verification: setup.verification,
            collect: setup.collect,
            ..PullConfig::default()
        };
        let weak = Arc::downgrade(&store);
        let puller = Arc::new(Puller::new(registry, store.clone(), config));
        let weak_puller = Arc::downgrade(&puller);
        let volumes = Volumes::new(store, setup.mounter, puller);
        let node_files = Arc::new(NodeFiles::new(setup.node_credentials));
        let providers = setup.providers.map(|config| {
            Arc::new(Providers::load(config).expect("load the credential providers"))
        });
        let sources = Sources { pod_secrets: setup.pod_secrets, node_files, providers };
        let metrics = Metrics::default();
        let reporter = Reporter { driver: "csi.skillmount.dev".into(), node: "node-1".into() };
        let events = setup.events.map(|api| Events::new(api, reporter, metrics.clone()));
        let (events, writer) = events.unzip();
        let volumes = Arc::new(volumes.with_sources(sources).with_events(events));
        volumes.recover().expect("recover");
        let socket = root.join("csi.sock");
        let listener = server::bind(&socket).await.expect("bind");
        let (stop, stopped) = oneshot::channel();
        let weak_volumes = Arc::downgrade(&volumes);
        let node = NodeService::new("node-1".into(), volumes);
        let counted = metrics.clone();
        let served = tokio::spawn(async move {
            let (ended, has_ended) = oneshot::channel::<()>();
            let writing =
                writer.map(|writer| tokio::spawn(writer.run(async { drop(has_ended.await) })));
            let identity = IdentityService::new("csi.skillmount.dev".into());
            let stop = async { drop(stopped.await) };
            server::serve(listener, identity, node, counted, stop).await;
            drop(ended);
            if let Some(writing) = writing {
                writing.await.expect("write what is left");
            }
        });
        std::fs::create_dir_all(root.join("pods")).expect("make pods");
        let client = Client::connect(&socket).await;
        Self {
            root: root.into(),
            stop: Some(stop),
            served,
            client,
            store: weak,
            puller: weak_puller,
            volumes: weak_volumes,
            metrics,
        }
    }

    /// The series of a metric, sorted.
    pub fn series(&self, name: &str) -> Vec<String> {
        let text = self.metrics.text().expect("metrics");
        let mut lines: Vec<String> =
            text.lines().filter(|line| line.starts_with(name)).map(Into::into).collect();
        lines.sort();
        lines
    }

    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// A volume of this driver's for `reference`; its target does not exist yet.
    pub fn volume(&self, id: &str, reference: &str) -> Volume {
        Volume::new(&self.root, id, reference)
    }

    pub async fn publish(&self, volume: &Volume) -> Result<(), Status> {
        self.client.publish(volume).await
    }

    /// Publishes with a deadline, as kubelet sends it.
    pub async fn publish_within(&self, volume: &Volume, timeout: Duration) -> Result<(), Status> {
        self.client.publish_within(volume, timeout).await
    }

    pub async fn unpublish(&self, volume: &Volume) -> Result<(), Status> {
        self.client.unpublish(volume).await
    }

    /// Collects garbage now; nothing does by itself.
    pub async fn collect(&self) -> Collected {
        let puller = self.puller.upgrade().expect("a running driver");
        puller.collect(Occasion::Regular).await.expect("collect")
    }

    /// Waits until no more than `count` trees are in use: a tree also is while it is flushed.
    pub async fn in_use(&self, count: usize) {
        let store = self.store.upgrade().expect("a running driver");
        while store.trees().iter().filter(|tree| tree.in_use).count() > count {
            tokio::task::yield_now().await;
        }
    }

    /// Lets calls wait no more, as a while after SIGTERM.
    pub fn give_up(&self) {
        self.volumes.upgrade().expect("a running driver").give_up();
    }

    /// Stops as SIGTERM does.
    pub async fn stop(mut self) {
        let store = self.store.upgrade();
        drop(self.stop.take());
        drop(self.client);
        self.served.await.expect("the server ends");
        // A tree may still be on its way to the disk: the next driver needs the lock. Whoever is the
        // last to let the store go also closes its files.
        while store.as_ref().is_some_and(|store| Arc::strong_count(store) > 1) {
            tokio::task::yield_now().await;
        }
    }
}

impl Client {
    pub async fn connect(socket: &Path) -> Self {
        Self(connect(socket).await)
    }

    pub fn node(&self) -> NodeClient<Channel> {
        NodeClient::new(self.0.clone())
    }

    /// What is said of a volume that is published.
    pub async fn condition(&self, volume: &Volume) -> VolumeCondition {
        let request = NodeGetVolumeStatsRequest {
            volume_id: volume.id.clone(),
            volume_path: volume.target.display().to_string(),
            ..Default::default()
        };
        let stats = self.node().node_get_volume_stats(request).await.unwrap().into_inner();
        stats.volume_condition.unwrap()
    }

    pub fn identity(&self) -> IdentityClient<Channel> {
        IdentityClient::new(self.0.clone())
    }

    pub async fn publish(&self, volume: &Volume) -> Result<(), Status> {
        kept(self.node().node_publish_volume(volume.publish()).await.map(drop))
    }

    pub async fn publish_within(&self, volume: &Volume, timeout: Duration) -> Result<(), Status> {
        let mut request = Request::new(volume.publish());
        request.set_timeout(timeout);
        kept(self.node().node_publish_volume(request).await.map(drop))
    }

    pub async fn unpublish(&self, volume: &Volume) -> Result<(), Status> {
        self.node().node_unpublish_volume(volume.unpublish()).await.map(drop)
    }
}

impl Volume {
    /// A volume with its target below `root`, as kubelet prepares it: with a parent.
    pub fn new(root: &Path, id: &str, reference: &str) -> Self {
        let pod = root.join("pods").join(id);
        std::fs::create_dir_all(&pod).expect("make the pod's directory");
        Self {
            id: id.into(),
            target: pod.join("mount"),
            read_only: true,
            attributes: [("reference".to_owned(), reference.to_owned())].into(),
            secrets: HashMap::new(),
            service_account: "default".into(),
        }
    }

    pub fn attribute(mut self, key: &str, value: &str) -> Self {
        self.attributes.insert(key.into(), value.into());
        self
    }

    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// A pull secret as `kubectl create secret docker-registry` makes it.
    pub fn secret(self, registry: &str, user: &str, password: &str) -> Self {
        let json = format!(
            r#"{{"auths":{{"{registry}":{{"username":"{user}","password":"{password}"}}}}}}"#
        );
        self.raw_secret(".dockerconfigjson", &json)
    }

    pub fn service_account(mut self, name: &str) -> Self {
        self.service_account = name.into();
        self
    }

    pub fn raw_secret(mut self, key: &str, value: &str) -> Self {
        self.secrets.insert(key.into(), value.into());
        self
    }

    /// The token of the pod's service account for the API server, where kubelet puts it.
    pub fn api_token(self, token: &str) -> Self {
        let tokens =
            format!(r#"{{"":{{"token":"{token}","expirationTimestamp":"2026-11-21T10:54:09Z"}}}}"#);
        self.attribute("csi.storage.k8s.io/serviceAccount.tokens", &tokens)
    }

    pub fn publish(&self) -> NodePublishVolumeRequest {
        let mut volume_context = self.attributes.clone();
        for (key, value) in [
            ("csi.storage.k8s.io/pod.name", "agent"),
            ("csi.storage.k8s.io/pod.namespace", "team"),
            ("csi.storage.k8s.io/pod.uid", POD_UID),
            ("csi.storage.k8s.io/serviceAccount.name", self.service_account.as_str()),
            ("csi.storage.k8s.io/ephemeral", "true"),
        ] {
            volume_context.entry(key.into()).or_insert_with(|| value.into());
        }
        let mode = access_mode::Mode::SingleNodeWriter.into();
        NodePublishVolumeRequest {
            volume_id: self.id.clone(),
            target_path: self.target.display().to_string(),
            volume_capability: Some(VolumeCapability {
                access_mode: Some(AccessMode { mode }),
                access_type: Some(AccessType::Mount(MountVolume::default())),
            }),
            readonly: self.read_only,
            secrets: self.secrets.clone(),
            volume_context,
            ..Default::default()
        }
    }

    pub fn unpublish(&self) -> NodeUnpublishVolumeRequest {
        NodeUnpublishVolumeRequest {
            volume_id: self.id.clone(),
            target_path: self.target.display().to_string(),
        }
    }
}

/// No answer holds a secret: those of the tests have this word in them.
fn kept(outcome: Result<(), Status>) -> Result<(), Status> {
    if let Err(status) = &outcome {
        assert!(!status.message().contains("CANARY"), "{status:?}");
    }
    outcome
}

/// A client of the socket. Its authority is kubelet's.
pub async fn connect(socket: &Path) -> Channel {
    let socket = socket.to_owned();
    Endpoint::from_static("http://localhost")
        .connect_with_connector(service_fn(move |_| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        }))
        .await
        .expect("connect to the driver")
}
