//! The Secrets of a pod that kubelet does not pass, read through the Kubernetes API: those that
//! the volume names (`pullSecrets`), then the pod's own `imagePullSecrets`.
//!
//! The rules for the latter are kubelet's (`getPullSecretsForPod`): the pod's list in its order,
//! empty names skipped, each Secret once, and a Secret that cannot be had is no reason not to try
//! without it. Those of the service account are in the pod's list already, if it had none of its
//! own: admission has put them there.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::Instant;

use super::PublishRequest;
use super::tokens::API_SERVER;
use crate::credentials::{Consulted, Holder, Keyring, SecretError};
use crate::kube::{Api, CallError, Caller, Name, SecretAccess};
use crate::observability::chain;

/// How many of a pod's `imagePullSecrets` are read.
const MAX_SECRETS: usize = 50;

/// Secrets of one pod that are read at once.
const AT_ONCE: usize = 4;

/// How long all that is read for one volume may take: the pull needs the rest of kubelet's time.
const MAX_TIME: Duration = Duration::from_secs(20);

/// What messages call the pod's list.
const IMAGE_PULL_SECRETS: &str = "imagePullSecrets";

/// What messages call the volume's list.
const PULL_SECRETS: &str = "pullSecrets";

/// Reads the Secrets of pods.
#[derive(Debug)]
pub struct PodSecrets {
    /// Whom to ask, and as whom.
    pub api: Api,
    /// Whether the pod's `imagePullSecrets` are used.
    pub image_pull_secrets: bool,
}

/// What there was.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The logins, in the order of trial.
    pub(super) keyring: Keyring,
    /// Why not all that should count is among them; none if it is.
    pub(super) unread: Option<String>,
}

/// Why the Secrets of a pod are not looked for at all, or not used.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The attribute needs what the driver is not allowed.
    #[error(
        "the volume names Secrets in \"pullSecrets\", and this driver reads none: have \
         --secret-access set, or name one Secret in nodePublishSecretRef"
    )]
    NoAccess,
    /// Kubelet does not say whose volume it is.
    #[error(
        "kubelet does not say which pod this is, so none of its Secrets can be read: the CSIDriver \
         object needs podInfoOnMount: true"
    )]
    NoPod,
    /// Kubelet does not send a token.
    #[error(
        "kubelet sends no service account token for the API server, as which --secret-access \
         pod-token reads the pod's Secrets: the CSIDriver object needs tokenRequests with audience \
         \"\""
    )]
    NoToken,
    /// Another pod has the pod's name by now.
    #[error(
        "pod {namespace}/{name} has uid {found} in the API server, and kubelet says {expected}: \
         another pod has taken its name, whose Secrets are not used"
    )]
    OtherPod {
        /// The pod's namespace.
        namespace: Name,
        /// The pod's name.
        name: Name,
        /// The uid that kubelet says.
        expected: String,
        /// The uid that the API server says.
        found: String,
    },
    /// A Secret is not what it should be.
    #[error("cannot read a pull secret of the volume")]
    Secret(#[from] SecretError),
}

/// One volume's reading.
struct Reader<'a> {
    api: &'a Api,
    caller: Caller,
    request: &'a PublishRequest,
    namespace: Name,
    deadline: Instant,
}

impl PodSecrets {
    /// The logins of the volume's `pullSecrets` and of the pod's `imagePullSecrets`.
    pub(super) async fn read(
        &self,
        request: &PublishRequest,
        deadline: Instant,
    ) -> Result<Found, SecretsError> {
        let named = &request.attributes.pull_secrets;
        if named.is_empty() && !self.image_pull_secrets {
            return Ok(Found::default());
        }
        let pod = &request.pod;
        let (Ok(namespace), Ok(name)) = (pod.namespace.parse(), pod.name.parse::<Name>()) else {
            return Err(SecretsError::NoPod);
        };
        if pod.uid.is_empty() {
            return Err(SecretsError::NoPod);
        }
        let token = match (self.api.access(), request.tokens.get(API_SERVER)) {
            (SecretAccess::PodToken, None) => return Err(SecretsError::NoToken),
            (_, token) => token.unwrap_or_default(),
        };
        let caller = match self.api.caller(token).await {
            Ok(caller) => caller,
            Err(error) => {
                let mut found = Found::default();
                found.failed(request, "Secrets of the pod", chain(&error), false);
                return Ok(found);
            }
        };
        let deadline = deadline.min(Instant::now() + MAX_TIME);
        let reader = Reader { api: &self.api, caller, request, namespace, deadline };
        let of_pod = async {
            match self.image_pull_secrets {
                true => reader.of_pod(&name).await,
                false => Ok(Found::default()),
            }
        };
        let (named, of_pod) = tokio::join!(reader.all(PULL_SECRETS, named), of_pod);
        let (mut found, of_pod) = (named?, of_pod?);
        found.keyring.extend(of_pod.keyring);
        found.unread = found.unread.or(of_pod.unread);
        Ok(found)
    }
}

