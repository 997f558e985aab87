//! What the tests of this module share: documents and trees written short.

use super::contents::Contents;
use super::document::{Document, Index, Manifest};
use super::path::TreePath;
use super::tree::{Dir, File, Node, Symlink, Tree};
use crate::reference::Digest;
use std::collections::BTreeMap;

/// The digest of a text, for descriptors.
pub(super) fn digest(text: &str) -> Digest {
    Digest::sha256(text.as_bytes())
}

/// A path.
pub(super) fn path(text: &str) -> TreePath {
    TreePath::parse(text.as_bytes()).unwrap()
}

/// `@x` stands for the digest of `x`.
fn with_digests(json: &str) -> serde_json::Value {
    fn replace(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::String(text) => {
                if let Some(name) = text.strip_prefix('@') {
                    *text = digest(name).to_string();
                }
            }
            serde_json::Value::Array(items) => items.iter_mut().for_each(replace),
            serde_json::Value::Object(map) => map.values_mut().for_each(replace),
            _ => {}
        }
    }
    let mut value: serde_json::Value = serde_json::from_str(json).unwrap();
    replace(&mut value);
    value
}

/// A manifest from its interesting fields.
pub(super) fn manifest(json: &str) -> Manifest {
    let mut value = with_digests(json);
    value["schemaVersion"] = 2.into();
    value["mediaType"] = super::media_types::OCI_MANIFEST.into();
    match Document::parse(value.to_string().as_bytes(), None).unwrap() {
        Document::Manifest(manifest) => manifest,
        Document::Index(_) => panic!("an index"),
    }
}

/// An index from its interesting fields.
pub(super) fn index(json: &str) -> Index {
    let mut value = with_digests(json);
    value["schemaVersion"] = 2.into();
    value["mediaType"] = super::media_types::OCI_INDEX.into();
    match Document::parse(value.to_string().as_bytes(), None).unwrap() {
        Document::Index(index) => index,
        Document::Manifest(_) => panic!("a manifest"),
    }
}

/// A tree and its files' bytes.
#[derive(Default)]
pub(super) struct Files {
    pub(super) tree: Tree,
    bytes: BTreeMap<TreePath, Vec<u8>>,
}

impl Files {
    /// `path` is a file; `path/` an empty directory; `path -> target` a link.
    pub(super) fn of(entries: &[(&str, &str)]) -> Self {
        let mut files = Self::default();
        for (name, text) in entries {
            files.add(name, text.as_bytes());
        }
        files
    }

    pub(super) fn add(&mut self, name: &str, bytes: &[u8]) {
        if let Some(dir) = name.strip_suffix('/') {
            Self::dir(self.tree.root_mut(), &path(dir));
            return;
        }
        let (name, node) = match name.split_once(" -> ") {
            Some((name, target)) => {
                (name, Node::Symlink(Symlink { target: target.into(), layer: 0 }))
            }
            None => {
                self.bytes.insert(path(name), bytes.to_vec());
                let size = bytes.len() as u64;
                (name, Node::File(File { size, executable: false, layer: 0 }))
            }
        };
        let name = path(name);
        let dir = Self::dir(self.tree.root_mut(), &name.parent().unwrap());
        dir.entries.insert(name.name().unwrap().to_owned(), node);
    }

    fn dir<'a>(root: &'a mut Dir, path: &TreePath) -> &'a mut Dir {
        let mut dir = root;
        for component in path.components() {
            let node = dir.entries.entry(component.clone()).or_insert(Node::Dir(Dir::default()));
            let Node::Dir(next) = node else { panic!("{path} goes through a file") };
            dir = next;
        }
        dir
    }

    /// The bytes alone, so that tree and contents can be borrowed at once.
    pub(super) fn split(self) -> (Tree, Bytes) {
        (self.tree, Bytes(self.bytes))
    }
}

/// Contents in memory.
pub(super) struct Bytes(BTreeMap<TreePath, Vec<u8>>);

impl Contents for Bytes {
    fn read(&mut self, path: &TreePath, max: u64) -> std::io::Result<Vec<u8>> {
        let bytes = self.0.get(path).ok_or(std::io::ErrorKind::NotFound)?;
        match bytes.len() as u64 > max {
            true => Err(std::io::ErrorKind::FileTooLarge.into()),
            false => Ok(bytes.clone()),
        }
    }
}
