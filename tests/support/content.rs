//! What the registry holds, in memory.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use serde_json::{Value, json};
use skillmount::reference::Digest;

/// A pointer to content, as it stands in manifests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    pub digest: Digest,
    pub size: u64,
}

impl Descriptor {
    pub fn of(bytes: &[u8]) -> Self {
        Self { digest: Digest::sha256(bytes), size: bytes.len() as u64 }
    }

    /// `{"mediaType", "digest", "size"}`.
    pub fn json(&self, media_type: &str) -> Value {
        json!({"mediaType": media_type, "digest": self.digest.to_string(), "size": self.size})
    }

    /// The same with annotations.
    pub fn annotated(&self, media_type: &str, annotations: Value) -> Value {
        let mut descriptor = self.json(media_type);
        descriptor["annotations"] = annotations;
        descriptor
    }
}

#[derive(Debug, Clone)]
pub(super) struct Manifest {
    pub digest: Digest,
    pub media_type: String,
    pub body: Bytes,
}

#[derive(Debug, Default)]
pub(super) struct Content {
    blobs: HashMap<String, Bytes>,
    /// Which blobs a repository has. A blob of another repository is not found, as in life.
    linked: HashSet<(String, String)>,
    manifests: HashMap<(String, String), Manifest>,
    tags: BTreeMap<(String, String), Digest>,
    uploads: HashMap<String, Vec<u8>>,
    next_upload: u64,
}

impl Content {
    pub(super) fn put_blob(&mut self, bytes: Bytes) -> Descriptor {
        let descriptor = Descriptor::of(&bytes);
        self.blobs.insert(descriptor.digest.to_string(), bytes);
        descriptor
    }

    pub(super) fn link(&mut self, repository: &str, digest: &str) {
        self.linked.insert((repository.into(), digest.into()));
    }

    pub(super) fn has_blob(&self, repository: &str, digest: &str) -> bool {
        self.linked.contains(&(repository.into(), digest.into())) && self.blobs.contains_key(digest)
    }

    pub(super) fn blob(&self, repository: &str, digest: &str) -> Option<Bytes> {
        self.has_blob(repository, digest).then(|| self.blobs[digest].clone())
    }

    /// A blob of any repository: what a storage back end holds.
    pub(super) fn any_blob(&self, digest: &str) -> Option<Bytes> {
        self.blobs.get(digest).cloned()
    }

    pub(super) fn remove_blob(&mut self, digest: &str) {
        self.blobs.remove(digest);
    }

    /// Stores a manifest and links what it names.
    pub(super) fn put_manifest(
        &mut self,
        repository: &str,
        tag: Option<&str>,
        media_type: &str,
        body: Bytes,
    ) -> Digest {
        let digest = Digest::sha256(&body);
        for blob in blobs_of(&body) {
            self.link(repository, &blob);
        }
        let manifest = Manifest { digest: digest.clone(), media_type: media_type.into(), body };
        self.manifests.insert((repository.into(), digest.to_string()), manifest);
        if let Some(tag) = tag {
            self.tags.insert((repository.into(), tag.into()), digest.clone());
        }
        digest
    }

    pub(super) fn manifest(&self, repository: &str, selector: &str) -> Option<Manifest> {
        let digest = match self.tags.get(&(repository.to_owned(), selector.to_owned())) {
            Some(digest) => digest.to_string(),
            None => selector.to_owned(),
        };
        self.manifests.get(&(repository.to_owned(), digest)).cloned()
    }

    pub(super) fn remove_manifest(&mut self, repository: &str, selector: &str) -> bool {
        let key = (repository.to_owned(), selector.to_owned());
        self.tags.remove(&key).is_some() || self.manifests.remove(&key).is_some()
    }

    pub(super) fn tags(&self, repository: &str) -> Vec<String> {
        let all = self.tags.keys().filter(|(known, _)| known == repository);
        all.map(|(_, tag)| tag.clone()).collect()
    }

    pub(super) fn knows(&self, repository: &str) -> bool {
        self.manifests.keys().any(|(known, _)| known == repository)
    }

    /// Descriptors of the manifests whose `subject` is `digest`, in the order of their digests.
    pub(super) fn referrers(&self, repository: &str, digest: &str) -> Vec<Value> {
        let mut found = BTreeMap::new();
        for ((known, own), manifest) in &self.manifests {
            let Ok(document) = serde_json::from_slice::<Value>(&manifest.body) else { continue };
            if known == repository && document["subject"]["digest"] == *digest {
                let kind = match document["artifactType"].as_str() {
                    Some(kind) => kind,
                    None => document["config"]["mediaType"].as_str().unwrap_or_default(),
                };
                let mut descriptor = Descriptor::of(&manifest.body).json(&manifest.media_type);
                descriptor["artifactType"] = kind.into();
                descriptor["annotations"] = document["annotations"].clone();
                found.insert(own.clone(), descriptor);
            }
        }
        found.into_values().collect()
    }

    pub(super) fn start_upload(&mut self) -> String {
        self.next_upload += 1;
        let id = format!("upload-{}", self.next_upload);
        self.uploads.insert(id.clone(), vec![]);
        id
    }

    /// Adds to an upload and returns its length so far; none if it was never started.
    pub(super) fn append(&mut self, id: &str, bytes: &[u8]) -> Option<usize> {
        let upload = self.uploads.get_mut(id)?;
        upload.extend_from_slice(bytes);
        Some(upload.len())
    }

    pub(super) fn end_upload(&mut self, id: &str) -> Option<Vec<u8>> {
        self.uploads.remove(id)
    }
}

/// The digests of config and layers, if the body is an image manifest at all.
pub(super) fn blobs_of(manifest: &[u8]) -> Vec<String> {
    let document: Value = serde_json::from_slice(manifest).unwrap_or_default();
    let layers = document["layers"].as_array().cloned().unwrap_or_default();
    let all = std::iter::once(document["config"].clone()).chain(layers);
    all.filter_map(|descriptor| descriptor["digest"].as_str().map(str::to_owned)).collect()
}
