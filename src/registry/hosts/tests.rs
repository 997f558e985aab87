//! Trees of files on disk, and the routes that they make.

use std::fs;

use super::*;
use crate::reference::Reference;

/// Files of one node, and what reads them.
pub(super) struct Node {
    root: tempfile::TempDir,
    hosts: Hosts,
}

impl Node {
    /// With files below `certs.d` as the tree of containerd, and `registries.conf`, if any of
    /// either is there.
    pub(super) fn new(files: &[(&str, &str)]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let mut config = HostsConfig::default();
        for (name, text) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            if name.starts_with("tree/") && config.directories.is_empty() {
                config.directories = vec![root.path().join("tree"), root.path().join("tree2")];
            }
            if name.starts_with("conf/") {
                config.registries_conf = Some(root.path().join("conf/registries.conf"));
            }
        }
        Self { root, hosts: Hosts::new(config) }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// The hosts of a reference in their order, or why there are none.
    pub(super) fn told(&self, reference: &str) -> Vec<String> {
        let reference: Reference = reference.parse().unwrap();
        let routes = self.hosts.routes(reference.repository());
        let routes = routes.and_then(|routes| routes.fitting(&reference.selector()));
        match routes {
            Ok(routes) => routes.iter().map(|route| line(route)).collect(),
            Err(error) => {
                let text = crate::observability::chain(&error);
                vec![text.replace(&self.root.path().display().to_string(), "")]
            }
        }
    }
}

/// `either://mirror:5000/v2 acme/skill as mirror:5000/acme/skill, ns=r.example, …`.
fn line(route: &Route) -> String {
    let scheme = match route.scheme {
        Scheme::Usual => "usual",
        Scheme::Https => "https",
        Scheme::Http => "http",
        Scheme::Either => "either",
    };
    let mut line = format!("{scheme}://{}{} {}", route.host, route.base, route.path);
    match &route.repository {
        Some(repository) => line += &format!(" as {repository}"),
        None => line += " as nothing",
    }
    if let Some(namespace) = &route.namespace {
        line += &format!(", ns={namespace}");
    }
    if route.is_mirror && route.namespace.is_none() {
        line += ", mirror";
    }
    let Setup { tls, dial_timeout, headers } = &*route.setup;
    if !tls.authorities.is_empty() {
        line += &format!(", ca {}", tls.authorities.len());
    }
    if tls.client.is_some() {
        line += ", client";
    }
    if tls.skip_verify {
        line += ", unverified";
    }
    if let Some(timeout) = dial_timeout {
        line += &format!(", {timeout:?}");
    }
    for (name, value) in headers {
        line += &format!(", {name}: {}", value.to_str().unwrap());
    }
    line
}

/// A certificate and its key.
pub(super) fn pair() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

pub(super) const DIGEST: &str =
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[test]
fn without_configuration_there_is_the_registry() {
    let node = Node::new(&[]);
    assert!(node.hosts.is_empty());
    assert_eq!(node.told("r.example/a:v1"), ["usual://r.example/v2 a as r.example/a"]);
    assert_eq!(
        node.told("skill"),
        ["usual://registry-1.docker.io/v2 library/skill as docker.io/library/skill"]
    );
}

#[test]
fn directories_are_looked_up_as_in_containerd() {
    let mirror = |name: &str| format!("server = \"https://{name}\"\n");
    for (directories, reference, expected) in [
        (&["tree/r.example"][..], "r.example/a", "tree-r.example"),
        (&["tree/r.example"], "r.example:5000/a", "usual://r.example:5000"),
        (
            &["tree/r.example_5000_", "tree/r.example:5000"],
            "r.example:5000/a",
            "tree-r.example_5000_",
        ),
        (&["tree/r.example:5000", "tree/_default"], "r.example:5000/a", "tree-r.example:5000"),
        (&["tree/_default", "tree2/r.example"], "r.example/a", "tree-_default"),
        (&["tree/other", "tree2/r.example"], "r.example/a", "tree2-r.example"),
        (&["tree/other", "tree2/_default"], "r.example/a", "tree2-_default"),
        (&["tree/docker.io"], "skill", "tree-docker.io"),
        (&["tree/registry-1.docker.io"], "skill", "usual://registry-1.docker.io"),
        (&["tree/[::1]_5000_"], "[::1]:5000/a", "tree-[::1]_5000_"),
    ] {
        let host = |directory: &str| directory.replace(['/', '_', ':', '[', ']'], "-");
        let texts: Vec<_> = directories
            .iter()
            .map(|directory| (format!("{directory}/hosts.toml"), mirror(&host(directory))))
            .collect();
        let files: Vec<_> =
            texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let told = Node::new(&files).told(reference);
        let expected = match expected.contains("://") {
            true => format!("{expected}/v2 "),
            false => format!("https://{}/v2 ", host(expected)),
        };
        assert!(told[0].starts_with(&expected), "{directories:?} {reference}: {told:?}");
        assert_eq!(told.len(), 1);
    }
}

