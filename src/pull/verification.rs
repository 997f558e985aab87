//! Whose right to stored content is verified: kubelet's `imagePullCredentialsVerificationPolicy`,
//! by the same names, for skills.
//!
//! The rules are those of kubelet's `pkg/kubelet/images/pullmanager/image_pull_policies.go`. They
//! are about what is served from the store without asking: a registry that *is* asked always
//! sees the caller's own credentials.

use std::str::FromStr;

use crate::reference::{Reference, ReferenceError, Repository};

/// A policy of `imagePullCredentialsVerificationPolicy`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum VerificationPolicy {
    /// What is stored is served to anybody on the node.
    NeverVerify,
    /// What was there before the driver pulled anything is served to anybody. There is no such
    /// thing: every tree in the store was pulled by the driver, which knows for whom. So it
    /// verifies everything, like [`VerificationPolicy::AlwaysVerify`].
    NeverVerifyPreloadedImages,
    /// What is stored of repositories in a list is served to anybody.
    NeverVerifyAllowlistedImages,
    /// What is stored is served to those who have read it with their own credentials. Kubelet's
    /// default is laxer, because it has to live with images that others brought.
    #[default]
    AlwaysVerify,
}

/// A text that is none of the four policies.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} is not one of AlwaysVerify, NeverVerify, NeverVerifyPreloadedImages, \
     NeverVerifyAllowlistedImages"
)]
pub struct UnknownVerification(String);

impl FromStr for VerificationPolicy {
    type Err = UnknownVerification;

    fn from_str(text: &str) -> Result<Self, UnknownVerification> {
        match text {
            "NeverVerify" => Ok(Self::NeverVerify),
            "NeverVerifyPreloadedImages" => Ok(Self::NeverVerifyPreloadedImages),
            "NeverVerifyAllowlistedImages" => Ok(Self::NeverVerifyAllowlistedImages),
            "AlwaysVerify" => Ok(Self::AlwaysVerify),
            other => Err(UnknownVerification(other.into())),
        }
    }
}

/// One entry of the list: a repository, or all that lie below a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    registry: String,
    path: String,
    /// Whether `path` is the beginning of the repositories' paths, with its last slash.
    below: bool,
}

/// Why a text is no [`Pattern`].
#[derive(Debug, thiserror::Error)]
pub enum PatternError {
    /// It is no repository.
    #[error("{text:?} is no repository")]
    Repository {
        /// The text.
        text: String,
        /// Why.
        source: ReferenceError,
    },
    /// It has a tag or a digest.
    #[error("{0:?} has a tag or a digest; what is listed are repositories")]
    Selector(String),
    /// It has a wildcard elsewhere than at its end.
    #[error("{0:?} has a * elsewhere than in a /* at its end")]
    Wildcard(String),
}

impl FromStr for Pattern {
    type Err = PatternError;

    /// A repository without tag and digest, or a registry or the beginning of a path with `/*`
    /// at the end: whole components, and any number of them. Short names are Docker Hub's, as in
    /// references.
    fn from_str(text: &str) -> Result<Self, PatternError> {
        // In place of the wildcard: with two components, so that no name of Docker Hub is taken
        // for one of its own images.
        const BELOW: &str = "x/x";
        let (prefix, below) = match text.strip_suffix("/*") {
            Some(prefix) => (format!("{prefix}/{BELOW}"), true),
            None => (text.to_owned(), false),
        };
        if prefix.contains('*') {
            return Err(PatternError::Wildcard(text.into()));
        }
        let reference: Reference = prefix
            .parse()
            .map_err(|source| PatternError::Repository { text: text.into(), source })?;
        if reference.tag().is_some() || reference.digest().is_some() {
            return Err(PatternError::Selector(text.into()));
        }
        let repository = reference.repository();
        let path = repository.path();
        let path = if below { path.strip_suffix(BELOW).unwrap_or(path) } else { path };
        Ok(Self { registry: repository.registry().into(), path: path.into(), below })
    }
}

