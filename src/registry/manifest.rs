//! Manifests and indexes: small, read whole, checked before anyone sees them.

use std::sync::Arc;

use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::header::{ACCEPT as ACCEPT_HEADER, CONTENT_TYPE};

use super::answer::Answer;
use super::ask::Ask;
use super::error::{RegistryError, Target};
use super::host::Api;
use super::http::Reply;
use super::session::Session;
use crate::reference::{Digest, Hasher, Selector};

/// The manifests that are asked for: without all four, a registry may convert one to another,
/// or answer 404.
pub const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";

const DIGEST_HEADER: &str = "docker-content-digest";

/// A manifest that was checked.
pub(super) struct Found {
    pub(super) digest: Digest,
    /// The `Content-Type`, unchecked.
    pub(super) media_type: Option<String>,
    pub(super) body: Bytes,
}

pub(super) fn ask(api: &Api, selector: &Selector) -> Ask {
    api.ask(&format!("manifests/{selector}")).header(ACCEPT_HEADER, ACCEPT)
}

/// Gets a manifest: it, or the answer that turned the login down.
pub(super) async fn get(
    session: &Session,
    target: &Arc<Target>,
    selector: &Selector,
) -> Result<Result<Found, Answer>, RegistryError> {
    let limit = session.shared().config.manifest_bytes;
    let reply = session
        .exchange(target, &ask(session.api(), selector), limit)
        .await?
        .ok_or_else(|| too_large(target, limit))?;
    match reply.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
            Ok(Err(reply.answer(None)))
        }
        _ => check(session.api(), target, selector, reply).map(Ok),
    }
}

/// Checks a manifest against the digest that was asked for. A tag's manifest is checked against
/// the digest that the registry announces, if it does.
pub(super) fn check(
    api: &Api,
    target: &Arc<Target>,
    selector: &Selector,
    reply: Reply,
) -> Result<Found, RegistryError> {
    let protocol = |problem: String| {
        let host = api.host().to_owned();
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
        let (target, actual) = (target.clone(), Some(actual));
        return Err(RegistryError::Digest { target, expected, actual });
    }
    let media_type = header(CONTENT_TYPE.as_str()).map(Into::into);
    Ok(Found { digest: actual, media_type, body: reply.body })
}

pub(super) fn too_large(target: &Arc<Target>, limit: u64) -> RegistryError {
    RegistryError::ManifestTooLarge { target: target.clone(), limit }
}
