//! The service-account tokens that kubelet sends along with a volume: one for each audience of
//! CSIDriver `spec.tokenRequests` (KEP-1855).

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

/// The audience of a token that the API server itself takes.
pub const API_SERVER: &str = "";

/// Tokens of the pod's service account, by audience. Its `Debug` shows no token.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ServiceAccountTokens(BTreeMap<String, String>);

/// What kubelet sent is not what it documents. It says nothing of the text, which holds tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a JSON object of audiences, each with a `token`")]
pub struct MalformedTokens;

/// A token as kubelet writes it; it also says when the token expires, long after this call.
#[derive(Deserialize)]
struct Entry {
    token: String,
}

impl ServiceAccountTokens {
    /// Reads `{"<audience>":{"token":"…","expirationTimestamp":"…"}}`.
    pub fn parse(text: &str) -> Result<Self, MalformedTokens> {
        let entries: BTreeMap<String, Entry> =
            serde_json::from_str(text).map_err(|_| MalformedTokens)?;
        let tokens = entries.into_iter().map(|(audience, entry)| (audience, entry.token));
        Ok(Self(tokens.filter(|(_, token)| !token.is_empty()).collect()))
    }

    /// The token for an audience; none if the CSIDriver asks for no such token.
    pub fn get(&self, audience: &str) -> Option<&str> {
        self.0.get(audience).map(String::as_str)
    }

    /// The audiences that there is a token for.
    pub fn audiences(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl fmt::Debug for ServiceAccountTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_by_audience_and_never_shown() {
        let text = r#"{
            "": {"token": "CANARY-1", "expirationTimestamp": "2026-11-21T10:54:09Z"},
            "registry.example": {"token": "CANARY-2", "added": {"later": true}},
            "empty": {"token": ""}
        }"#;
        let tokens = ServiceAccountTokens::parse(text).unwrap();
        assert_eq!(tokens.get(API_SERVER), Some("CANARY-1"));
        assert_eq!(tokens.get("registry.example"), Some("CANARY-2"));
        assert_eq!((tokens.get("empty"), tokens.get("other")), (None, None));
        assert!(tokens.audiences().eq(["", "registry.example"]));
        assert_eq!(format!("{tokens:?}"), r#"{"", "registry.example"}"#);
    }

    #[test]
    fn what_kubelet_does_not_send_is_refused() {
        for text in ["", "[]", "CANARY", r#"{"a":"CANARY"}"#, r#"{"a":{"token":["CANARY"]}}"#] {
            let error = ServiceAccountTokens::parse(text).unwrap_err();
            assert!(!error.to_string().contains("CANARY"), "{text}");
        }
        assert_eq!(ServiceAccountTokens::parse("{}"), Ok(ServiceAccountTokens::default()));
    }
}
