//! The state of a skill in its life, as skillimage annotates it (`io.skillimage.status`).

use std::fmt;
use std::str::FromStr;

use super::document::Manifest;

const STATUS: &str = "io.skillimage.status";

/// A skill's state: the names of skillimage's v1alpha1 and, from [`Status::Alpha`] on, v1alpha2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Being written.
    Draft,
    /// Being tried.
    Testing,
    /// Released.
    Published,
    /// Released, but a successor is to be used.
    Deprecated,
    /// Withdrawn; only its digest is left.
    Archived,
    /// An `-alpha.N` version.
    Alpha,
    /// A `-beta.N` version.
    Beta,
    /// A `-rc.N` version.
    Rc,
    /// Released.
    Final,
    /// A name that is not known.
    Other(String),
}

/// What a state means for a pod that wants the skill, where it is not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// Use it.
    Use,
    /// Use it and say so.
    Warn,
}

/// A text that is not the name of a state.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("status {text:?} is not one of: {}", Status::known().map(|known| known.to_string()).join(", "))]
pub struct UnknownStatus {
    text: String,
}

impl FromStr for Status {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, UnknownStatus> {
        match Self::named(text.trim()) {
            Self::Other(_) => Err(UnknownStatus { text: text.into() }),
            known => Ok(known),
        }
    }
}

impl Status {
    /// The state that a manifest's annotations tell; none if they say nothing.
    pub fn of(manifest: &Manifest) -> Option<Self> {
        let text = manifest.annotations.get(STATUS)?.trim();
        (!text.is_empty()).then(|| Self::named(text))
    }

    /// The states that have a name of their own, with it.
    pub fn known() -> [Self; 9] {
        [
            Self::Draft,
            Self::Testing,
            Self::Published,
            Self::Deprecated,
            Self::Archived,
            Self::Alpha,
            Self::Beta,
            Self::Rc,
            Self::Final,
        ]
    }

    fn named(text: &str) -> Self {
        match text.to_ascii_lowercase().as_str() {
            "draft" => Self::Draft,
            "testing" => Self::Testing,
            "published" => Self::Published,
            "deprecated" => Self::Deprecated,
            "archived" => Self::Archived,
            "alpha" => Self::Alpha,
            "beta" => Self::Beta,
            "rc" => Self::Rc,
            "final" => Self::Final,
            _ => Self::Other(text.chars().take(64).collect()),
        }
    }

    /// What to do about it where it is not refused.
    pub fn advice(&self) -> Advice {
        match self {
            Self::Published | Self::Final => Advice::Use,
            Self::Draft
            | Self::Testing
            | Self::Deprecated
            | Self::Archived
            | Self::Alpha
            | Self::Beta
            | Self::Rc
            | Self::Other(_) => Advice::Warn,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Draft => "draft",
            Self::Testing => "testing",
            Self::Published => "published",
            Self::Deprecated => "deprecated",
            Self::Archived => "archived",
            Self::Alpha => "alpha",
            Self::Beta => "beta",
            Self::Rc => "rc",
            Self::Final => "final",
            Self::Other(text) => return write!(f, "{}", text.escape_debug()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::testing::manifest;

    #[test]
    fn o19_states_and_what_they_advise() {
        for (text, status, advice) in [
            ("draft", Status::Draft, Advice::Warn),
            ("Testing", Status::Testing, Advice::Warn),
            ("published", Status::Published, Advice::Use),
            ("deprecated", Status::Deprecated, Advice::Warn),
            ("archived", Status::Archived, Advice::Warn),
            ("alpha", Status::Alpha, Advice::Warn),
            ("beta", Status::Beta, Advice::Warn),
            ("rc", Status::Rc, Advice::Warn),
            ("final", Status::Final, Advice::Use),
            ("x\u{1b}", Status::Other("x\u{1b}".into()), Advice::Warn),
        ] {
            let manifest = manifest(
                &format!(r#"{{"annotations":{{"{STATUS}":{text:?}}}}}"#)
                    .replace("\\u{1b}", "\\u001b"),
            );
            let found = Status::of(&manifest).unwrap();
            assert_eq!((found.clone(), found.advice()), (status, advice));
            assert!(!found.to_string().contains('\u{1b}'));
        }
        assert_eq!(Status::of(&manifest("{}")), None);
        for known in Status::known() {
            assert_eq!(known.to_string().parse(), Ok(known));
        }
        assert_eq!(
            "archvied".parse::<Status>().unwrap_err().to_string(),
            "status \"archvied\" is not one of: draft, testing, published, deprecated, archived, \
             alpha, beta, rc, final"
        );
    }
}
