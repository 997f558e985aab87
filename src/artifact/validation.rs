//! How strictly skills are checked (formats.md §3).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::skill::FindError;

/// How strictly skills are checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Validation {
    /// There must be a SKILL.md; what is in it does not matter.
    None,
    /// SKILL.md must be UTF-8 of at most 1 MiB. Everything else is a warning.
    #[default]
    Lenient,
    /// Every warning is an error, and so is every breach of the rules of agentskills.io as its
    /// reference implementation checks them. Two rules differ from that implementation: front
    /// matter ends at a line `---` and not at the first such text; and flow-style YAML is
    /// accepted.
    Strict,
}

impl Validation {
    /// Lets warnings pass, unless the validation is strict: then they are the error. For what is
    /// found before a tree is there: a plan's warnings, the config's findings.
    pub fn judge(self, findings: Vec<String>) -> Result<Vec<String>, FindError> {
        match self {
            Self::Strict if !findings.is_empty() => Err(FindError::Strict { findings }),
            Self::None | Self::Lenient | Self::Strict => Ok(findings),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lenient => "lenient",
            Self::Strict => "strict",
        }
    }
}

/// A text is not a validation.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("validation {0:?} is not one of: none, lenient, strict")]
pub struct ValidationError(String);

impl FromStr for Validation {
    type Err = ValidationError;

    fn from_str(text: &str) -> Result<Self, ValidationError> {
        [Self::None, Self::Lenient, Self::Strict]
            .into_iter()
            .find(|validation| validation.name() == text)
            .ok_or_else(|| ValidationError(text.into()))
    }
}

impl fmt::Display for Validation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (text, validation) in [
            ("none", Validation::None),
            ("lenient", Validation::Lenient),
            ("strict", Validation::Strict),
        ] {
            assert_eq!(text.parse(), Ok(validation));
            assert_eq!(validation.to_string(), text);
            assert_eq!(serde_json::to_string(&validation).unwrap(), format!("{text:?}"));
        }
        assert_eq!("Strict".parse::<Validation>(), Err(ValidationError("Strict".into())));
        assert_eq!(Validation::default(), Validation::Lenient);
    }

    #[test]
    fn only_strict_makes_findings_errors() {
        let findings = || vec!["x".to_owned()];
        assert_eq!(Validation::None.judge(findings()).unwrap(), findings());
        assert_eq!(Validation::Lenient.judge(findings()).unwrap(), findings());
        assert!(Validation::Strict.judge(Vec::new()).is_ok());
        let error = Validation::Strict.judge(findings()).unwrap_err();
        assert_eq!(error.to_string(), "strict validation found: x");
    }
}
