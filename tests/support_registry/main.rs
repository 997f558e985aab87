//! The registry of `tests/support` does what the tests built on it take for granted.

// Helpers outside `#[test]` functions assert too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod auth;
mod faults;
mod fixtures;
mod kube;
mod serving;
#[path = "../support/mod.rs"]
mod support;

use std::sync::LazyLock;

use reqwest::{Client, ClientBuilder};
use serde_json::Value;
use skillmount::reference::Digest;
use support::{Options, Registry, artifacts};

/// One client for all tests: making one reads the system's certificates. It keeps no connection,
/// for each test has a runtime of its own.
fn client() -> &'static Client {
    static CLIENT: LazyLock<Client> =
        LazyLock::new(|| builder().pool_max_idle_per_host(0).build().unwrap());
    &CLIENT
}

fn builder() -> ClientBuilder {
    // Another test may have been first; one provider is as good as the other.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    Client::builder().no_proxy()
}

async fn get(registry: &Registry, path: &str) -> reqwest::Response {
    client().get(format!("{}{path}", registry.url())).send().await.unwrap()
}

async fn json(response: reqwest::Response) -> Value {
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

fn header<'a>(response: &'a reqwest::Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

/// A registry with one blob of these bytes in `acme/x`, and the blob's path.
fn with_blob(options: Options, bytes: &[u8]) -> (Registry, Digest, String) {
    let registry = Registry::start(options);
    let layer = registry.push_blob(bytes.to_vec());
    let manifest = artifacts::manifest(
        artifacts::empty_config(&registry),
        vec![layer.json(artifacts::LAYER_TAR)],
    );
    registry.push_manifest("acme/x", "1", &manifest);
    let path = format!("/v2/acme/x/blobs/{}", layer.digest);
    (registry, layer.digest, path)
}
