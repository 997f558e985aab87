//! The exec API `credentialprovider.kubelet.k8s.io`: what a provider is asked, and what it
//! answers. Its texts are never shown: in an answer that is not understood, any may be a secret.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::credentials::{Keyring, Login};
use crate::duration;
use crate::reference::Repository;

/// Why an answer is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum AnswerError {
    #[error(
        "its answer is not a CredentialProviderResponse in JSON (line {line}, column {column})"
    )]
    Json { line: usize, column: usize },
    #[error("its answer is not a CredentialProviderResponse of apiVersion {0}")]
    Version(&'static str),
    #[error("the cacheKeyType of its answer is not one of Image, Registry, Global")]
    CacheKeyType,
    #[error("the cacheDuration of its answer is not a duration")]
    CacheDuration,
    #[error(
        "it answered with the service account's token as the password, which needs cacheType Token \
         in its tokenAttributes"
    )]
    Echo,
}

/// For which images an answer is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CacheKeyType {
    Image,
    Registry,
    Global,
}

/// What a provider answered.
pub(super) struct Answer {
    pub(super) cache_key_type: CacheKeyType,
    /// How long it may be kept; zero for not at all, and none if the provider does not say.
    pub(super) lifetime: Option<Duration>,
    /// The logins, of nobody in particular.
    pub(super) keyring: Keyring,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    kind: &'static str,
    api_version: &'a str,
    image: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_account_token: Option<&'a str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    cache_key_type: String,
    cache_duration: Option<String>,
    auth: Option<BTreeMap<String, Auth>>,
}

#[derive(Deserialize)]
struct Auth {
    username: Option<String>,
    password: Option<String>,
}

/// The question, for an image without tag and digest.
pub(super) fn request(
    api_version: &str,
    image: &Repository,
    token: Option<&str>,
) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&Request {
        kind: "CredentialProviderRequest",
        api_version,
        image: image.to_string(),
        service_account_token: token,
    })
}

/// The answer to a question of `api_version`. `origin` is what messages call the provider;
/// `forbidden` is a token that must not come back as a password.
pub(super) fn parse(
    bytes: &[u8],
    api_version: &'static str,
    origin: &str,
    forbidden: Option<&str>,
) -> Result<Answer, AnswerError> {
    let response: Response = serde_json::from_slice(bytes)
        .map_err(|error| AnswerError::Json { line: error.line(), column: error.column() })?;
    if response.kind != "CredentialProviderResponse" || response.api_version != api_version {
        return Err(AnswerError::Version(api_version));
    }
    let cache_key_type = match response.cache_key_type.as_str() {
        "Image" => CacheKeyType::Image,
        "Registry" => CacheKeyType::Registry,
        "Global" => CacheKeyType::Global,
        _ => return Err(AnswerError::CacheKeyType),
    };
    let lifetime = match response.cache_duration {
        Some(text) => {
            let signed = duration::parse(&text).ok_or(AnswerError::CacheDuration)?;
            Some(signed.lifetime())
        }
        None => None,
    };
    let auth = response.auth.unwrap_or_default();
    let logins = auth.into_iter().map(|(key, auth)| {
        let Auth { username, password } = auth;
        let (username, password) = (username.unwrap_or_default(), password.unwrap_or_default());
        (key, Login::Basic { username, password })
    });
    let logins: Vec<_> = logins.collect();
    if forbidden.is_some_and(|token| logins.iter().any(|(_, login)| login.secret() == token)) {
        return Err(AnswerError::Echo);
    }
    let keyring = Keyring::from_logins(logins, origin);
    Ok(Answer { cache_key_type, lifetime, keyring })
}

#[cfg(test)]
mod tests;