impl Reader<'_> {
    /// The Secrets of the pod's list.
    async fn of_pod(&self, name: &Name) -> Result<Found, SecretsError> {
        let mut found = Found::default();
        let read = self.api.pod(&self.caller, &self.namespace, name, self.deadline).await;
        let pod = match read {
            Ok(pod) => pod,
            Err(error) => {
                let problem = format!("pod {:?}: {}", name.as_str(), self.explain("pods", &error));
                found.failed(self.request, IMAGE_PULL_SECRETS, problem, error.is_definite());
                return Ok(found);
            }
        };
        if pod.mirrors.as_deref() == Some(&self.request.pod.uid) {
            // A static pod cannot refer to Secrets, and its mirror has another uid.
            return Ok(found);
        }
        if pod.uid != self.request.pod.uid {
            return Err(SecretsError::OtherPod {
                namespace: self.namespace.clone(),
                name: name.clone(),
                expected: self.request.pod.uid.clone(),
                found: pod.uid,
            });
        }
        let mut seen = HashSet::new();
        let mut names = Vec::new();
        for text in pod.image_pull_secrets {
            if text.is_empty() || !seen.insert(text.clone()) {
                continue;
            }
            match text.parse::<Name>() {
                _ if names.len() == MAX_SECRETS => {
                    let problem =
                        format!("there are more than {MAX_SECRETS}; the rest is not read");
                    found.failed(self.request, IMAGE_PULL_SECRETS, problem, true);
                    break;
                }
                Ok(name) => names.push(name),
                Err(_) => found.failed(
                    self.request,
                    IMAGE_PULL_SECRETS,
                    "a name that no Secret can have",
                    true,
                ),
            }
        }
        let all = self.all(IMAGE_PULL_SECRETS, &names).await?;
        found.keyring.extend(all.keyring);
        found.unread = all.unread;
        Ok(found)
    }

    /// All Secrets of a list, in its order.
    async fn all(&self, list: &str, names: &[Name]) -> Result<Found, SecretsError> {
        let mut found = Found::default();
        let mut reads = futures_util::stream::iter(names.to_vec())
            .map(|name| async move {
                let read = self.api.secret(&self.caller, &self.namespace, &name, self.deadline);
                let read = read.await;
                (name, read)
            })
            .buffered(AT_ONCE);
        while let Some((name, read)) = reads.next().await {
            let origin = format!("{list} {:?}", name.as_str());
            match read {
                Ok(secret) => {
                    let holder =
                        Holder::secret(self.namespace.as_str(), name.as_str(), &secret.uid);
                    let keyring = Keyring::from_secret(&secret.data, &origin)?;
                    found.keyring.merge(keyring.held_by(&holder));
                }
                Err(error) => {
                    found.failed(
                        self.request,
                        &origin,
                        self.explain("secrets", &error),
                        error.is_definite(),
                    );
                }
            }
        }
        Ok(found)
    }

    /// An error in words, with the right that is missing if one is.
    fn explain(&self, resource: &str, error: &CallError) -> String {
        let CallError::Forbidden(_) = error else { return chain(error) };
        let Self { namespace, request, .. } = self;
        match self.api.access() {
            SecretAccess::PodToken => format!(
                "forbidden: service account {:?} needs a Role in namespace \"{namespace}\" with \
                 get on {resource}",
                request.pod.service_account
            ),
            SecretAccess::Impersonate => format!(
                "forbidden: either the driver lacks impersonate:associated-node on nodes or \
                 impersonate-on:associated-node:get on {resource}, or no pod of this node refers \
                 to it"
            ),
            SecretAccess::Driver => format!("forbidden: the driver needs get on {resource}"),
        }
    }
}

impl Found {
    /// Notes a place that gave nothing. What is not definite might have had the right login.
    fn failed(
        &mut self,
        request: &PublishRequest,
        name: &str,
        problem: impl Into<String>,
        definite: bool,
    ) {
        let problem = problem.into();
        tracing::warn!(volume_id = request.volume_id, source = name, problem, "pull secret");
        if !definite && self.unread.is_none() {
            self.unread = Some(format!("{name}: {problem}"));
        }
        self.keyring.note(Consulted::nothing(name, problem));
    }
}
