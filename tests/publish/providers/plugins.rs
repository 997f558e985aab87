//! Credential providers of a test, and what they are asked.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use skillmount::credentials::providers::ProvidersConfig;

use crate::*;

/// The exec API that they speak.
pub(super) const V1: &str = "credentialprovider.kubelet.k8s.io/v1";

/// The directories of providers: scripts that note what they are asked, and answer with a file.
pub(crate) struct Plugins {
    pub(super) root: PathBuf,
    pub(super) configured: Vec<Value>,
}

impl Plugins {
    pub(crate) fn new(root: &Path) -> Self {
        for directory in ["bin", "asked", "answers"] {
            fs::create_dir(root.join(directory)).unwrap();
        }
        Self { root: root.into(), configured: vec![] }
    }

    /// A provider for everything that the registry has, in any of its ports.
    pub(crate) fn add(&mut self, name: &str, hosts: &[String]) {
        self.add_with(name, hosts, json!({}));
    }

    /// The same with further fields of its configuration.
    pub(crate) fn add_with(&mut self, name: &str, hosts: &[String], fields: Value) {
        let mut config = json!({
            "name": name,
            "matchImages": hosts,
            "defaultCacheDuration": "1h",
            "apiVersion": V1,
        });
        config.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        self.configured.push(config);
        self.script(name, &format!("cat {}", self.root.join("answers").join(name).display()));
    }

    /// Says what the provider does once it has noted the question.
    pub(crate) fn script(&self, name: &str, then: &str) {
        let path = self.root.join("bin").join(name);
        let asked = self.root.join("asked").join(name);
        let text = format!("#!/bin/sh\nq=$(cat)\necho \"$q\" >> {}\n{then}\n", asked.display());
        // Another file: one that is being executed cannot be written.
        let new = path.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(new, path).unwrap();
    }

    /// Says what the provider answers.
    pub(crate) fn answer(&self, name: &str, answer: &Value) {
        fs::write(self.root.join("answers").join(name), answer.to_string()).unwrap();
    }

    /// What the provider was asked since the last time.
    pub(crate) fn asked(&self, name: &str) -> Vec<Value> {
        let path = self.root.join("asked").join(name);
        let text = fs::read_to_string(&path).unwrap_or_default();
        drop(fs::remove_file(path));
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub(crate) fn config(&self) -> ProvidersConfig {
        let path = self.root.join("providers.yaml");
        let config = json!({
            "apiVersion": "kubelet.config.k8s.io/v1",
            "kind": "CredentialProviderConfig",
            "providers": self.configured,
        });
        fs::write(&path, format!("{config:#}")).unwrap();
        ProvidersConfig::new(path, self.root.join("bin"))
    }

    pub(crate) async fn driver(&self) -> Driver {
        let setup = Setup { providers: Some(self.config()), ..Setup::default() };
        Driver::start(&self.root, setup).await
    }
}

/// A provider's answer: one login for each key, kept for the default time.
pub(super) fn answer(cache_key_type: &str, logins: &[(&str, &str, &str)]) -> Value {
    let auth: serde_json::Map<_, _> = logins
        .iter()
        .map(|(key, user, password)| {
            ((*key).to_owned(), json!({ "username": user, "password": password }))
        })
        .collect();
    json!({
        "kind": "CredentialProviderResponse",
        "apiVersion": V1,
        "cacheKeyType": cache_key_type,
        "auth": auth,
    })
}
