//! What servers answer when they turn a request down, made fit to be shown.

use std::borrow::Cow;
use std::fmt;

use reqwest::StatusCode;

use crate::observability::sanitise;

/// How a registry, or its token service, turned a request down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// An HTTP status.
    Status {
        /// The status code.
        status: u16,
        /// The token service's host, where it was not the registry itself that answered.
        from: Option<String>,
        /// What the server wrote, without control characters and at most 200 characters long.
        message: Option<String>,
    },
    /// The credential cannot be presented to this registry; nothing was sent.
    Unusable(Cow<'static, str>),
    /// The credential could not be had; another time it may.
    Unobtainable(String),
}

impl Answer {
    /// The status, if the server was asked at all.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            Self::Unusable(_) | Self::Unobtainable(_) => None,
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unusable(why) => f.write_str(why),
            Self::Unobtainable(why) => f.write_str(why),
            Self::Status { status, from, message } => {
                write!(f, "{}", status_text(*status))?;
                if let Some(from) = from {
                    write!(f, " from token service {from}")?;
                }
                match message {
                    Some(message) => write!(f, ": {message}"),
                    None => Ok(()),
                }
            }
        }
    }
}

/// One request for access, and how it was turned down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Where the credential comes from; nothing for an anonymous request.
    pub origin: Option<String>,
    /// The answer.
    pub answer: Answer,
}

fn status_text(status: u16) -> String {
    match StatusCode::from_u16(status) {
        Ok(code) => code.canonical_reason().map(|reason| format!("{status} {reason}")),
        Err(_) => None,
    }
    .unwrap_or_else(|| format!("HTTP status {status}"))
}

/// The message in an error's body: the distribution specification's envelope, OAuth2's, or
/// Docker Hub's. Nothing else is shown: it would be HTML.
pub(super) fn envelope(body: &[u8]) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(body).ok()?;
    let text = |value: &serde_json::Value, names: &[&str]| {
        names
            .iter()
            .filter_map(|name| value.get(name)?.as_str())
            .map(sanitise)
            .find(|text| !text.is_empty())
    };
    match value.get("errors").and_then(|errors| errors.get(0)) {
        Some(error) => text(error, &["message", "code"]),
        None => text(&value, &["error_description", "details", "message", "error"]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found() {
        for (body, expected) in [
            ("", None),
            ("<html>", None),
            ("[]", None),
            (r#"{"errors":[]}"#, None),
            (r#"{"errors":[{"code":"DENIED","message":"no"}]}"#, Some("no")),
            (r#"{"errors":[{"code":"DENIED","message":""}]}"#, Some("DENIED")),
            (r#"{"errors":[{"code":7}]}"#, None),
            (
                r#"{"details":"incorrect username or password"}"#,
                Some("incorrect username or password"),
            ),
            (r#"{"error":"invalid_grant","error_description":"expired"}"#, Some("expired")),
            (r#"{"error":"invalid_grant"}"#, Some("invalid_grant")),
        ] {
            assert_eq!(envelope(body.as_bytes()).as_deref(), expected, "{body}");
        }
    }
}
