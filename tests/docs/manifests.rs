//! The YAML of the book is what a reader takes it for: it parses, a manifest says what it is, and a
//! volume of the driver says what the driver understands.
//!
//! `SKILLMOUNT_DOCS_YAML_OUT=DIR cargo test --test docs` also writes each whole manifest to a file
//! in DIR, named by page and line, for a validator that knows the schemas of Kubernetes. What is
//! not Kubernetes' own (a Kustomization, the custom resources of others) is among them.

use std::fs;
use std::path::{Path, PathBuf};

use super::yaml::{Node, parse};
use super::{attributes, documents, root};

const DRIVER: &str = "csi.skillmount.dev";

/// Kinds of files, which have no name since no API server holds them.
const FILES: [&str; 2] = ["Kustomization", "CredentialProviderConfig"];

/// Where whole manifests are written to.
const OUT: &str = "SKILLMOUNT_DOCS_YAML_OUT";

/// A block between fences.
struct Block {
    document: PathBuf,
    /// The line of its first fence.
    line: usize,
    text: String,
}

impl Block {
    fn place(&self) -> String {
        let document = self.document.strip_prefix(root()).unwrap();
        format!("{}:{}", document.display(), self.line)
    }

    fn nodes(&self) -> Vec<Node> {
        parse(&self.text).unwrap_or_else(|error| panic!("{}: {error}", self.place()))
    }

    /// Whether it can be applied as it is, and is not a piece to put into something.
    fn is_manifest(&self) -> bool {
        let top = ["apiVersion", "kind", "metadata", "spec"];
        self.nodes().iter().any(|node| top.iter().any(|key| node.find(key).is_some()))
    }
}

/// The blocks of YAML of all documents.
fn blocks() -> Vec<Block> {
    let mut blocks = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        let mut lines = text.lines().zip(1..);
        while let Some((line, number)) = lines.next() {
            let Some(language) = line.trim_start().strip_prefix("```") else { continue };
            let inside = lines.by_ref().map(|(line, _)| line);
            let inside: Vec<&str> =
                inside.take_while(|line| !line.trim_start().starts_with("```")).collect();
            assert!(
                !matches!(language, "yml" | "YAML"),
                "{}:{number}: write yaml",
                document.display()
            );
            if language == "yaml" {
                let text = inside.join("\n") + "\n";
                blocks.push(Block { document: document.clone(), line: number, text });
            }
        }
    }
    blocks
}

#[test]
fn every_manifest_says_what_it_is() {
    let out = std::env::var_os(OUT).map(PathBuf::from);
    let mut manifests = 0;
    for block in blocks() {
        let place = block.place();
        let nodes = block.nodes();
        assert!(!nodes.is_empty(), "{place} is empty");
        if !block.is_manifest() {
            continue;
        }
        for node in nodes {
            for key in ["apiVersion", "kind"] {
                assert!(node.find(key).is_some(), "{place} has no {key}");
            }
            if !FILES.contains(&node.text("kind")) {
                assert!(!node.text("metadata/name").is_empty(), "{place}");
            }
            manifests += 1;
        }
        if let Some(out) = &out {
            write(out, &block);
        }
    }
    assert!(manifests > 10, "only {manifests} manifests were found");
}

fn write(out: &Path, block: &Block) {
    let page = block.document.file_stem().unwrap().to_str().unwrap();
    let file = out.join(format!("{page}-{}.yaml", block.line));
    fs::create_dir_all(out).unwrap();
    fs::write(&file, &block.text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
}

#[test]
fn every_volume_is_one_that_the_driver_mounts() {
    let mut volumes = 0;
    for block in blocks() {
        let place = block.place();
        for document in block.nodes() {
            document.walk(&mut |node| {
                let driver = node.find("driver").map(Node::scalar);
                if driver == Some(DRIVER) {
                    let Node::Map(fields) = node else { panic!("{place}") };
                    for (field, _) in fields {
                        let known =
                            ["driver", "readOnly", "nodePublishSecretRef", "volumeAttributes"];
                        assert!(known.contains(&field.as_str()), "{place}: {field}");
                    }
                    assert_eq!(node.text("readOnly"), "true", "{place}");
                }
                // A piece of a volume is taken for the driver's.
                let (Some(found), None | Some(DRIVER)) = (node.find("volumeAttributes"), driver)
                else {
                    return;
                };
                attributes::check(found, &place, &block.text);
                volumes += 1;
            });
        }
    }
    assert!(volumes > 12, "only {volumes} volumes were found");
}

#[test]
fn every_pod_mounts_its_skills_read_only() {
    let mut mounts = 0;
    for block in blocks() {
        let place = block.place();
        for document in block.nodes() {
            document.walk(&mut |pod| {
                if pod.find("containers").is_none() || pod.find("volumes").is_none() {
                    return;
                }
                let volumes = pod.list("volumes");
                for container in pod.list("containers") {
                    if container.find("volumeMounts").is_none() {
                        continue;
                    }
                    for mount in container.list("volumeMounts") {
                        let name = mount.text("name");
                        let volume = volumes.iter().find(|volume| volume.text("name") == name);
                        let volume =
                            volume.unwrap_or_else(|| panic!("{place}: no volume {name:?}"));
                        let csi = volume.find("csi").and_then(|csi| csi.find("driver"));
                        if csi.map(Node::scalar) == Some(DRIVER) {
                            let read_only = mount.find("readOnly").map(Node::scalar);
                            assert_eq!(read_only, Some("true"), "{place}: {name}");
                            mounts += 1;
                        }
                    }
                }
            });
        }
    }
    assert!(mounts > 5, "only {mounts} mounts were found");
}
