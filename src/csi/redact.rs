//! `Debug` for the requests that carry secrets or service-account tokens. What prost derives
//! prints every field, `csi_secret` or not; these print names of keys and no value of a secret.

use std::fmt;

use super::request::TOKENS;
use super::v1::{NodePublishVolumeRequest, NodeStageVolumeRequest};

impl fmt::Debug for NodePublishVolumeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut context: Vec<(&str, &str)> = self
            .volume_context
            .iter()
            .map(|(key, value)| (key.as_str(), if key == TOKENS { "…" } else { value.as_str() }))
            .collect();
        context.sort_unstable();
        let mut secrets: Vec<&str> = self.secrets.keys().map(String::as_str).collect();
        secrets.sort_unstable();
        f.debug_struct("NodePublishVolumeRequest")
            .field("volume_id", &self.volume_id)
            .field("target_path", &self.target_path)
            .field("readonly", &self.readonly)
            .field("volume_context", &context)
            .field("secret_keys", &secrets)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for NodeStageVolumeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeStageVolumeRequest")
            .field("volume_id", &self.volume_id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_request_holds_no_secret() {
        let request = NodePublishVolumeRequest {
            volume_id: "csi-1".into(),
            secrets: [(".dockerconfigjson".to_owned(), "CANARY-1".to_owned())].into(),
            volume_context: [
                (TOKENS.to_owned(), "CANARY-2".to_owned()),
                ("reference".to_owned(), "r.io/a".to_owned()),
            ]
            .into(),
            ..Default::default()
        };
        let printed = format!("{request:?}");
        assert!(!printed.contains("CANARY"), "{printed}");
        assert!(printed.contains(".dockerconfigjson") && printed.contains("r.io/a"), "{printed}");
    }
}