impl Pattern {
    fn matches(&self, repository: &Repository) -> bool {
        let path = repository.path();
        repository.registry() == self.registry
            && if self.below { path.starts_with(&self.path) } else { path == self.path }
    }
}

/// The policy of a node.
#[derive(Debug, Clone, Default)]
pub struct Verification {
    /// Which policy.
    pub policy: VerificationPolicy,
    /// The repositories of [`VerificationPolicy::NeverVerifyAllowlistedImages`].
    pub allowed: Vec<Pattern>,
}

impl Verification {
    /// Whether stored content of a repository is only for those who have read it themselves.
    pub(super) fn is_needed(&self, repository: &Repository) -> bool {
        match self.policy {
            VerificationPolicy::NeverVerify => false,
            VerificationPolicy::NeverVerifyAllowlistedImages => {
                !self.allowed.iter().any(|pattern| pattern.matches(repository))
            }
            VerificationPolicy::NeverVerifyPreloadedImages | VerificationPolicy::AlwaysVerify => {
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use VerificationPolicy::*;

    fn repository(text: &str) -> Repository {
        text.parse::<Reference>().unwrap().repository().clone()
    }

    #[test]
    fn patterns_match_as_in_kubelet() {
        for (pattern, matching, others) in [
            (
                "r.io/team/skill",
                &["r.io/team/skill"][..],
                &["r.io/team/skill2", "r.io/team/skill/x", "r.io/team", "x.io/team/skill"][..],
            ),
            (
                "r.io/team/*",
                &["r.io/team/skill", "r.io/team/a/b"],
                &["r.io/team", "r.io/teams/skill", "r.io:5000/team/skill", "my-r.io/team/skill"],
            ),
            ("r.io/*", &["r.io/a", "r.io/a/b"], &["r.io:5000/a", "r.io.evil.com/a"]),
            ("R.io:5000/a", &["r.io:5000/a"], &["r.io/a"]),
            ("docker.io/*", &["nginx", "acme/skill"], &["r.io/nginx"]),
            ("nginx", &["docker.io/library/nginx"], &["acme/nginx"]),
            ("acme/*", &["docker.io/acme/skill"], &["nginx", "r.io/acme/skill"]),
        ] {
            let parsed: Pattern = pattern.parse().unwrap();
            for (texts, expected) in [(matching, true), (others, false)] {
                for text in texts {
                    assert_eq!(parsed.matches(&repository(text)), expected, "{pattern} {text}");
                }
            }
        }
    }

    #[test]
    fn what_kubelet_refuses_is_refused() {
        let digest = format!("r.io/a@sha256:{}", "0".repeat(64));
        for (text, problem) in [
            ("*", "*"),
            ("/*", "no repository"),
            ("r.io/*/skill", "*"),
            ("r.io/te*", "*"),
            ("r.io/team*/*", "*"),
            ("*.r.io/*", "*"),
            ("r.io/a:v1", "tag or a digest"),
            (&digest, "tag or a digest"),
            ("r.io/a:v1/*", "no repository"),
            ("", "no repository"),
            (" r.io/a", "no repository"),
            ("r.io/a ", "no repository"),
            ("https://r.io/a", "no repository"),
            ("r.io/", "no repository"),
        ] {
            let error = text.parse::<Pattern>().expect_err(text).to_string();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }

    #[test]
    fn who_need_not_be_verified() {
        let allowed = vec!["r.io/open/*".parse().unwrap()];
        for (policy, listed, others) in [
            ("NeverVerify", false, false),
            ("NeverVerifyPreloadedImages", true, true),
            ("NeverVerifyAllowlistedImages", false, true),
            ("AlwaysVerify", true, true),
        ] {
            let policy = policy.parse().unwrap();
            let node = Verification { policy, allowed: allowed.clone() };
            assert_eq!(node.is_needed(&repository("r.io/open/skill")), listed, "{policy:?}");
            assert_eq!(node.is_needed(&repository("r.io/closed/skill")), others, "{policy:?}");
        }
        assert_eq!(Verification::default().policy, AlwaysVerify);
        assert!("neververify".parse::<VerificationPolicy>().is_err());
    }
}
