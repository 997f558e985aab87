//! What is shipped to deploy the driver fits together: every file parses, and says the same as
//! the code and the other files about names, paths, flags and versions.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

#[path = "deploy/monitoring.rs"]
mod monitoring;

use std::fs;
use std::path::{Path, PathBuf};

use saphyr_parser::{Event, Parser};

const DRIVER: &str = "csi.skillmount.dev";

/// The flags and variables of `skillmount node` that a manifest may use.
const FLAGS: [&str; 28] = [
    "--ca-file",
    "--connect-timeout",
    "--driver-name",
    "--endpoint",
    "--http-endpoint",
    "--kubelet-endpoint",
    "--log-format",
    "--log-level",
    "--max-concurrent-downloads",
    "--max-concurrent-pulls",
    "--max-depth",
    "--max-entries",
    "--max-file-bytes",
    "--max-layers",
    "--max-manifest-bytes",
    "--max-ratio",
    "--max-skill-md-bytes",
    "--max-unpacked-bytes",
    "--max-zstd-window-log",
    "--mirror-credentials",
    "--node-id",
    "--plain-http",
    "--pull-timeout",
    "--read-timeout",
    "--registration-dir",
    "--registries-conf",
    "--registry-hosts-dir",
    "--state-dir",
];
const VARIABLES: [&str; 2] = ["NODE_NAME", "SKILLMOUNT_KUBELET_ENDPOINT"];

/// The volume attributes of the driver.
const ATTRIBUTES: [&str; 9] = [
    "reference",
    "pullPolicy",
    "layout",
    "skills",
    "name",
    "validation",
    "pullSecrets",
    "noexec",
    "seal",
];

/// A YAML node. Scalars stay text: nothing here depends on their types.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    fn find(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(pairs) => pairs.iter().find(|(name, _)| name == key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// Goes down a path of keys, separated by slashes.
    fn at(&self, path: &str) -> &Self {
        path.split('/').fold(self, |node, key| {
            node.find(key).unwrap_or_else(|| panic!("no {key:?} of {path:?} in {node:?}"))
        })
    }

    fn text(&self, path: &str) -> &str {
        match self.at(path) {
            Self::Scalar(text) => text,
            other => panic!("{path:?} is {other:?}"),
        }
    }

    fn list(&self, path: &str) -> &[Self] {
        match self.at(path) {
            Self::List(items) => items,
            other => panic!("{path:?} is {other:?}"),
        }
    }

    /// The item of a list that has this name.
    fn named(&self, path: &str, name: &str) -> &Self {
        let mut items = self.list(path).iter();
        items.find(|item| item.text("name") == name).unwrap_or_else(|| panic!("no {name:?}"))
    }

    fn scalar(&self) -> &str {
        match self {
            Self::Scalar(text) => text,
            other => panic!("{other:?} is not a scalar"),
        }
    }

    fn walk(&self, see: &mut dyn FnMut(&Self)) {
        see(self);
        match self {
            Self::Scalar(_) => {}
            Self::List(items) => items.iter().for_each(|item| item.walk(see)),
            Self::Map(pairs) => pairs.iter().for_each(|(_, node)| node.walk(see)),
        }
    }
}

/// One node from the events that follow `event`.
fn node(event: Event<'_>, events: &mut dyn Iterator<Item = Event<'static>>) -> Node {
    match event {
        Event::Scalar(text, ..) => Node::Scalar(text.into_owned()),
        Event::SequenceStart(..) => {
            let mut items = Vec::new();
            loop {
                match events.next().unwrap() {
                    Event::SequenceEnd => return Node::List(items),
                    event => items.push(node(event, events)),
                }
            }
        }
        Event::MappingStart(..) => {
            let mut pairs: Vec<(String, Node)> = Vec::new();
            loop {
                let key = match events.next().unwrap() {
                    Event::MappingEnd => return Node::Map(pairs),
                    event => node(event, events).scalar().to_owned(),
                };
                assert!(pairs.iter().all(|(known, _)| *known != key), "{key:?} is there twice");
                let value = events.next().unwrap();
                pairs.push((key, node(value, events)));
            }
        }
        other => panic!("unexpected {other:?}"),
    }
}

fn parse(text: &'static str) -> Vec<Node> {
    let mut events = Parser::new_from_str(text).map(|event| event.unwrap().0);
    let mut documents = Vec::new();
    while let Some(event) = events.next() {
        match event {
            Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(..)
            | Event::DocumentEnd => {}
            event => documents.push(node(event, &mut events)),
        }
    }
    documents
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

fn load(path: &Path) -> Vec<Node> {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    parse(text.leak())
}

/// Every YAML file below `deploy/`.
fn files() -> Vec<PathBuf> {
    let (mut files, mut directories) = (Vec::new(), vec![root()]);
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
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
            let patches = document.list("patches").iter();
            named.extend(patches.map(|patch| directory.join(patch.text("path"))));
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
    for argument in &arguments[1..] {
        let flag = argument.split('=').next().unwrap();
        assert!(FLAGS.contains(&flag), "{flag}");
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
fn the_driver_may_ask_the_api_server_for_nothing() {
    assert_eq!(base("serviceaccount.yaml").text("automountServiceAccountToken"), "false");
    assert_eq!(pod_spec().text("automountServiceAccountToken"), "false");
    for (path, document) in documents() {
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
fn samples_are_read_only_and_use_known_attributes() {
    for (path, document) in documents() {
        if document.text("kind") != "Pod" {
            continue;
        }
        for volume in document.list("spec/volumes") {
            assert_eq!(volume.text("csi/readOnly"), "true", "{}", path.display());
            let Node::Map(attributes) = volume.at("csi/volumeAttributes") else { panic!() };
            for (key, _) in attributes {
                assert!(ATTRIBUTES.contains(&key.as_str()), "{}: {key}", path.display());
            }
            for container in document.list("spec/containers") {
                let mount = container.named("volumeMounts", volume.text("name"));
                assert_eq!(mount.text("readOnly"), "true", "{}", path.display());
            }
            for reference in volume.text("csi/volumeAttributes/reference").split_whitespace() {
                assert!(
                    reference.parse::<skillmount::reference::Reference>().is_ok(),
                    "{reference}"
                );
            }
        }
    }
}
