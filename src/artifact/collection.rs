//! skillimage collections: a YAML list of references to skills in other repositories
//! (formats.md §1.1).

use super::name::{self, NameError};
use super::yaml::{self, Value, YamlError};
use crate::reference::{Reference, ReferenceError};

/// The longest collection, in bytes.
pub const MAX_BYTES: usize = 1 << 20;
/// How many skills one may list.
pub const MAX_ENTRIES: usize = 100;
const MAX_DEPTH: usize = 8;
const KIND: &str = "SkillCollection";
const API_VERSION: &str = "skillimage.io/v1alpha1";

/// A collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collection {
    /// Its skills, at least one.
    pub entries: Vec<Entry>,
    /// What could not be served: a strict validation makes it an error.
    pub warnings: Vec<String>,
}

/// One skill of a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name of its directory.
    pub name: String,
    /// Where it is. It may be on any registry; only the user's own credentials for that registry
    /// may be used.
    pub image: Reference,
}

/// Why a text is not a collection.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CollectionError {
    /// More than [`MAX_BYTES`].
    #[error("the collection has {0} bytes, more than {MAX_BYTES}")]
    TooLarge(usize),
    /// Not UTF-8.
    #[error("the collection is not UTF-8")]
    NotUtf8,
    /// Not plain YAML.
    #[error("the collection cannot be read")]
    Yaml(#[from] YamlError),
    /// Not a `SkillCollection`.
    #[error("the collection is of kind {0:?}, not {KIND:?}")]
    Kind(String),
    /// There is no list `skills`.
    #[error("the collection has no list \"skills\"")]
    NoSkills,
    /// More than [`MAX_ENTRIES`].
    #[error("the collection lists {0} skills, more than {MAX_ENTRIES}")]
    TooMany(usize),
    /// None of the entries is an image.
    #[error("the collection lists no image (its entries are sources, which only tools can fetch)")]
    NoImages,
    /// An entry has neither an image nor a source, or its fields are not texts.
    #[error("entry {0} of the collection has neither an image nor a source")]
    Entry(usize),
    /// An image must have a name that can be a directory's.
    #[error("entry {entry} of the collection: name {name:?} {problem}")]
    Name {
        /// The entry, from 1.
        entry: usize,
        /// The name, or nothing.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// An image is not a reference.
    #[error("entry {entry} of the collection")]
    Image {
        /// The entry, from 1.
        entry: usize,
        /// What is wrong with it.
        source: ReferenceError,
    },
    /// Two entries have the same name.
    #[error("the collection's names are not unique")]
    Names(#[source] NameError),
}

/// Reads a collection's YAML.
pub fn parse(body: &[u8]) -> Result<Collection, CollectionError> {
    if body.len() > MAX_BYTES {
        return Err(CollectionError::TooLarge(body.len()));
    }
    let text = std::str::from_utf8(body).map_err(|_| CollectionError::NotUtf8)?;
    let yaml = yaml::load(text.trim_start_matches('\u{feff}'), MAX_DEPTH)?;
    let mut warnings = Vec::new();
    for key in yaml.duplicates {
        warnings.push(format!(
            "the collection has {key:?} more than once; the last counts [skillimage: collection]"
        ));
    }
    let text = |key| yaml.value.get(key).and_then(Value::text).unwrap_or_default();
    if text("kind") != KIND {
        return Err(CollectionError::Kind(name::shortened(text("kind"))));
    }
    if text("apiVersion") != API_VERSION {
        let version = name::shortened(text("apiVersion"));
        warnings.push(format!("the collection's apiVersion {version:?} is not {API_VERSION:?} [skillimage: collection]"));
    }
    let Some(Value::List(items)) = yaml.value.get("skills") else {
        return Err(CollectionError::NoSkills);
    };
    if items.len() > MAX_ENTRIES {
        return Err(CollectionError::TooMany(items.len()));
    }
    let mut entries = Vec::new();
    for (index, item) in items.iter().enumerate() {
        match entry(item, index + 1)? {
            Found::Image(entry) => entries.push(entry),
            Found::Source(source) => warnings.push(format!(
                "entry {} of the collection is a source, {:?}, which a registry cannot serve; \
                 left out [skillimage: collection]",
                index + 1,
                name::shortened(&source)
            )),
        }
    }
    if entries.is_empty() {
        return Err(CollectionError::NoImages);
    }
    let names = entries.iter().map(|entry| (entry.name.as_str(), entry.image.to_string()));
    name::refuse_collisions(names).map_err(CollectionError::Names)?;
    Ok(Collection { entries, warnings })
}

enum Found {
    Image(Entry),
    Source(String),
}

fn entry(item: &Value, number: usize) -> Result<Found, CollectionError> {
    let text = |key| item.get(key).and_then(Value::text).filter(|text| !text.is_empty());
    let Some(image) = text("image") else {
        return match text("source") {
            Some(source) => Ok(Found::Source(source.to_owned())),
            None => Err(CollectionError::Entry(number)),
        };
    };
    let name = text("name").unwrap_or_default();
    if let Some(problem) = name::directory_problem(name, false) {
        let name = name::shortened(name);
        return Err(CollectionError::Name { entry: number, name, problem });
    }
    let image = image.parse().map_err(|source| CollectionError::Image { entry: number, source })?;
    Ok(Found::Image(Entry { name: name.to_owned(), image }))
}

#[cfg(test)]
mod tests;
