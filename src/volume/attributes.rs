//! `volumeAttributes`, typed. Their names follow the pod API's image volume source. A key that
//! is not known is refused, with the nearest one that is: a typo must not be ignored.

use std::collections::{BTreeMap, HashMap};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::artifact::path::{PathError, TreePath};
use crate::artifact::validation::Validation;
use crate::kube::{Name, NotAName};
use crate::pull::{PullOptions, PullPolicy};
use crate::reference::{Reference, ReferenceError};
use crate::store::{Pod, Seal};

/// Keys under this prefix come from kubelet (CSIDriver `podInfoOnMount: true`).
const KUBELET: &str = "csi.storage.k8s.io/";

/// The most references in one volume.
pub const MAX_REFERENCES: usize = 20;

/// The most Secrets that one volume names.
pub const MAX_PULL_SECRETS: usize = 20;

/// The attributes of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// `reference`: one or several, in the order written, without duplicates.
    pub references: Vec<Reference>,
    /// `pullPolicy`; none means Kubernetes' default, which depends on each reference.
    pub pull_policy: Option<PullPolicy>,
    /// `layout`.
    pub layout: Layout,
    /// `skills`: names to take out of a collection; empty means all.
    pub skills: Vec<String>,
    /// `name`: the directory's name, with one skill and a nested layout.
    pub name: Option<String>,
    /// `subPath`: the directory of the artifact to look in, as a volume mount's; none means all.
    pub sub_path: Option<TreePath>,
    /// `validation`.
    pub validation: Validation,
    /// `noexec`.
    pub noexec: bool,
    /// `seal`.
    pub seal: Seal,
    /// `pullSecrets`: Secrets in the pod's namespace, in the order written, without duplicates.
    pub pull_secrets: Vec<Name>,
}

/// `layout`: what the volume's root is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Flat for a single skill, nested for a collection or several references.
    #[default]
    Auto,
    /// The skill's directory is the volume's root.
    Flat,
    /// Each skill is a directory in the volume's root.
    Nested,
    /// The artifact as it is; no skill is looked for.
    Raw,
}

/// What kubelet adds to the attributes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodInfo {
    /// The pod.
    pub pod: Pod,
    /// `csi.storage.k8s.io/ephemeral`.
    pub ephemeral: Option<bool>,
}

/// What is wrong with the attributes.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AttributesError {
    /// `reference` is missing or blank.
    #[error(
        "\"reference\" is missing: set it to an OCI reference such as registry.example/team/skill:v1"
    )]
    NoReference,
    /// More references than one volume holds.
    #[error("{0} references in one volume; at most {MAX_REFERENCES} are allowed")]
    TooManyReferences(usize),
    /// A reference is malformed.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// A key that nobody knows, with the nearest one that is known.
    #[error("unknown attribute {key:?}{}", nearest.map(|n| format!("; did you mean {n:?}?")).unwrap_or_else(|| format!("; known are {}", KNOWN.join(", "))))]
    Unknown {
        /// The key.
        key: String,
        /// The nearest known key, if one is near.
        nearest: Option<&'static str>,
    },
    /// `subPath` is no path inside the artifact.
    #[error("attribute \"subPath\" is {value:?}; it must be a path inside the artifact")]
    SubPath {
        /// The value.
        value: String,
        /// Why.
        source: PathError,
    },
    /// More Secrets than one volume names.
    #[error("\"pullSecrets\" names {0} Secrets; at most {MAX_PULL_SECRETS} are allowed")]
    TooManyPullSecrets(usize),
    /// A Secret with a namespace.
    #[error(
        "\"pullSecrets\" names {0:?}: write the name alone, Secrets are read in the pod's own \
         namespace only"
    )]
    ForeignSecret(String),
    /// Something that is not the name of a Secret.
    #[error("\"pullSecrets\" names {name:?}, as no Secret is called")]
    PullSecret {
        /// The word.
        name: String,
        /// Why.
        source: NotAName,
    },
    /// A value outside its set.
    #[error("attribute {key:?} is {value:?}; it must be one of {allowed}")]
    Value {
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
        /// The allowed values.
        allowed: &'static str,
    },
    /// Two attributes that exclude each other.
    #[error("{0}")]
    Conflict(&'static str),
}

