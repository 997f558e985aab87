//! When the registry is asked: a container's `imagePullPolicy`, for skills.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::reference::Reference;

/// The pull policy of a reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PullPolicy {
    /// Ask the registry every time; what is stored already is not downloaded again.
    Always,
    /// Ask the registry only for what is not stored, or was not granted to this caller.
    IfNotPresent,
    /// Never ask the registry.
    Never,
}

impl PullPolicy {
    /// Kubernetes' default: `Always` for `:latest` or no tag, else `IfNotPresent`
    /// (pkg/apis/core/v1/defaults.go).
    pub fn default_for(reference: &Reference) -> Self {
        match (reference.digest(), reference.tag()) {
            (None, None | Some("latest")) => Self::Always,
            _ => Self::IfNotPresent,
        }
    }
}

/// A text that is none of the three policies.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not one of Always, IfNotPresent, Never")]
pub struct UnknownPolicy(String);

impl FromStr for PullPolicy {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<Self, UnknownPolicy> {
        match text {
            "Always" => Ok(Self::Always),
            "IfNotPresent" => Ok(Self::IfNotPresent),
            "Never" => Ok(Self::Never),
            other => Err(UnknownPolicy(other.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_policy_is_kubernetes() {
        let digest = format!("r.io/a@sha256:{}", "0".repeat(64));
        for (text, expected) in [
            ("r.io/a", PullPolicy::Always),
            ("r.io/a:latest", PullPolicy::Always),
            ("r.io/a:v1", PullPolicy::IfNotPresent),
            (digest.as_str(), PullPolicy::IfNotPresent),
        ] {
            assert_eq!(PullPolicy::default_for(&text.parse().unwrap()), expected, "{text}");
        }
    }
}
