//! Flags of the driver alone: what pods may expect of pulls.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::Failure;
use crate::credentials::NodeFiles;
use crate::observability::chain;
use crate::pull::verification::{Pattern, PatternError, VerificationPolicy};
use crate::pull::{MAX_PAUSE, PullConfig, Verification};

#[derive(Debug, Args)]
#[command(next_help_heading = "Policy")]
pub(super) struct PolicyArgs {
    /// Seconds for which a pull that failed is not tried again; doubles with each failure, up to
    /// 300; 0 for not at all
    #[arg(long, value_name = "SECONDS", default_value_t = 10, env = "SKILLMOUNT_PULL_BACKOFF",
          value_parser = clap::value_parser!(u64).range(0..=MAX_PAUSE.as_secs()))]
    pull_backoff: u64,
    /// Who is served what is stored, as kubelet's imagePullCredentialsVerificationPolicy:
    /// AlwaysVerify, NeverVerify, NeverVerifyAllowlistedImages or NeverVerifyPreloadedImages
    #[arg(
        long,
        value_name = "POLICY",
        default_value = "AlwaysVerify",
        env = "SKILLMOUNT_CREDENTIALS_VERIFICATION_POLICY"
    )]
    credentials_verification_policy: VerificationPolicy,
    /// Repository, or PATH/* for all below it, that NeverVerifyAllowlistedImages serves to
    /// anybody; may be repeated
    #[arg(long, value_name = "PATTERN", env = "SKILLMOUNT_VERIFY_ALLOW", value_delimiter = ',',
          value_parser = pattern)]
    verify_allow: Vec<Pattern>,
    /// Docker config.json of the node, whose logins every pod may use after those of its own
    /// Secret; read anew for each volume; may be repeated
    #[arg(long, value_name = "FILE", env = "SKILLMOUNT_NODE_CREDENTIALS", value_delimiter = ',')]
    node_credentials: Vec<PathBuf>,
}

/// With its cause, which clap does not print.
fn pattern(text: &str) -> Result<Pattern, String> {
    text.parse().map_err(|error: PatternError| chain(&error))
}

impl PolicyArgs {
    /// The node's own logins. What is wrong with the files is logged now, before a pod suffers.
    pub(super) fn node_files(&self) -> NodeFiles {
        let files = NodeFiles::new(self.node_credentials.clone());
        drop(files.keyring());
        files
    }

    /// The limits with the policies added. As in kubelet, a list under another policy than that
    /// for lists is a mistake.
    pub(super) fn config(&self, limits: PullConfig) -> Result<PullConfig, Failure> {
        let policy = self.credentials_verification_policy;
        if !self.verify_allow.is_empty()
            && policy != VerificationPolicy::NeverVerifyAllowlistedImages
        {
            let problem = "--verify-allow needs --credentials-verification-policy \
                           NeverVerifyAllowlistedImages";
            return Err(Failure::Usage(problem.into()));
        }
        Ok(PullConfig {
            backoff: Duration::from_secs(self.pull_backoff),
            verification: Verification { policy, allowed: self.verify_allow.clone() },
            ..limits
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Only {
        #[command(flatten)]
        policy: PolicyArgs,
    }

    fn parse(flags: &[&str]) -> Result<PullConfig, String> {
        let flags = std::iter::once(&"skillmount").chain(flags);
        let parsed = Only::try_parse_from(flags).map_err(|error| error.to_string())?;
        match parsed.policy.config(PullConfig::default()) {
            Ok(config) => Ok(config),
            Err(Failure::Usage(text)) => Err(text),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn flags_become_the_policy() {
        let config = parse(&[]).unwrap();
        assert_eq!(config.backoff, Duration::from_secs(10));
        assert_eq!(config.verification.policy, VerificationPolicy::AlwaysVerify);
        let list = "--credentials-verification-policy=NeverVerifyAllowlistedImages";
        let config = parse(&["--pull-backoff=0", list, "--verify-allow=r.io/a,r.io/b/*"]).unwrap();
        assert_eq!(config.backoff, Duration::ZERO);
        assert_eq!(config.verification.allowed.len(), 2);
        for (flags, problem) in [
            (&["--pull-backoff=301"][..], "301"),
            (&["--credentials-verification-policy=never"], "is not one of AlwaysVerify"),
            (&[list, "--verify-allow=r.io/a:v1"], "has a tag or a digest"),
            (&["--verify-allow=r.io/a"], "--verify-allow needs"),
        ] {
            let error = parse(flags).unwrap_err();
            assert!(error.contains(problem), "{flags:?}: {error}");
        }
    }
}
