//! What is told, and how: kubelet's reasons, and kubelet's sentences with the word *skill* where it
//! has *image* (kubernetes, pkg/kubelet/images/image_manager.go and pkg/kubelet/events/event.go).

use std::time::Duration;

use crate::duration;

/// The longest message, in bytes (`NoteLengthLimit`, kubernetes pkg/apis/core/validation).
const MAX_MESSAGE: usize = 1024;

/// Something that became of a reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// A registry is about to be asked.
    Pulling {
        /// The reference.
        reference: &'a str,
    },
    /// The pull has brought it.
    Pulled {
        /// The reference.
        reference: &'a str,
        /// How long that took, from the pull's turn on.
        took: Duration,
        /// The same with the wait for its turn.
        waited: Duration,
        /// How much the files have, in bytes.
        bytes: u64,
    },
    /// It was here.
    Present {
        /// The reference.
        reference: &'a str,
    },
    /// The pull has failed.
    Failed {
        /// The reference.
        reference: &'a str,
        /// What follows the reference: what there was to log in with, a colon, and why. Without
        /// secrets.
        problem: &'a str,
    },
    /// It is not here, or not for this pod, and is not to be pulled.
    NeverPulled {
        /// The reference.
        reference: &'a str,
    },
    /// It failed a short while ago and is not tried again yet.
    BackOff {
        /// The reference.
        reference: &'a str,
    },
    /// It is mounted, and something about it is odd.
    Odd {
        /// The reference.
        reference: &'a str,
        /// What, joined.
        findings: &'a str,
    },
    /// Its volume is not what it was any more.
    Abnormal {
        /// How, as the volume's condition has it.
        problem: &'a str,
    },
}

impl Event<'_> {
    /// The type, as the API has it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Pulling { .. }
            | Self::Pulled { .. }
            | Self::Present { .. }
            | Self::BackOff { .. } => "Normal",
            Self::Failed { .. }
            | Self::NeverPulled { .. }
            | Self::Odd { .. }
            | Self::Abnormal { .. } => "Warning",
        }
    }

    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Pulling { .. } => "Pulling",
            Self::Pulled { .. } | Self::Present { .. } => "Pulled",
            Self::Failed { .. } => "Failed",
            Self::NeverPulled { .. } => "ErrImageNeverPull",
            Self::BackOff { .. } => "BackOff",
            // Kubelet never looks into an image, and has no word for this.
            Self::Odd { .. } => "SkillWarning",
            // Kubelet's for a volume's condition, which it tells only with a feature gate
            // (`CSIVolumeHealth`).
            Self::Abnormal { .. } => "VolumeConditionAbnormal",
        }
    }

    /// The sentence, no longer than the API allows.
    pub(super) fn message(&self) -> String {
        cut(match self {
            Self::Pulling { reference } => format!("Pulling skill \"{reference}\""),
            Self::Pulled { reference, took, waited, bytes } => {
                let [took, waited] = [took, waited].map(|time| duration::text(*time));
                format!(
                    "Successfully pulled skill \"{reference}\" in {took} ({waited} including \
                     waiting). Skill size: {bytes} bytes."
                )
            }
            Self::Present { reference } => {
                format!("Skill \"{reference}\" already present on node")
            }
            Self::Failed { reference, problem } => {
                format!("Failed to pull skill \"{reference}\"{problem}")
            }
            Self::NeverPulled { reference } => {
                format!("Skill \"{reference}\" is not present with pull policy of Never")
            }
            Self::BackOff { reference } => format!("Back-off pulling skill \"{reference}\""),
            Self::Odd { reference, findings } => format!("Skill \"{reference}\": {findings}"),
            Self::Abnormal { problem } => format!("The volume of skills: {problem}"),
        })
    }
}

/// The text, or its beginning with a sign that there was more.
fn cut(mut text: String) -> String {
    const MORE: char = '…';
    if text.len() > MAX_MESSAGE {
        let room = MAX_MESSAGE - MORE.len_utf8();
        let ends = text.char_indices().map(|(at, character)| at + character.len_utf8());
        let end = ends.take_while(|end| *end <= room).last().unwrap_or_default();
        text.truncate(end);
        text.push(MORE);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_kubelets() {
        let reference = "ghcr.io/acme/skill:1";
        let ms = Duration::from_millis;
        for (event, expected) in [
            (Event::Pulling { reference }, "Normal Pulling Pulling skill \"ghcr.io/acme/skill:1\""),
            (
                Event::Pulled { reference, took: ms(1200), waited: ms(61_300), bytes: 7 },
                "Normal Pulled Successfully pulled skill \"ghcr.io/acme/skill:1\" in 1.2s (1m1.3s \
                 including waiting). Skill size: 7 bytes.",
            ),
            (
                Event::Present { reference },
                "Normal Pulled Skill \"ghcr.io/acme/skill:1\" already present on node",
            ),
            (
                Event::Failed { reference, problem: ": not found" },
                "Warning Failed Failed to pull skill \"ghcr.io/acme/skill:1\": not found",
            ),
            (
                Event::NeverPulled { reference },
                "Warning ErrImageNeverPull Skill \"ghcr.io/acme/skill:1\" is not present with pull \
                 policy of Never",
            ),
            (
                Event::BackOff { reference },
                "Normal BackOff Back-off pulling skill \"ghcr.io/acme/skill:1\"",
            ),
            (
                Event::Odd { reference, findings: "a; b" },
                "Warning SkillWarning Skill \"ghcr.io/acme/skill:1\": a; b",
            ),
            (
                Event::Abnormal { problem: "it is gone" },
                "Warning VolumeConditionAbnormal The volume of skills: it is gone",
            ),
        ] {
            let told = format!("{} {} {}", event.kind(), event.reason(), event.message());
            assert_eq!(told, expected);
        }
    }

    #[test]
    fn a_message_is_cut_between_characters() {
        for (length, characters) in [(1024, 1024), (1025, 1022)] {
            let text = cut("a".repeat(length));
            assert_eq!((text.chars().count(), text.len()), (characters, 1024));
        }
        // 511 of two bytes and one of one would end within a character.
        let text = cut(format!("a{}", "é".repeat(600)));
        assert_eq!(text, format!("a{}…", "é".repeat(510)));
        assert_eq!(text.len(), 1024);
        let text = cut("é".repeat(600));
        assert_eq!((text.len(), text.ends_with("é…")), (1023, true));
    }
}
