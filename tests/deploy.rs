//! What is shipped to deploy the driver fits together: every file parses, and says the same as
//! the code and the other files about names, paths, flags and versions.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

#[path = "support/attributes.rs"]
mod attributes;
#[path = "deploy/chart.rs"]
mod chart;
#[path = "deploy/events.rs"]
mod events;
#[path = "deploy/monitoring.rs"]
mod monitoring;
#[path = "deploy/providers.rs"]
mod providers;
#[path = "support/rights.rs"]
#[allow(dead_code, reason = "shared with tests that look rights up")]
#[allow(unreachable_pub, reason = "shared with other test binaries")]
mod rights;
#[path = "deploy/secret_access.rs"]
mod secret_access;
#[path = "support/yaml.rs"]
mod yaml;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use yaml::{Node, parse};

const DRIVER: &str = "csi.skillmount.dev";

/// The variables of `skillmount node` that the base uses.
const VARIABLES: [&str; 2] = ["NODE_NAME", "SKILLMOUNT_KUBELET_ENDPOINT"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

fn load(path: &Path) -> Vec<Node> {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    parse(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Every YAML file below `deploy/`, but for the chart's, which are YAML only once Helm is done.
fn files() -> Vec<PathBuf> {
    let (mut files, mut directories) = (Vec::new(), vec![root()]);
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true if path.ends_with("helm") => {}
                true => directories.push(path),
                false if path.extension().is_some_and(|e| e == "yaml") => files.push(path),
                false => {}
            }
        }
    }
    files.sort();
    files
}

fn documents() -> Vec<(PathBuf, Node)> {
    let load = |path: PathBuf| load(&path).into_iter().map(move |node| (path.clone(), node));
    files().into_iter().flat_map(load).collect()
}

fn base(name: &str) -> Node {
    load(&root().join("kustomize/base").join(name)).remove(0)
}

fn pod_spec() -> Node {
    base("daemonset.yaml").at("spec/template/spec").clone()
}

fn container() -> Node {
    pod_spec().list("containers")[0].clone()
}

fn argument(flag: &str) -> String {
    let container = container();
    let mut arguments = container.list("args").iter().map(Node::scalar);
    let value = arguments.find_map(|argument| argument.strip_prefix(flag)?.strip_prefix('='));
    value.unwrap_or_else(|| panic!("no {flag}")).to_owned()
}

fn mount(volume: &str) -> Node {
    container().named("volumeMounts", volume).clone()
}

fn host_path(volume: &str) -> String {
    pod_spec().named("volumes", volume).text("hostPath/path").to_owned()
}

/// What `skillmount node` says of itself.
fn help() -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_skillmount"))
        .args(["node", "--help"])
        .env_clear()
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The flags that `skillmount node` has.
fn flags() -> BTreeSet<String> {
    let help = help();
    let lines = help.lines().map(str::trim_start).map(|line| line.trim_start_matches("-h, "));
    let flags = lines.filter(|line| line.starts_with("--"));
    flags.map(|line| line.split([' ', ',', '[']).next().unwrap().to_owned()).collect()
}

#[test]
fn every_document_is_an_object() {
    let documents = documents();
    assert!(documents.len() > 12, "{}", documents.len());
    for (path, document) in &documents {
        assert!(document.find("apiVersion").is_some(), "{}", path.display());
        assert!(document.find("kind").is_some(), "{}", path.display());
    }
}

#[test]
fn kustomizations_name_the_files_that_are_there() {
    for path in files().iter().filter(|path| path.ends_with("kustomization.yaml")) {
        let directory = path.parent().unwrap();
        let document = load(path).remove(0);
        let mut named = vec![path.clone()];
        for key in ["resources", "components"] {
            if document.find(key).is_some() {
                let names = document.list(key).iter().map(Node::scalar);
                named.extend(names.map(|name| directory.join(name)));
            }
        }
        if document.find("patches").is_some() {
            // A patch may also be written out.
            let patches = document.list("patches").iter().filter_map(|patch| patch.find("path"));
            named.extend(patches.map(|path| directory.join(path.scalar())));
        }
        for name in &named {
            assert!(name.exists(), "{} names {}", path.display(), name.display());
        }
        for file in files().iter().filter(|file| file.parent() == Some(directory)) {
            assert!(named.contains(file), "{} forgets {}", path.display(), file.display());
        }
    }
}

#[test]
fn flags_and_variables_exist() {
    let container = container();
    let arguments: Vec<&str> = container.list("args").iter().map(Node::scalar).collect();
    assert_eq!(arguments[0], "node");
    let known = flags();
    for argument in &arguments[1..] {
        let flag = argument.split('=').next().unwrap();
        assert!(known.contains(flag), "{flag}");
    }
    let variables = container.list("env").iter().map(|variable| variable.text("name"));
    assert_eq!(variables.collect::<Vec<_>>(), VARIABLES);
}

#[test]
fn versions_are_the_crates() {
    let version = env!("CARGO_PKG_VERSION");
    assert!(container().text("image").ends_with(&format!("/skillmount:{version}")));
    let dockerfile = include_str!("../Dockerfile");
    let label = format!("org.opencontainers.image.version=\"{version}\"");
    assert!(dockerfile.contains(&label), "{label}");
    assert!(dockerfile.contains("cargo build --profile dist --locked"));
}