#[test]
fn a_tree_comes_before_registries_conf() {
    let files = [
        ("tree/r.example/hosts.toml", "server = \"https://tree\""),
        (
            "conf/registries.conf",
            "[[registry]]\nlocation = \"r.example\"\nblocked = true\n\
             [[registry]]\nprefix = \"s.example\"\nlocation = \"conf\"",
        ),
    ];
    let node = Node::new(&files);
    assert_eq!(node.told("r.example/a"), ["https://tree/v2 a as tree/a, ns=r.example"]);
    assert_eq!(node.told("s.example/a"), ["usual://conf/v2 a as conf/a, mirror"]);
    assert_eq!(node.told("t.example/a"), ["usual://t.example/v2 a as t.example/a"]);
}

#[test]
fn changes_count_at_once() {
    let node = Node::new(&[("tree/r.example/hosts.toml", "server = \"https://one\"")]);
    assert_eq!(node.told("r.example/a"), ["https://one/v2 a as one/a, ns=r.example"]);
    node.write("tree/r.example/hosts.toml", "server = \"https://two\"");
    assert_eq!(node.told("r.example/a"), ["https://two/v2 a as two/a, ns=r.example"]);
    fs::rename(node.path("tree/r.example"), node.path("tree/other")).unwrap();
    assert_eq!(node.told("r.example/a"), ["usual://r.example/v2 a as r.example/a"]);
}

#[test]
fn dockers_layout_of_certificates_is_read() {
    let (certificate, key) = pair();
    for (tree, files, expected) in [
        ("tree/r.example", &[("ca.crt", &certificate)][..], ", ca 1"),
        ("tree/r.example", &[("a.crt", &certificate), ("b.crt", &certificate)], ", ca 2"),
        ("tree/r.example", &[("c.cert", &certificate), ("c.key", &key)], ", client"),
        ("tree/r.example", &[("readme.txt", &key)], ""),
        ("conf/certs.d/r.example", &[("ca.crt", &certificate)], ", ca 1"),
        (
            "conf/certs.d/r.example",
            &[("ca.crt", &certificate), ("c.cert", &certificate), ("c.key", &key)],
            ", ca 1, client",
        ),
    ] {
        let empty = String::new();
        let mut texts: Vec<_> =
            files.iter().map(|(name, text)| (format!("{tree}/{name}"), *text)).collect();
        if tree.starts_with("conf") {
            texts.push(("conf/registries.conf".into(), &empty));
        }
        let files: Vec<_> =
            texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let expected = format!("usual://r.example/v2 a as r.example/a{expected}");
        assert_eq!(Node::new(&files).told("r.example/a"), [expected], "{files:?}");
    }
    for (files, expected) in [
        (
            &[("tree/r.example/a.crt", "nonsense")][..],
            "\"/tree/r.example/a.crt\" holds no PEM certificates",
        ),
        (
            &[("tree/r.example/a.key", key.as_str())],
            "\"/tree/r.example/a.key\" is a key without the .cert file of its name",
        ),
        (
            &[("tree/r.example/a.cert", certificate.as_str())],
            "cannot read \"/tree/r.example/a.key\": entity not found",
        ),
        (
            &[("tree/r.example/a.cert", certificate.as_str()), ("tree/r.example/a.key", "x")],
            "\"/tree/r.example/a.cert\" holds no PEM certificate with its key",
        ),
    ] {
        assert_eq!(Node::new(files).told("r.example/a"), [expected]);
    }
}
