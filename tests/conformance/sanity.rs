//! csi-sanity 5.5.0 against `skillmount node`: exactly which specs pass, and none fails.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio::process::Command;

use super::process::{Server, run, skillmount, tools};
use super::support::{Options, Registry, artifacts, skills};
use super::{namespace, selected, shim};

/// What cannot pass without CreateVolume. csi-sanity calls the Controller without asking whether
/// there is one, and these three Node specs begin by making a volume.
const NO_CONTROLLER: &str = concat!(
    r"\[Controller Server\]",
    "|should remove target path",
    "|should fail when volume does not exist on the specified path",
    "|should fail when volume with single node single writer access mode is already mounted",
);

/// The specs that passed, one a line; committed, so that a changed set shows as a difference.
const NODE_SPECS: &str = include_str!("specs-node.txt");
const SHIM_SPECS: &str = include_str!("specs-shim.txt");

/// One run of csi-sanity, and what it must say.
struct Run {
    name: &'static str,
    shim: bool,
    skip: Option<&'static str>,
    specs: &'static str,
}

#[test]
fn identity_and_node_pass_as_they_are() {
    let name = "sanity::identity_and_node_pass_as_they_are";
    let skip = Some(NO_CONTROLLER);
    check(name, Run { name: "node", shim: false, skip, specs: NODE_SPECS });
}

#[test]
fn identity_and_node_pass_beside_a_controller() {
    let name = "sanity::identity_and_node_pass_beside_a_controller";
    check(name, Run { name: "shim", shim: true, skip: None, specs: SHIM_SPECS });
}

fn check(test: &str, run: Run) {
    if selected(test) {
        namespace::in_namespace(test, || {
            let root = namespace::scratch();
            tokio::runtime::Runtime::new().unwrap().block_on(sanity(&root, run));
        });
    }
}

async fn sanity(root: &Path, run: Run) {
    let registry = Registry::start(Options::default());
    artifacts::skillimage(&registry, "team/code-review", "v1", &skills::code_review());
    let socket = root.join("csi.sock");
    let (driver, ()) = driver(root, &socket, &registry.host()).await;
    let shimmed = root.join("shim.sock");
    let shim = if run.shim { Some(shim::start(&shimmed, &socket).await) } else { None };
    let endpoint = if run.shim { &shimmed } else { &socket };
    let reference = registry.reference("team/code-review", "v1");
    let (text, specs) = csi_sanity(root, endpoint, &reference, &run).await;
    if let Some(shim) = shim {
        shim.stop().await;
    }
    let (status, log) = driver.stop().await;
    let having = |states: &[&str]| -> Vec<&str> {
        let found = specs.iter().filter(|(_, state)| states.contains(&state.as_str()));
        found.map(|(spec, _)| spec.as_str()).collect()
    };
    // csi-sanity has one spec that its authors marked as pending.
    let [passed, skipped] = [having(&["passed"]), having(&["skipped", "pending"])];
    let failed = specs.len() - passed.len() - skipped.len();
    report(&run, &passed, failed, skipped.len(), &text, &log);

    assert_eq!(failed, 0, "{text}\n{}", log.join("\n"));
    assert_eq!(passed, run.specs.lines().collect::<Vec<_>>(), "which specs pass");
    let counts = format!("{} Passed | 0 Failed", passed.len());
    assert!(text.contains(&counts), "csi-sanity itself does not say {counts:?}:\n{text}");
    assert!(status.success(), "the driver ended with {status}:\n{}", log.join("\n"));
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let below = format!(" {}/", root.display());
    let left = mounts.lines().filter(|line| line.contains(&below)).collect::<Vec<_>>();
    assert!(left.is_empty(), "mounts are left behind: {left:?}");
    let records = fs::read_dir(root.join("state/volumes")).unwrap().count();
    assert_eq!(records, 0, "records of volumes are left behind");
    if run.shim {
        assert!(registry.count("GET", "/blobs/") > 0, "volumes were really pulled");
    }
}

async fn driver(root: &Path, socket: &Path, registry: &str) -> (Server, ()) {
    let mut command = skillmount();
    command.arg("node").args(["--node-id", "node-1", "--plain-http", registry]);
    command.args(["--log-format", "json", "--endpoint"]).arg(socket);
    command.arg("--state-dir").arg(root.join("state"));
    Server::start(&mut command, |line| line.contains(r#""serving""#).then_some(())).await
}

/// Runs csi-sanity; returns what it wrote, and the state of every spec.
async fn csi_sanity(
    root: &Path,
    endpoint: &Path,
    reference: &str,
    sanity: &Run,
) -> (String, BTreeMap<String, String>) {
    let file = |name: &str, content: &str| -> PathBuf {
        fs::write(root.join(name), content).unwrap();
        root.join(name)
    };
    let parameters = file("parameters.yaml", &format!("reference: {reference}\n"));
    let report = root.join("report.json");
    let mut command = Command::new(tools().join("bin/csi-sanity"));
    let flag = |name: &str, value: &Path| format!("--{name}={}", value.display());
    command.current_dir(root).args(["--ginkgo.no-color", "--ginkgo.seed=1"]).args([
        flag("csi.endpoint", endpoint),
        flag("csi.mountdir", &root.join("mount")),
        flag("csi.stagingdir", &root.join("staging")),
        flag("csi.testvolumeparameters", &parameters),
        flag("ginkgo.json-report", &report),
    ]);
    if let Some(skip) = sanity.skip {
        command.arg(format!("--ginkgo.skip={skip}"));
    }
    let (_, text) = run(&mut command).await;
    let Ok(report) = fs::read(&report) else { panic!("csi-sanity made no report:\n{text}") };
    let report: Value = serde_json::from_slice(&report).unwrap();
    let mut specs = BTreeMap::new();
    for spec in report.as_array().unwrap().iter().flat_map(|suite| list(&suite["SpecReports"])) {
        // Ginkgo reports its own set-up in the same list.
        if spec["LeafNodeType"] == "It" {
            let containers = list(&spec["ContainerHierarchyTexts"]);
            let words = containers.iter().chain([&spec["LeafNodeText"]]);
            let name = words.filter_map(Value::as_str).collect::<Vec<_>>().join(" ");
            let state = spec["State"].as_str().unwrap().to_owned();
            assert!(specs.insert(name.clone(), state).is_none(), "two specs are named {name:?}");
        }
    }
    (text, specs)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Leaves the run's texts and its counts where run.sh prints them from: libtest shows nothing of
/// a test that passes.
fn report(run: &Run, passed: &[&str], failed: usize, skipped: usize, text: &str, log: &[String]) {
    let directory = tools().join("conformance");
    fs::create_dir_all(&directory).unwrap();
    let (name, skip) = (run.name, run.skip.unwrap_or("nothing"));
    let counts = format!(
        "csi-sanity 5.5.0, {name}: {} passed, {failed} failed, {skipped} skipped or pending\n    \
         told to skip: {skip}\n",
        passed.len()
    );
    for (file, content) in [
        (format!("csi-sanity-{name}.summary"), counts),
        (format!("csi-sanity-{name}.log"), text.to_owned()),
        (format!("specs-{name}.txt"), passed.join("\n") + "\n"),
        (format!("skillmount-{name}.log"), log.join("\n")),
    ] {
        fs::write(directory.join(file), content).unwrap();
    }
}
