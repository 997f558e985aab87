//! The image of the Dockerfile, which image.sh has built: started by runc as the DaemonSet says,
//! registered by a kubelet, and used.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use serde_json::Value;
use tokio::process::Command;

use super::bundle::Pod;
use super::docker_registry::{Debian, PASSWORD, USER, contents};
use super::process::{Server, run, succeed, tools};
use super::support::driver::{Client, Volume};
use super::support::http::get;
use super::support::{Kubelet, Options, Registry, artifacts, skills, tree};
use super::{namespace, selected};

const REPOSITORY: &str = "team/code-review";

/// What a node has there. A tmpfs of this test's own, so that the manifest's paths can be used as
/// they are; the source tree must lie elsewhere.
const HOST: &str = "/var/lib";
const PODS: &str = "/var/lib/kubelet/pods";
/// A bundle's configuration, as runtimes name it.
const CONFIG: &str = "config.json";
const REGISTRATION: &str = "/var/lib/kubelet/plugins_registry";
/// Of the manifest, in the network namespace of this test.
const HTTP: &str = "127.0.0.1:9808";

#[tokio::test]
async fn it_holds_a_binary_and_authorities_and_says_what_it_is() {
    if !selected("image::it_holds_a_binary_and_authorities_and_says_what_it_is") {
        return;
    }
    let image = Image::built();
    let config = image.inspect(&["--config"]).await;
    let labels = config["config"]["Labels"].as_object().unwrap();
    let mut labels: BTreeMap<&str, &str> = labels
        .iter()
        .filter_map(|(key, value)| {
            Some((key.strip_prefix("org.opencontainers.image.")?, value.as_str().unwrap()))
        })
        .collect();
    let revision = labels.remove("revision").unwrap();
    assert!(revision.len() == 40 && revision.bytes().all(|b| b.is_ascii_hexdigit()), "{revision}");
    let expected = [
        ("title", env!("CARGO_PKG_NAME")),
        ("description", env!("CARGO_PKG_DESCRIPTION")),
        ("licenses", env!("CARGO_PKG_LICENSE")),
        ("version", env!("CARGO_PKG_VERSION")),
    ];
    assert_eq!(labels, expected.into());
    assert_eq!(config["config"]["Entrypoint"], serde_json::json!(["/skillmount"]));
    assert_eq!(config["config"]["User"], "0:0");

    let root = tempfile::tempdir().unwrap();
    let rootfs = image.unpack(root.path()).await.join("rootfs");
    let files: Vec<_> = tree::contents(&rootfs).into_keys().collect();
    assert_eq!(files, ["etc/ssl/certs/ca-certificates.crt", "skillmount"]);
    let size = |path: &str| fs::metadata(rootfs.join(path)).unwrap().len();
    let (binary, authorities) = (size(files[1].as_str()), size(files[0].as_str()));
    let built = fs::read_to_string(tools().join("image/built")).unwrap();
    let manifest = image.inspect(&["--raw"]).await;
    let layers = manifest["layers"].as_array().unwrap().iter();
    let compressed: u64 = layers.map(|layer| layer["size"].as_u64().unwrap()).sum();
    report(
        "1-image",
        &format!(
            "image ({}; {}): {compressed} bytes compressed, {} not; of that the binary {binary}",
            config["architecture"].as_str().unwrap(),
            built.trim(),
            binary + authorities,
        ),
    );
}

#[test]
fn it_runs_as_the_daemonset_says() {
    let name = "image::it_runs_as_the_daemonset_says";
    if !selected(name) {
        return;
    }
    if !nix::unistd::geteuid().is_root() {
        report("2-run", "image: not run: only root may start a privileged container");
        return;
    }
    namespace::in_namespace(name, || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let root = namespace::scratch();
        mount(Some("host"), HOST, Some("tmpfs"), MsFlags::empty(), Some("mode=0755")).unwrap();
        // As on every node with systemd: Bidirectional needs it.
        mount(None::<&str>, HOST, None::<&str>, MsFlags::MS_SHARED, None::<&str>).unwrap();
        tokio::runtime::Runtime::new().unwrap().block_on(a_node(name, &root));
    });
}

