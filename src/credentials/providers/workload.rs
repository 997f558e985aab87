//! For whom a provider is asked: a pod with its service account and its tokens (KEP-4412).

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::config::{CacheType, TokenAttributes};
use crate::credentials::Holder;

/// A pod, as kubelet describes it. Its `Debug` shows no token.
#[derive(Clone, Default)]
pub struct Workload {
    /// The pod's namespace.
    pub namespace: String,
    /// The name of its service account; empty if it has none.
    pub service_account: String,
    /// The pod's uid.
    pub pod_uid: String,
    /// Tokens of the service account, by audience.
    pub tokens: BTreeMap<String, String>,
}

impl fmt::Debug for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workload")
            .field("namespace", &self.namespace)
            .field("service_account", &self.service_account)
            .field("pod_uid", &self.pod_uid)
            .field("audiences", &self.tokens.keys())
            .finish()
    }
}

/// On whose behalf one provider answers.
pub(super) enum Subject {
    /// The node's: all its pods get the same.
    Node,
    /// A service account's.
    Account(Account),
}

/// A service account and its token. Without `Debug`.
pub(super) struct Account {
    namespace: String,
    name: String,
    uid: String,
    pub(super) token: String,
    pub(super) cache_type: CacheType,
}

/// What tells the answers for one service account from those for another.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct AccountKey {
    namespace: String,
    name: String,
    uid: String,
    token: Option<Vec<u8>>,
}

/// Why a provider is not asked for a pod.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SubjectError {
    /// That is how it is configured, and no failure.
    #[error("it is asked only for pods with a service account")]
    NoAccount,
    #[error(
        "kubelet sent no service account token for audience {0:?}: the CSIDriver object needs it in \
         its spec.tokenRequests"
    )]
    NoToken(String),
    #[error(
        "it requires the service account's annotation {0:?} (requiredServiceAccountAnnotationKeys), \
         and the driver reads no service accounts"
    )]
    Annotation(String),
    #[error("the token for audience {0:?} is not one of the pod's service account")]
    Stranger(String),
}

/// What the API server writes into the tokens of service accounts.
#[derive(Deserialize)]
struct Claims {
    #[serde(rename = "kubernetes.io")]
    kubernetes: Kubernetes,
}

#[derive(Deserialize)]
struct Kubernetes {
    namespace: String,
    serviceaccount: Object,
    pod: Option<Object>,
}

#[derive(Deserialize)]
struct Object {
    name: String,
    uid: String,
}

impl Subject {
    /// Of a provider with these attributes, asked for a pod or for nobody.
    pub(super) fn of(
        attributes: Option<&TokenAttributes>,
        workload: Option<&Workload>,
    ) -> Result<Self, SubjectError> {
        let Some(attributes) = attributes else { return Ok(Self::Node) };
        let workload = match workload {
            Some(workload) if !workload.service_account.is_empty() => workload,
            _ if attributes.required => return Err(SubjectError::NoAccount),
            _ => return Ok(Self::Node),
        };
        if let Some(annotation) = attributes.required_annotations.first() {
            return Err(SubjectError::Annotation(annotation.clone()));
        }
        let audience = &attributes.audience;
        let token =
            workload.tokens.get(audience).ok_or_else(|| SubjectError::NoToken(audience.clone()))?;
        // Where the CSIDriver asks for no tokens, the author of a pod can write some into its
        // attributes. The registry's cloud checks the signature; here it is enough that nobody
        // appears as another service account.
        let claims = claims(token).filter(|claims| {
            claims.namespace == workload.namespace
                && claims.serviceaccount.name == workload.service_account
                && claims.pod.as_ref().is_none_or(|pod| pod.uid == workload.pod_uid)
        });
        let claims = claims.ok_or_else(|| SubjectError::Stranger(audience.clone()))?;
        Ok(Self::Account(Account {
            namespace: claims.namespace,
            name: claims.serviceaccount.name,
            uid: claims.serviceaccount.uid,
            token: token.clone(),
            cache_type: attributes.cache_type,
        }))
    }

    /// Whose the logins of `provider` are.
    pub(super) fn holder(&self, provider: &str) -> Holder {
        match self {
            Self::Node => Holder::node(provider),
            Self::Account(account) => {
                Holder::service_account(provider, &account.namespace, &account.name, &account.uid)
            }
        }
    }

    pub(super) fn account(&self) -> Option<&Account> {
        match self {
            Self::Node => None,
            Self::Account(account) => Some(account),
        }
    }
}

impl Account {
    pub(super) fn key(&self) -> AccountKey {
        let token = match self.cache_type {
            CacheType::ServiceAccount => None,
            CacheType::Token => Some(digest(&SHA256, self.token.as_bytes()).as_ref().to_vec()),
        };
        AccountKey {
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            token,
        }
    }
}

/// What a token says of itself; its signature is for others to check.
fn claims(token: &str) -> Option<Kubernetes> {
    let payload = token.split('.').nth(1)?;
    let bytes = URL_SAFE_NO_PAD.decode(payload).ok()?;
    let claims: Claims = serde_json::from_slice(&bytes).ok()?;
    Some(claims.kubernetes)
}

/// Tokens for tests, unsigned.
#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// A token bound to a pod; `jti` tells it from another of the same account.
    pub(in super::super) fn token(
        namespace: &str,
        name: &str,
        uid: &str,
        pod: &str,
        jti: &str,
    ) -> String {
        let claims = serde_json::json!({
            "aud": ["aud"],
            "jti": jti,
            "kubernetes.io": {
                "namespace": namespace,
                "serviceaccount": { "name": name, "uid": uid },
                "pod": { "name": "agent", "uid": pod },
            },
        });
        format!("e30.{}.CANARY", URL_SAFE_NO_PAD.encode(claims.to_string()))
    }
}

#[cfg(test)]
mod tests;