const KNOWN: [&str; 10] = [
    "layout",
    "name",
    "noexec",
    "pullPolicy",
    "pullSecrets",
    "reference",
    "seal",
    "skills",
    "subPath",
    "validation",
];

impl Attributes {
    /// Reads a volume context: our attributes and kubelet's description of the pod.
    pub fn parse(context: &HashMap<String, String>) -> Result<(Self, PodInfo), AttributesError> {
        let mut own = BTreeMap::new();
        let mut pod = PodInfo::default();
        for (key, value) in context {
            match key.strip_prefix(KUBELET) {
                Some(key) => pod.set(key, value),
                None => drop(own.insert(key.as_str(), value.as_str())),
            }
        }
        if let Some(key) = own.keys().find(|key| !KNOWN.contains(key)) {
            return Err(AttributesError::Unknown { key: (*key).into(), nearest: nearest(key) });
        }
        let get = |key: &str| own.get(key).copied();
        let attributes = Self {
            references: references(get("reference").unwrap_or_default())?,
            pull_policy: policy(get("pullPolicy"))?,
            layout: get("layout").map_or(Ok(Layout::default()), str::parse)?,
            skills: list(get("skills").unwrap_or_default()),
            name: get("name").map(str::trim).filter(|name| !name.is_empty()).map(Into::into),
            sub_path: sub_path(get("subPath"))?,
            validation: validation(get("validation"))?,
            noexec: flag("noexec", get("noexec"))?,
            seal: seal(get("seal"))?,
            pull_secrets: pull_secrets(get("pullSecrets").unwrap_or_default())?,
        };
        attributes.check()?;
        Ok((attributes, pod))
    }

    /// What of them changes the files that a pull stores.
    pub fn pull_options(&self) -> PullOptions {
        PullOptions {
            raw: self.layout == Layout::Raw,
            name: self.name.clone(),
            skills: match self.references.len() {
                1 => self.skills.clone(),
                // Which reference has which skill shows only when all are here.
                _ => Vec::new(),
            },
            sub_path: self.sub_path.clone(),
            validation: self.validation,
        }
    }

    fn check(&self) -> Result<(), AttributesError> {
        let conflict = |text| Err(AttributesError::Conflict(text));
        if self.name.is_some() && matches!(self.layout, Layout::Flat | Layout::Raw) {
            return conflict(
                "\"name\" names a directory below the volume's root: it needs layout \"nested\"; \
                 with \"flat\" the last element of the mountPath is the name that agents see",
            );
        }
        if self.name.is_some() && self.references.len() > 1 {
            return conflict("\"name\" names one skill, but there are several references");
        }
        if self.layout == Layout::Raw && (self.references.len() > 1 || !self.skills.is_empty()) {
            return conflict(
                "layout \"raw\" shows one artifact as it is: no \"skills\", and one reference",
            );
        }
        if self.sub_path.is_some() && (self.references.len() > 1 || self.layout == Layout::Raw) {
            return conflict(
                "\"subPath\" says where in one artifact to look for skills: one reference, and no \
                 layout \"raw\"",
            );
        }
        if self.layout == Layout::Flat && self.references.len() > 1 {
            return conflict("layout \"flat\" shows one skill; several references need \"nested\"");
        }
        Ok(())
    }
}

