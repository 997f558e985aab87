//! Skills' names: where they come from, which are allowed, and when two are the same
//! (formats.md §6.6).

use std::collections::BTreeMap;

use unicode_normalization::char::is_combining_mark;
use unicode_normalization::{UnicodeNormalization, is_nfc};

use super::config::Config;
use super::document::Manifest;
use super::index::SKILL_NAME;

const TOOLHIVE_NAME: &str = "dev.toolhive.skills.name";
const ALIBABA_NAME: &str = "org.agent.skill.name";
/// The longest name of a skill's directory, in characters.
pub const MAX_CHARACTERS: usize = 128;
/// The longest file name on Linux, in bytes.
const MAX_BYTES: usize = 255;
/// The longest name that the specification allows, in characters.
const SPECIFIED_CHARACTERS: usize = 64;

/// What the artifact's metadata say about a single skill's name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hints {
    /// The name that the caller, or the collection that points to the skill, gives to it. It
    /// counts before all others, and nothing is said about those that differ.
    pub given: Option<String>,
    /// Where a name was found, and the name; the most trusted first.
    pub names: Vec<(&'static str, String)>,
    /// The repository's last segment. The weakest: repositories may have a prefix.
    pub fallback: String,
    /// There is no repository, and the fallback is a path's: an author's `build/out` says nothing
    /// against a skill's own name.
    pub local: bool,
}

/// Why there is no name, or two are the same.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NameError {
    /// Nothing that could be a name is a valid one.
    #[error("the skill in {place} has no usable name: {tried}")]
    None {
        /// Where the skill is in the artifact.
        place: String,
        /// The names that were tried, and what is wrong with each.
        tried: String,
    },
    /// Two skills would get the same directory, on some file systems at least.
    #[error(
        "two skills have the same name: {first:?} ({first_place}) and {second:?} ({second_place})"
    )]
    Collision {
        /// One name.
        first: String,
        /// Where it is from.
        first_place: String,
        /// The other name.
        second: String,
        /// Where that one is from.
        second_place: String,
    },
}

/// The names that a manifest and its config blob hold. The OCI title is not among them: it is a
/// name for people, or a temporary file's. A config that cannot be read gives no name.
pub fn hints(manifest: &Manifest, config: Option<&[u8]>, repository_last_segment: &str) -> Hints {
    let config = config.and_then(|body| Config::parse(manifest, body).ok().flatten());
    let (labels, config_name) = match config {
        Some(Config::Image(config)) => (config.labels, None),
        Some(Config::Skill(config)) => (BTreeMap::new(), config.name),
        None => (BTreeMap::new(), None),
    };
    let annotations = &manifest.annotations;
    let names = [
        ("annotation io.agentskills.skill.name", annotations.get(SKILL_NAME).cloned()),
        ("label io.agentskills.skill.name", labels.get(SKILL_NAME).cloned()),
        ("annotation dev.toolhive.skills.name", annotations.get(TOOLHIVE_NAME).cloned()),
        ("label dev.toolhive.skills.name", labels.get(TOOLHIVE_NAME).cloned()),
        ("annotation org.agent.skill.name", annotations.get(ALIBABA_NAME).cloned()),
        ("the config's name", config_name),
    ];
    let names = names
        .into_iter()
        .filter_map(|(place, name)| {
            let name: String = name?.trim().nfc().collect();
            (!name.is_empty()).then_some((place, name))
        })
        .collect();
    Hints { given: None, names, fallback: repository_last_segment.to_owned(), local: false }
}

/// What is wrong with a name by agentskills.io; none if nothing is.
pub fn specification_problem(name: &str) -> Option<&'static str> {
    let name: String = name.nfkc().collect();
    if name.is_empty() {
        return Some("is empty");
    }
    if name.chars().count() > SPECIFIED_CHARACTERS {
        return Some("is longer than 64 characters");
    }
    if name != name.to_lowercase() {
        return Some("is not lower-case");
    }
    if !name.chars().all(|c| c.is_alphanumeric() || c == '-') {
        return Some("has other characters than letters, digits and hyphens");
    }
    if name.starts_with('-') || name.ends_with('-') {
        return Some("starts or ends with a hyphen");
    }
    name.contains("--").then_some("has two hyphens in a row")
}

/// What forbids a name as a skill's directory; none if nothing does. Letters are any script's,
/// in NFC. A colon is allowed only where a collection's folder already has one.
pub fn directory_problem(name: &str, colon: bool) -> Option<&'static str> {
    let Some(first) = name.chars().next() else { return Some("is empty") };
    if name.chars().count() > MAX_CHARACTERS {
        return Some("is longer than 128 characters");
    }
    if name.len() > MAX_BYTES {
        return Some("is longer than 255 bytes");
    }
    if !is_nfc(name) {
        return Some("is not in Unicode normal form C");
    }
    if first != '_' && !first.is_alphanumeric() {
        return Some("does not start with a letter, a digit or _");
    }
    let allowed = |c: char| {
        c.is_alphanumeric()
            || is_combining_mark(c)
            || matches!(c, '.' | '_' | '-')
            || (colon && c == ':')
    };
    (!name.chars().all(allowed)).then_some("has other characters than letters, digits and . _ -")
}

/// Refuses names that are the same, also where only their case differs. Each comes with its
/// place, which the error names.
pub fn refuse_collisions<'a>(
    names: impl IntoIterator<Item = (&'a str, String)>,
) -> Result<(), NameError> {
    let mut seen: BTreeMap<String, (&str, String)> = BTreeMap::new();
    for (name, place) in names {
        let folded = name.nfkc().collect::<String>().to_lowercase();
        if let Some((first, first_place)) = seen.get(&folded) {
            return Err(NameError::Collision {
                first: (*first).to_owned(),
                first_place: first_place.clone(),
                second: name.to_owned(),
                second_place: place,
            });
        }
        seen.insert(folded, (name, place));
    }
    Ok(())
}

/// A name for a message: one of any length may come from an artifact.
pub(super) fn shortened(name: &str) -> String {
    match name.char_indices().nth(MAX_CHARACTERS) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

/// A chosen name, and what was odd about the choice.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) name: String,
    /// Sources whose name is not allowed.
    pub(super) unusable: Vec<String>,
    /// Sources that say another name than the chosen one.
    pub(super) disagreement: Option<String>,
}

/// The first usable name of `sources`, the most trusted first.
pub(super) fn choose(
    sources: &[(&str, &str)],
    place: &str,
    colon: bool,
) -> Result<Chosen, NameError> {
    let mut unusable = Vec::new();
    let mut chosen: Option<(&str, String)> = None;
    let mut others = Vec::new();
    for (source, name) in sources {
        let name: String = name.nfc().collect();
        if let Some(problem) = directory_problem(&name, colon) {
            unusable.push(format!("{source}: {:?} {problem}", shortened(&name)));
            continue;
        }
        match &chosen {
            None => chosen = Some((source, name)),
            Some((_, first)) if is_same(first, &name) => {}
            Some(_) => others.push(format!("{source} says {name:?}")),
        }
    }
    let Some((source, name)) = chosen else {
        return Err(NameError::None { place: place.to_owned(), tried: unusable.join("; ") });
    };
    let disagreement = (!others.is_empty())
        .then(|| format!("the skill is named {name:?} by {source}, but {}", others.join(", ")));
    Ok(Chosen { name, unusable, disagreement })
}

/// As the reference implementation compares a name with its directory's.
fn is_same(one: &str, other: &str) -> bool {
    one.nfkc().eq(other.nfkc())
}

#[cfg(test)]
mod tests;