#[test]
fn the_driver_has_one_name() {
    assert_eq!(base("csidriver.yaml").text("metadata/name"), DRIVER);
    assert!(host_path("plugin").ends_with(&format!("/plugins/{DRIVER}")));
    let mut volumes = 0;
    for (path, document) in documents() {
        document.walk(&mut |node| {
            if let Some(csi) = node.find("csi") {
                assert_eq!(csi.text("driver"), DRIVER, "{}", path.display());
                volumes += 1;
            }
        });
    }
    assert_eq!(volumes, 3);
    let policy = include_str!("../deploy/samples/validating-admission-policy.yaml");
    assert_eq!(policy.matches(&format!("v.csi.driver == '{DRIVER}'")).count(), 2);
    assert_eq!(policy.matches("v.csi.driver ==").count(), 2);
}

#[test]
fn kubelet_and_the_driver_mean_the_same_places() {
    let socket = argument("--endpoint");
    let name =
        socket.strip_prefix("unix://").unwrap().strip_prefix(mount("plugin").text("mountPath"));
    let container = container();
    let endpoint = container.named("env", "SKILLMOUNT_KUBELET_ENDPOINT").text("value");
    assert_eq!(endpoint, format!("{}{}", host_path("plugin"), name.unwrap()));
    assert_eq!(argument("--registration-dir"), mount("registration").text("mountPath"));
    assert_eq!(argument("--state-dir"), mount("state").text("mountPath"));
    assert_eq!(mount("pods").text("mountPath"), host_path("pods"));
    let kubelet = host_path("pods").strip_suffix("/pods").unwrap().to_owned();
    assert_eq!(host_path("registration"), format!("{kubelet}/plugins_registry"));
    assert!(!host_path("state").starts_with(&kubelet), "kubelet deletes what it does not know");
}

#[test]
fn only_pods_propagate_and_only_therefore_is_it_privileged() {
    let container = container();
    for volume in container.list("volumeMounts") {
        let propagation = volume.find("mountPropagation").map_or("None", Node::scalar);
        let expected = if volume.text("name") == "pods" { "Bidirectional" } else { "None" };
        assert_eq!(propagation, expected, "{}", volume.text("name"));
    }
    assert_eq!(container.text("securityContext/privileged"), "true");
    assert_eq!(container.text("securityContext/readOnlyRootFilesystem"), "true");
    assert_eq!(pod_spec().text("hostNetwork"), "false");
}

#[test]
fn the_network_policy_is_about_the_drivers_pods() {
    let policy = root().join("kustomize/components/network-policy/networkpolicy.yaml");
    let policy = load(&policy).remove(0);
    let labels = base("daemonset.yaml").at("spec/template/metadata/labels").clone();
    assert_eq!(*policy.at("spec/podSelector/matchLabels"), labels);
    let port = policy.list("spec/ingress")[0].list("ports")[0].text("port").to_owned();
    assert_eq!(port, container().list("ports")[0].text("name"));
}

#[test]
fn by_default_the_driver_may_ask_the_api_server_for_nothing() {
    assert_eq!(base("serviceaccount.yaml").text("automountServiceAccountToken"), "false");
    assert_eq!(pod_spec().text("automountServiceAccountToken"), "false");
    for (path, document) in documents() {
        if secret_access::gives_rights(&path) || events::gives_rights(&path) {
            continue;
        }
        let kind = document.text("kind");
        let binds = kind == "RoleBinding" && path.parent().unwrap().ends_with("openshift");
        if binds {
            // To use a security context constraint is all that this role allows.
            assert_eq!(document.text("roleRef/name"), "system:openshift:scc:privileged");
        }
        assert!(binds || !kind.contains("Role"), "{}: {kind}", path.display());
        assert_ne!(kind, "Secret", "{}", path.display());
        document.walk(&mut |node| assert!(node.find("verbs").is_none(), "{}", path.display()));
    }
}

#[test]
fn samples_are_read_only_and_ones_that_the_driver_mounts() {
    let mut volumes = 0;
    for (path, document) in documents() {
        if document.text("kind") != "Pod" {
            continue;
        }
        for volume in document.list("spec/volumes") {
            assert_eq!(volume.text("csi/readOnly"), "true", "{}", path.display());
            let place = path.display().to_string();
            let text = fs::read_to_string(&path).unwrap();
            attributes::check(volume.at("csi/volumeAttributes"), &place, &text);
            volumes += 1;
            for container in document.list("spec/containers") {
                let mount = container.named("volumeMounts", volume.text("name"));
                assert_eq!(mount.text("readOnly"), "true", "{}", path.display());
            }
        }
    }
    assert_eq!(volumes, 3);
}

#[test]
fn calls_have_their_answer_before_kubelet_kills_the_driver() {
    let killed: u64 = pod_spec().text("terminationGracePeriodSeconds").parse().unwrap();
    let help = help();
    let (_, flag) = help.split_once("--stop-grace <SECONDS>").unwrap();
    let (_, default) = flag.split_once("[default: ").unwrap();
    let grace: u64 = default.split(']').next().unwrap().parse().unwrap();
    assert!(grace + 8 <= killed, "{grace} s of {killed} s");
}