impl PodInfo {
    /// Newer kubelets may say more than is read here: what is not known is left alone. Tokens
    /// of service accounts are among it and stay where they are.
    fn set(&mut self, key: &str, value: &str) {
        match key {
            "pod.name" => self.pod.name = value.into(),
            "pod.namespace" => self.pod.namespace = value.into(),
            "pod.uid" => self.pod.uid = value.into(),
            "serviceAccount.name" => self.pod.service_account = value.into(),
            "ephemeral" => self.ephemeral = Some(value == "true"),
            _ => {}
        }
    }
}

fn nearest(key: &str) -> Option<&'static str> {
    KNOWN
        .iter()
        .map(|known| (strsim::jaro_winkler(&key.to_lowercase(), &known.to_lowercase()), *known))
        .filter(|(similarity, _)| *similarity > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

fn references(text: &str) -> Result<Vec<Reference>, AttributesError> {
    let mut references = Vec::new();
    for word in text.split_whitespace() {
        let reference: Reference = word.parse()?;
        if !references.contains(&reference) {
            references.push(reference);
        }
    }
    match references.len() {
        0 => Err(AttributesError::NoReference),
        1..=MAX_REFERENCES => Ok(references),
        many => Err(AttributesError::TooManyReferences(many)),
    }
}

fn list(text: &str) -> Vec<String> {
    let words = text.split(|c: char| c == ',' || c.is_whitespace());
    words.filter(|word| !word.is_empty()).map(Into::into).collect()
}

fn pull_secrets(text: &str) -> Result<Vec<Name>, AttributesError> {
    let mut names = Vec::new();
    for word in list(text) {
        if word.contains('/') {
            return Err(AttributesError::ForeignSecret(word));
        }
        let name = word.parse();
        let name = name.map_err(|source| AttributesError::PullSecret { name: word, source })?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    match names.len() {
        0..=MAX_PULL_SECRETS => Ok(names),
        many => Err(AttributesError::TooManyPullSecrets(many)),
    }
}

fn sub_path(value: Option<&str>) -> Result<Option<TreePath>, AttributesError> {
    let Some(value) = value else { return Ok(None) };
    let failed = |source| AttributesError::SubPath { value: value.into(), source };
    let path = TreePath::parse(value.as_bytes()).map_err(failed)?;
    Ok(Some(path).filter(|path| !path.is_root()))
}

fn flag(key: &'static str, value: Option<&str>) -> Result<bool, AttributesError> {
    match value {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => {
            Err(AttributesError::Value { key, value: other.into(), allowed: "\"true\", \"false\"" })
        }
    }
}

fn validation(value: Option<&str>) -> Result<Validation, AttributesError> {
    value.map_or(Ok(Validation::default()), |text| {
        text.parse().map_err(|_| AttributesError::Value {
            key: "validation",
            value: text.into(),
            allowed: "none, lenient, strict",
        })
    })
}

fn policy(value: Option<&str>) -> Result<Option<PullPolicy>, AttributesError> {
    let parse = |text: &str| {
        text.parse().map_err(|_| AttributesError::Value {
            key: "pullPolicy",
            value: text.into(),
            allowed: "Always, IfNotPresent, Never",
        })
    };
    value.map(parse).transpose()
}

fn seal(value: Option<&str>) -> Result<Seal, AttributesError> {
    match value {
        None | Some("overlay") => Ok(Seal::Overlay),
        Some("bind") => Ok(Seal::Bind),
        Some(other) => Err(AttributesError::Value {
            key: "seal",
            value: other.into(),
            allowed: "overlay, bind",
        }),
    }
}

impl FromStr for Layout {
    type Err = AttributesError;

    fn from_str(text: &str) -> Result<Self, AttributesError> {
        match text {
            "auto" => Ok(Self::Auto),
            "flat" => Ok(Self::Flat),
            "nested" => Ok(Self::Nested),
            "raw" => Ok(Self::Raw),
            other => Err(AttributesError::Value {
                key: "layout",
                value: other.into(),
                allowed: "auto, flat, nested, raw",
            }),
        }
    }
}

#[cfg(test)]
mod tests;
