//! Manifests and indexes: small, read whole, checked before anyone sees them.

use std::sync::Arc;

use reqwest::header::{ACCEPT as ACCEPT_HEADER, CONTENT_TYPE};
use reqwest::{RequestBuilder, StatusCode};

use super::Resolved;
use super::access::Access;
use super::answer::Answer;
use super::error::{RegistryError, Target};
use super::host::Api;
use super::http::{Reply, Transport};
use crate::reference::{Digest, Hasher, Repository, Selector};

/// The manifests that are asked for: without all four, a registry may convert one to another,
/// or answer 404.
pub const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";

const DIGEST_HEADER: &str = "docker-content-digest";

pub(super) fn url(api: &Api, repository: &Repository, selector: &Selector) -> String {
    api.url(&format!("{}/manifests/{selector}", repository.path()))
}

pub(super) fn request(transport: &Transport, url: &str) -> RequestBuilder {
    transport.client.get(url).header(ACCEPT_HEADER, ACCEPT)
}

/// Gets a manifest: it, or the answer that turned the access down.
pub(super) async fn get(
    access: &Access,
    target: &Arc<Target>,
    selector: &Selector,
) -> Result<Result<Resolved, Answer>, RegistryError> {
    let shared = access.shared();
    let url = url(access.api(), access.repository(), selector);
    let limit = shared.config.manifest_bytes;
    let reply = access
        .exchange(target, limit, || request(&shared.transport, &url))
        .await?
        .ok_or_else(|| too_large(target, limit))?;
    match reply.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
            Ok(Err(reply.answer(None)))
        }
        _ => check(access, target, selector, reply).map(Ok),
    }
}

/// Checks a manifest against the digest that was asked for. A tag's manifest is checked against
/// the digest that the registry announces, if it does.
pub(super) fn check(
    access: &Access,
    target: &Arc<Target>,
    selector: &Selector,
    reply: Reply,
) -> Result<Resolved, RegistryError> {
    let protocol = |problem: String| {
        let host = access.api().host.clone();
        RegistryError::Protocol { target: target.clone(), host, problem }
    };
    if reply.status != StatusCode::OK {
        return Err(protocol(format!("answers {}", reply.answer(None))));
    }
    let header = |name| reply.headers.get(name).and_then(|value| value.to_str().ok());
    let expected = match (selector, header(DIGEST_HEADER)) {
        (Selector::Digest(digest), _) => digest.clone(),
        (Selector::Tag(_), None) => Digest::sha256(&reply.body),
        (Selector::Tag(_), Some(announced)) => announced
            .parse()
            .map_err(|error| protocol(format!("announces a bad digest: {error}")))?,
    };
    let mut hasher = Hasher::new(expected.algorithm());
    hasher.update(&reply.body);
    let actual = hasher.finish();
    if actual != expected {
        return Err(RegistryError::Digest {
            target: target.clone(),
            expected,
            actual: Some(actual),
        });
    }
    Ok(Resolved {
        access: access.clone(),
        digest: actual,
        media_type: header(CONTENT_TYPE.as_str()).map(Into::into),
        body: reply.body,
    })
}

pub(super) fn too_large(target: &Arc<Target>, limit: u64) -> RegistryError {
    RegistryError::ManifestTooLarge { target: target.clone(), limit }
}
