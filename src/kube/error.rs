//! What can go wrong between the driver and the API server.

use std::io;
use std::path::PathBuf;

use serde::Deserialize;

use crate::artifact::yaml::YamlError;
use crate::observability::{innermost, sanitise};

/// Why the way to the API server cannot be set up. Found at start.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Not in a pod.
    #[error(
        "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT, which every container of a cluster \
         has, are not set: outside of a cluster name the API server with --kubeconfig"
    )]
    NotInCluster,
    /// A file cannot be read.
    #[error("cannot read {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that should hold certificates.
    #[error("{0} does not hold PEM certificates")]
    Certificates(String),
    /// The address of the API server.
    #[error("the API server's address {0:?} is not an https:// URL")]
    Address(String),
    /// The kubeconfig is no YAML.
    #[error("kubeconfig {path:?}")]
    Yaml {
        /// The file.
        path: PathBuf,
        /// Why.
        source: YamlError,
    },
    /// The kubeconfig lacks something, or has something that is not supported.
    #[error("kubeconfig {path:?}: {problem}")]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong. Without secrets.
        problem: String,
    },
    /// The node's name cannot be sent.
    #[error("node name {0:?} cannot stand in a header")]
    Node(String),
    /// The HTTPS client cannot be made.
    #[error("cannot set up the HTTPS client for the API server: {0}")]
    Client(String),
}

/// Why an object could not be read. The object itself is named by whoever reports it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CallError {
    /// There is no such object.
    #[error("not found")]
    NotFound,
    /// The caller may not read it.
    #[error("forbidden: {0}")]
    Forbidden(String),
    /// Any other refusal or failure of the API server.
    #[error("the API server answers {status}{}", message.as_ref().map(|m| format!(": {m}")).unwrap_or_default())]
    Status {
        /// The HTTP status.
        status: u16,
        /// What it says, made fit to be shown.
        message: Option<String>,
    },
    /// No connection, or it broke.
    #[error("cannot reach the API server: {0}")]
    Unreachable(String),
    /// It took too long.
    #[error("the API server did not answer in time")]
    Timeout,
    /// The answer is longer than any object.
    #[error("the API server's answer is longer than {0} bytes")]
    TooLarge(u64),
    /// The answer is not the object that was asked for.
    #[error("the API server's answer {0}")]
    Answer(&'static str),
    /// The driver's own token cannot be read.
    #[error("cannot read the driver's token {path:?}: {problem}")]
    Token {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// A token that cannot be sent.
    #[error("the token cannot stand in a header")]
    MalformedToken,
}

impl CallError {
    /// Whether this is what the API server says of the object, and not a failure to learn it.
    pub fn is_definite(&self) -> bool {
        matches!(self, Self::NotFound | Self::Forbidden(_) | Self::TooLarge(_))
    }

    /// The answer of an API server that does not give the object. What it writes is a `Status`;
    /// of anything else nothing is shown.
    pub(super) fn refused(status: u16, body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Status {
            kind: String,
            #[serde(default)]
            message: String,
        }
        let message = serde_json::from_slice::<Status>(body)
            .ok()
            .filter(|status| status.kind == "Status")
            .map(|status| sanitise(&status.message))
            .filter(|message| !message.is_empty());
        match (status, message) {
            (404, _) => Self::NotFound,
            (403, message) => Self::Forbidden(message.unwrap_or_else(|| "no reason given".into())),
            (status, message) => Self::Status { status, message },
        }
    }

    /// What a failed exchange means. The error's own text is not used: it repeats the URL.
    pub(super) fn failed(error: &reqwest::Error) -> Self {
        match error.is_timeout() {
            true => Self::Timeout,
            false => Self::Unreachable(innermost(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_message_of_a_status_is_shown() {
        let forbidden = |text: &str| CallError::Forbidden(text.into());
        let other = |status, message: Option<&str>| CallError::Status {
            status,
            message: message.map(Into::into),
        };
        for (status, body, expected) in [
            (404, r#"{"kind":"Status","message":"secrets \"a\" not found"}"#, CallError::NotFound),
            (404, "CANARY", CallError::NotFound),
            (403, r#"{"kind":"Status","message":"no\n way"}"#, forbidden("no way")),
            (403, r#"{"kind":"Secret","message":"CANARY"}"#, forbidden("no reason given")),
            (
                401,
                r#"{"kind":"Status","message":"Unauthorized"}"#,
                other(401, Some("Unauthorized")),
            ),
            (500, "<html>CANARY", other(500, None)),
            (302, "", other(302, None)),
        ] {
            assert_eq!(CallError::refused(status, body.as_bytes()), expected, "{body}");
        }
    }
}