async fn a_node(name: &str, root: &Path) {
    let bundle = Image::built().unpack(root).await;
    if let Err(why) = trial(root, &bundle).await {
        report("2-run", &format!("image: not run: runc starts no container here: {why}"));
        return;
    }
    succeed(Command::new("ip").args(["link", "set", "lo", "up"])).await;
    let debian = Debian::start(name).await.unwrap();
    let login = debian.secret("push.json", PASSWORD);
    let source = Registry::start(Options::default());
    let skill = skills::code_review();
    artifacts::skillimage(&source, REPOSITORY, "v1", &skill);
    debian.push(&source, REPOSITORY, &login).await;

    let pod = Pod::of_the_base();
    pod.prepare();
    configure(root, &bundle, &pod, &debian);
    let mut kubelet = Kubelet::watch(Path::new(REGISTRATION));
    let (container, registered) =
        tokio::join!(Container::start(&bundle, "first"), kubelet.registers());
    let socket = PathBuf::from(&registered.info.endpoint);
    assert_eq!(registered.node_id, "node-1");
    let idle = container.resident().await;
    let driver = Client::connect(&socket).await;
    let probe = driver.identity().probe(skillmount::csi::v1::ProbeRequest {}).await;
    assert_eq!(probe.unwrap().into_inner().ready, Some(true));
    container.is_confined().await;

    let volume = Volume::new(Path::new("/var/lib/kubelet"), "agent", &debian.reference(REPOSITORY));
    let volume = volume.secret(&debian.host, USER, PASSWORD);
    driver.publish(&volume).await.unwrap();
    // Out here, where pods get it from.
    let shown = || {
        assert_eq!(tree::listing(&volume.target), skill.listing());
        assert_eq!(tree::contents(&volume.target), contents(&skill));
        let written = fs::write(volume.target.join("SKILL.md"), "").unwrap_err();
        assert_eq!(written.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    };
    shown();
    let used = container.resident().await;
    let ready = container.ready;
    let stopped = container.stop(pod.grace()).await;
    assert_eq!(tree::names(Path::new(REGISTRATION)), [""; 0]);
    shown();

    // A rollout: another container takes over what the first one mounted.
    let (container, again) = tokio::join!(Container::start(&bundle, "second"), kubelet.registers());
    assert_eq!(again, registered);
    shown();
    let driver = Client::connect(&socket).await;
    driver.unpublish(&volume).await.unwrap();
    assert_eq!(tree::names(&Path::new(PODS).join("agent")), [""; 0]);
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let below = format!(" {PODS}/");
    let left: Vec<_> = mounts.lines().filter(|line| line.contains(&below)).collect();
    assert!(left.is_empty(), "mounts are left behind: {left:?}");
    container.stop(pod.grace()).await;
    debian.stop().await;
    report(
        "2-run",
        &format!(
            "image, run by runc: ready after {} ms, resident {idle} kB idle and {used} kB with \
             one volume, stopped after {} ms",
            ready.as_millis(),
            stopped.as_millis(),
        ),
    );
}

/// Whether this machine lets runc start a container at all, with cgroups and what else it makes:
/// one that only says its version, as it has to do with this root and without runc in any case.
async fn trial(root: &Path, bundle: &Path) -> Result<(), String> {
    let mut alone = Command::new("unshare");
    alone.arg("--root").arg(bundle.join("rootfs")).args(["/skillmount", "--version"]);
    let version = succeed(&mut alone).await;
    let path = bundle.join(CONFIG);
    let original = fs::read(&path).unwrap();
    let mut config: Value = serde_json::from_slice(&original).unwrap();
    config["process"]["terminal"] = false.into();
    config["process"]["args"] = ["/skillmount", "--version"].into_iter().collect();
    fs::write(&path, config.to_string()).unwrap();
    let removal =
        Removal { state: root.join("trial"), id: format!("trial-{}", std::process::id()) };
    let mut command = runc(&removal.state);
    let (started, text) = run(command.args(["run", "--bundle"]).arg(bundle).arg(&removal.id)).await;
    fs::write(&path, original).unwrap();
    if !started {
        return Err(text.trim().into());
    }
    assert!(text.contains(version.trim()), "{text}");
    Ok(())
}

/// Replaces the bundle's configuration by that of the manifest. What the test adds to it is the
/// manifest's own proposal: a private authority.
fn configure(root: &Path, bundle: &Path, pod: &Pod, debian: &Debian) {
    let [authorities, etc] = ["authorities", "etc"].map(|name| root.join(name));
    for directory in [&authorities, &etc] {
        fs::create_dir(directory).unwrap();
    }
    fs::copy(debian.path("trust/ca.crt"), authorities.join("ca.crt")).unwrap();
    let hosts = "127.0.0.1 localhost\n";
    for (file, text) in [("hosts", hosts), ("hostname", "skillmount-node\n"), ("resolv.conf", "")] {
        fs::write(etc.join(file), text).unwrap();
    }
    let path = bundle.join(CONFIG);
    let image = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let arguments = ["--ca-file=/etc/skillmount/ca/ca.crt".to_owned()];
    let config = pod.config(&image, &arguments, &authorities, &etc);
    fs::write(&path, config.to_string()).unwrap();
}

/// The OCI layout that image.sh left.
struct Image(String);

impl Image {
    fn built() -> Self {
        let layout = tools().join("image/oci");
        assert!(layout.is_dir(), "no image: run tests/conformance/image.sh");
        Self(format!("{}:skillmount", layout.display()))
    }

    async fn inspect(&self, flags: &[&str]) -> Value {
        let mut command = Command::new("skopeo");
        command.arg("inspect").args(flags).arg(format!("oci:{}", self.0));
        serde_json::from_str(&succeed(&mut command).await).unwrap()
    }

    async fn unpack(&self, root: &Path) -> PathBuf {
        let bundle = root.join("bundle");
        let mut command = Command::new("umoci");
        command.args(["unpack", "--image", &self.0]);
        if !nix::unistd::geteuid().is_root() {
            command.arg("--rootless");
        }
        succeed(command.arg(&bundle)).await;
        bundle
    }
}

/// A container of runc's. What is left of it goes when dropped.
struct Container {
    server: Server,
    pid: u32,
    ready: Duration,
    _removal: Removal,
}

struct Removal {
    state: PathBuf,
    id: String,
}

impl Container {
    /// Starts it and waits until it is ready.
    async fn start(bundle: &Path, id: &str) -> Self {
        let state = bundle.with_file_name("runc");
        let id = format!("skillmount-{id}-{}", std::process::id());
        let removal = Removal { state: state.clone(), id: id.clone() };
        let mut command = runc(&state);
        command.arg("run").arg("--bundle").arg(bundle).arg(&id);
        let started = Instant::now();
        let serving = |line: &str| line.contains("serving /metrics").then_some(());
        let (server, ()) = Server::start(&mut command, serving).await;
        let address: SocketAddr = HTTP.parse().unwrap();
        while get(address, "/readyz").await != (200, "ok\n".into()) {
            tokio::task::yield_now().await;
        }
        let ready = started.elapsed();
        let text = succeed(runc(&state).args(["state", &id])).await;
        let text: Value = serde_json::from_str(&text).unwrap();
        let pid = text["pid"].as_u64().unwrap().try_into().unwrap();
        Self { server, pid, ready, _removal: removal }
    }

    async fn file(&self, name: &str) -> String {
        tokio::fs::read_to_string(format!("/proc/{}/{name}", self.pid)).await.unwrap()
    }

    /// VmRSS, in kB.
    async fn resident(&self) -> u64 {
        let status = self.file("status").await;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// It really is in a container: another root, read-only, with what the manifest mounts.
    async fn is_confined(&self) {
        let mounts = self.file("mountinfo").await;
        let of = |point: &str| -> Vec<String> {
            let line = mounts.lines().find(|line| line.split(' ').nth(4) == Some(point));
            line.unwrap_or_else(|| panic!("no {point}:\n{mounts}"))
                .split(' ')
                .map(Into::into)
                .collect()
        };
        let read_only = |point: &str| of(point)[5].split(',').any(|option| option == "ro");
        assert!(read_only("/") && read_only("/etc/skillmount/ca"), "{mounts}");
        assert!(!read_only("/csi") && !read_only("/var/lib/skillmount"), "{mounts}");
        assert!(of(PODS)[6].starts_with("shared:"), "{mounts}");
        assert!(!of("/var/lib/skillmount")[6].starts_with("shared:"), "{mounts}");
    }

    /// SIGTERM; it must end by itself within kubelet's patience. How long it took.
    async fn stop(self, grace: Duration) -> Duration {
        let started = Instant::now();
        let ended = tokio::time::timeout(grace, self.server.stop()).await;
        let (status, log) = ended.expect("kubelet would kill it");
        assert!(status.success(), "{status}: {}", log.join("\n"));
        started.elapsed()
    }
}

impl Drop for Removal {
    fn drop(&mut self) {
        // After an orderly end there is nothing left, and runc says so.
        let mut command = std::process::Command::new("runc");
        command.arg("--root").arg(&self.state).args(["delete", "--force", &self.id]);
        drop(command.output());
    }
}

fn runc(state: &Path) -> Command {
    let mut command = Command::new("runc");
    command.arg("--root").arg(state);
    command
}

fn report(name: &str, line: &str) {
    let directory = tools().join("conformance");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join(format!("image-{name}.summary")), format!("{line}\n")).unwrap();
}
