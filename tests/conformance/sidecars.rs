//! node-driver-registrar and livenessprobe, for those who run them beside the driver.
//!
//! No package registry has them in a form that can be installed, so they are only looked for; a
//! tool that is not there is a line "not run" in the report.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use skillmount::registration::v1::PluginInfo;
use tokio::net::TcpStream;
use tokio::process::Command;
use tonic::Code;

use super::process::{Server, skillmount, tools};
use super::support::driver::{Client, Volume};
use super::support::http::get;
use super::support::kubelet::Registered;
use super::support::{Kubelet, Options, Registry, artifacts, skills, tree};
use super::{namespace, selected};

const REGISTRAR: &str = "csi-node-driver-registrar";
const PROBE: &str = "livenessprobe";

#[test]
fn node_driver_registrar_registers_the_driver() {
    let name = "sidecars::node_driver_registrar_registers_the_driver";
    with(name, REGISTRAR, async |registrar, root| {
        let directory = root.join("plugins_registry");
        fs::create_dir(&directory).unwrap();
        let driver = driver(&root, "registry.example").await;
        assert_eq!(tree::names(&directory), [""; 0], "the driver does not register itself");
        let socket = root.join("csi.sock");
        let address = free();
        let mut command = Command::new(registrar);
        command.args([
            flag("csi-address", &socket),
            flag("kubelet-registration-path", &socket),
            flag("plugin-registration-path", &directory),
            format!("--http-endpoint={address}"),
        ]);
        let ready = |line: &str| line.contains("Registration Server started").then_some(());
        let (registrar, ()) = Server::start(&mut command, ready).await;
        // Not before: its socket has the name a moment before it listens. As the driver itself
        // would tell it:
        let registered = Kubelet::watch(&directory).registers().await;
        let info = PluginInfo {
            r#type: "CSIPlugin".into(),
            name: "csi.skillmount.dev".into(),
            endpoint: socket.display().to_string(),
            supported_versions: vec!["1.0.0".into()],
        };
        assert_eq!(registered, Registered { info, node_id: "node-1".into() });
        assert_eq!(health(address).await, (200, "ok".into()));
        let (status, log) = registrar.stop().await;
        assert!(status.success(), "{status}: {}", log.join("\n"));
        assert_eq!(tree::names(&directory), [""; 0]);
        driver.stop().await;
    });
}

#[test]
fn livenessprobe_tells_of_the_driver_and_not_of_registries() {
    let name = "sidecars::livenessprobe_tells_of_the_driver_and_not_of_registries";
    with(name, PROBE, async |probe, root| {
        let registry = Registry::start(Options::default());
        artifacts::skillimage(&registry, "team/code-review", "v1", &skills::code_review());
        let reference = registry.reference("team/code-review", "v1");
        let driver = driver(&root, &registry.host()).await;
        let address = free();
        let mut command = Command::new(probe);
        command.arg(flag("csi-address", &root.join("csi.sock")));
        command.arg(format!("--http-endpoint={address}"));
        let ready = |line: &str| line.contains("ServeMux listening").then_some(());
        let (probe, ()) = Server::start(&mut command, ready).await;
        let healthy = (200, "ok".to_owned());
        assert_eq!(health(address).await, healthy);

        drop(registry);
        let kubelet = Client::connect(&root.join("csi.sock")).await;
        let refused = kubelet.publish(&Volume::new(&root, "no-registry", &reference)).await;
        assert_eq!(refused.unwrap_err().code(), Code::Unavailable);
        assert_eq!(health(address).await, healthy, "a restart would not bring the registry back");

        driver.kill().await;
        assert_eq!(health(address).await.0, 500);
        let driver = self::driver(&root, "registry.example").await;
        assert_eq!(health(address).await, healthy);
        probe.stop().await;
        driver.stop().await;
    });
}

/// Runs `body` with the tool's path and a directory, if there is the tool; tells how it went.
fn with(test: &str, tool: &str, body: impl AsyncFnOnce(PathBuf, PathBuf)) {
    if !selected(test) {
        return;
    }
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let own = [tools().join("bin")].into_iter().chain(std::env::split_paths(&paths));
    let Some(path) = own.map(|path| path.join(tool)).find(|path| path.is_file()) else {
        report(tool, "not run: not installed");
        return;
    };
    namespace::in_namespace(test, || {
        let root = namespace::scratch();
        tokio::runtime::Runtime::new().unwrap().block_on(body(path, root));
        report(tool, "passed");
    });
}

fn report(tool: &str, outcome: &str) {
    let directory = tools().join("conformance");
    fs::create_dir_all(&directory).unwrap();
    let path = directory.join(format!("sidecar-{tool}.summary"));
    fs::write(path, format!("{tool}: {outcome}\n")).unwrap();
}

async fn driver(root: &Path, registry: &str) -> Server {
    let mut command = skillmount();
    command.arg("node").args(["--node-id", "node-1", "--plain-http", registry]);
    command.args(["--connect-timeout=1", "--log-format=json", "--endpoint"]);
    command.arg(root.join("csi.sock")).arg("--state-dir").arg(root.join("state"));
    Server::start(&mut command, |line| line.contains(r#""serving""#).then_some(())).await.0
}

fn flag(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}

/// An address that nobody listens on: the tools do not tell which they chose.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// What `/healthz` says, once the tool listens: it says so in the log right before.
async fn health(address: SocketAddr) -> (u16, String) {
    while TcpStream::connect(address).await.is_err() {
        tokio::task::yield_now().await;
    }
    get(address, "/healthz").await
}
