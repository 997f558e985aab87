//! The registry client against a server that answers as each test says.

mod access;
mod blobs;
mod manifests;
mod names;
mod server;
mod tls;

use std::time::Duration;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, TryStreamExt};

use super::*;
use crate::credentials::{Credential, Login, Matched};
use server::{Seen, Server};

const MANIFEST: &str = r#"{"schemaVersion":2}"#;

/// A registry that retries at once and may speak to `plain` without TLS.
fn client(plain: &[&str]) -> Registry {
    client_with(RegistryConfig {
        plain_http: plain.iter().map(|host| (*host).to_owned()).collect(),
        ..quick()
    })
}

fn quick() -> RegistryConfig {
    RegistryConfig { retry_pause: Duration::from_millis(1), ..RegistryConfig::default() }
}

fn client_with(config: RegistryConfig) -> Registry {
    Registry::new(config).unwrap()
}

fn repository(host: &str) -> Repository {
    let reference: crate::reference::Reference = format!("{host}/acme/skill").parse().unwrap();
    reference.repository().clone()
}

fn tag() -> Selector {
    Selector::Tag("1".into())
}

fn basic(origin: &str, username: &str, password: &str) -> Credential {
    Credential::new(origin, Login::Basic { username: username.into(), password: password.into() })
}

/// The same credentials for every repository.
struct Only(Vec<Credential>);

fn only(credentials: &[Credential]) -> Arc<dyn Candidates> {
    Arc::new(Only(credentials.to_vec()))
}

impl Candidates for Only {
    fn matching<'a>(&'a self, _: &'a Repository) -> BoxFuture<'a, Matched> {
        let credentials = self.0.clone();
        Box::pin(std::future::ready(Matched { credentials, failures: vec![] }))
    }
}

fn alice() -> Credential {
    basic("secret key \".dockerconfigjson\", entry \"a\"", "alice", "wonder")
}

/// `alice:wonder`.
const ALICE: &str = "Basic YWxpY2U6d29uZGVy";

fn answer(status: u16, headers: &[(&str, &str)], body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in headers {
        let name: axum::http::HeaderName = name.parse().unwrap();
        response.headers_mut().append(name, value.parse().unwrap());
    }
    response
}

fn manifest() -> Response<Body> {
    answer(200, &[("content-type", "application/vnd.oci.image.manifest.v1+json")], MANIFEST)
}

fn error(status: u16, code: &str, message: &str) -> Response<Body> {
    answer(status, &[], format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#))
}

fn wants(challenge: &str) -> Response<Body> {
    let body = r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
    answer(401, &[("www-authenticate", challenge)], body)
}

/// The error's chain, as it is shown, with the server's address made `R`.
fn text(error: &RegistryError, host: &str) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    text.replace(host, "R")
}

async fn pull(
    registry: &Registry,
    host: &str,
    candidates: &[Credential],
) -> Result<Resolved, String> {
    registry
        .resolve(&repository(host), &tag(), only(candidates))
        .await
        .map_err(|error| text(&error, host))
}
