//! `CredentialProviderConfig`, the file that kubelet is given with
//! `--image-credential-provider-config`: read and validated as kubelet 1.36 does
//! (`pkg/credentialprovider/plugin/config.go`), so that one file serves both.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::fields::{Field, FieldError, Object};
use super::program::ProgramError;
use crate::artifact::yaml::{self, Yaml, YamlError};
use crate::credentials::key;
use crate::duration;

/// The largest file that is read, in bytes.
const MAX_FILE: usize = 1 << 20;

/// How deep lists and maps may lie in each other; a provider's annotation keys are at five.
const MAX_DEPTH: usize = 8;

const GROUP: &str = "kubelet.config.k8s.io/";

/// The versions of the exec API. What is sent and what comes back is the same in all of them, but
/// that only the first knows service accounts.
const API_VERSIONS: [&str; 3] = [
    "credentialprovider.kubelet.k8s.io/v1",
    "credentialprovider.kubelet.k8s.io/v1beta1",
    "credentialprovider.kubelet.k8s.io/v1alpha1",
];

/// Why there are no providers.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A file or a directory cannot be read.
    #[error("cannot read the credential provider configuration {path:?}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The directory has no file to read.
    #[error("there is no *.json, *.yaml or *.yml file in {0:?}")]
    NoFile(PathBuf),
    /// A file is larger than any.
    #[error("the credential provider configuration {path:?} has more than {MAX_FILE} bytes")]
    TooLarge {
        /// Which.
        path: PathBuf,
    },
    /// A file is not text.
    #[error("the credential provider configuration {0:?} is not UTF-8")]
    NotText(PathBuf),
    /// A file is neither YAML nor JSON, or uses more of YAML than a configuration needs.
    #[error("the credential provider configuration {path:?} cannot be understood")]
    Yaml {
        /// Which.
        path: PathBuf,
        /// Why.
        source: YamlError,
    },
    /// A field is not as it should be.
    #[error("the credential provider configuration {path:?} is not valid")]
    Field {
        /// Which file.
        path: PathBuf,
        /// Which field, and why.
        source: FieldError,
    },
    /// The directory of programs cannot be used.
    #[error("cannot use the directory of credential providers {path:?}")]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: ProgramError,
    },
    /// A provider's program is not to be executed.
    #[error("cannot use the credential provider {path:?}")]
    Program {
        /// Which.
        path: PathBuf,
        /// Why.
        source: ProgramError,
    },
}

/// One provider as it is configured. Without `Debug`: an environment may hold secrets.
pub(super) struct ProviderConfig {
    /// The program's name in the directory, and the provider's in messages.
    pub(super) name: String,
    /// The images it is asked for.
    pub(super) match_images: Vec<String>,
    /// How long an answer is kept that does not say.
    pub(super) default_cache_duration: Duration,
    /// The version of the exec API.
    pub(super) api_version: &'static str,
    pub(super) args: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    /// What it wants to know of the pod's service account.
    pub(super) tokens: Option<TokenAttributes>,
}

/// KEP-4412.
pub(super) struct TokenAttributes {
    pub(super) audience: String,
    pub(super) cache_type: CacheType,
    /// Whether it is not asked for pods without a service account.
    pub(super) required: bool,
    pub(super) required_annotations: Vec<String>,
    pub(super) optional_annotations: Vec<String>,
}

/// For whom an answer is kept that was given for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CacheType {
    ServiceAccount,
    Token,
}

/// The providers of a file, or of all files of a directory in the order of their names.
pub(super) fn load(path: &Path) -> Result<Vec<ProviderConfig>, SetupError> {
    let mut providers: Vec<ProviderConfig> = Vec::new();
    for file in files(path)? {
        let found = parse(&read(&file)?).map_err(|problem| match problem {
            Problem::Yaml(source) => SetupError::Yaml { path: file.clone(), source },
            Problem::Field(source) => SetupError::Field { path: file.clone(), source },
        })?;
        for (index, provider) in found.into_iter().enumerate() {
            if providers.iter().any(|other| other.name == provider.name) {
                let problem = format!("{:?} is configured twice", provider.name);
                let source = FieldError { field: format!("providers[{index}].name"), problem };
                return Err(SetupError::Field { path: file, source });
            }
            providers.push(provider);
        }
    }
    if providers.is_empty() {
        let source = FieldError { field: "providers".into(), problem: "is empty".into() };
        return Err(SetupError::Field { path: path.into(), source });
    }
    Ok(providers)
}

fn files(path: &Path) -> Result<Vec<PathBuf>, SetupError> {
    let failed = |source| SetupError::Read { path: path.into(), source };
    if !std::fs::metadata(path).map_err(failed)?.is_dir() {
        return Ok(vec![path.into()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let file = entry.path();
        let is_config = file
            .extension()
            .and_then(|extension| extension.to_str())
            .is_some_and(|extension| matches!(extension, "json" | "yaml" | "yml"));
        if is_config && !entry.file_type().map_err(failed)?.is_dir() {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() { Err(SetupError::NoFile(path.into())) } else { Ok(files) }
}

fn read(path: &Path) -> Result<String, SetupError> {
    let failed = |source| SetupError::Read { path: path.into(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > MAX_FILE {
        return Err(SetupError::TooLarge { path: path.into() });
    }
    String::from_utf8(bytes).map_err(|_| SetupError::NotText(path.into()))
}

/// What is wrong with a document.
#[derive(Debug, PartialEq, Eq)]
enum Problem {
    Yaml(YamlError),
    Field(FieldError),
}

impl From<FieldError> for Problem {
    fn from(error: FieldError) -> Self {
        Self::Field(error)
    }
}

fn parse(text: &str) -> Result<Vec<ProviderConfig>, Problem> {
    let text = text.trim_start_matches('\u{feff}');
    let Yaml { value, duplicates } = yaml::load(text, MAX_DEPTH).map_err(Problem::Yaml)?;
    let root = Field::root(&value);
    if let Some(name) = duplicates.first() {
        return Err(root.wrong(format!("an object has the field {name:?} twice")).into());
    }
    let root = root.object(&["apiVersion", "kind", "providers"])?;
    let version = root.require("apiVersion")?;
    let version_name = version.text()?.strip_prefix(GROUP).unwrap_or_default();
    if !matches!(version_name, "v1" | "v1beta1" | "v1alpha1") {
        return Err(version.wrong(format!("is not {GROUP}v1")).into());
    }
    let kind = root.require("kind")?;
    if kind.text()? != "CredentialProviderConfig" {
        return Err(kind.wrong("is not CredentialProviderConfig").into());
    }
    let Some(providers) = root.get("providers") else { return Ok(Vec::new()) };
    let knows_tokens = version_name == "v1";
    let providers = providers.list()?.into_iter().map(|field| provider(field, knows_tokens));
    Ok(providers.collect::<Result<_, _>>()?)
}

fn provider(field: Field<'_>, knows_tokens: bool) -> Result<ProviderConfig, FieldError> {
    const KNOWN: [&str; 7] = [
        "name",
        "matchImages",
        "defaultCacheDuration",
        "apiVersion",
        "args",
        "env",
        // Last, since only v1 knows it.
        "tokenAttributes",
    ];
    let object = field.object(if knows_tokens { &KNOWN } else { &KNOWN[..6] })?;
    let name = object.require_text("name")?;
    if matches!(name, "." | "..") || name.contains(['/', ' ', '\0']) {
        let problem = "cannot be a program's name: no slash, no space, not . or ..";
        return Err(object.require("name")?.wrong(problem));
    }
    let images = object.require("matchImages")?;
    let mut match_images = Vec::new();
    for image in images.list()? {
        match key::pattern(image.text()?) {
            Ok(pattern) => match_images.push(pattern),
            Err(problem) => return Err(image.wrong(problem)),
        }
    }
    if match_images.is_empty() {
        return Err(images.wrong("is empty"));
    }
    let cache = object.require("defaultCacheDuration")?;
    let default_cache_duration = match duration::parse(cache.text()?) {
        None => return Err(cache.wrong("is not a duration such as 12h or 30m")),
        Some(found) if found.negative => return Err(cache.wrong("is negative")),
        Some(found) => found.length,
    };
    let version = object.require("apiVersion")?;
    let wanted = version.text()?;
    let api_version = *API_VERSIONS
        .iter()
        .find(|known| **known == wanted)
        .ok_or_else(|| version.wrong(format!("is not one of {}", API_VERSIONS.join(", "))))?;
    let env = match object.get("env") {
        Some(list) => list.list()?.into_iter().map(variable).collect::<Result<_, _>>()?,
        None => Vec::new(),
    };
    let tokens = match object.get("tokenAttributes") {
        Some(field) if api_version != API_VERSIONS[0] => {
            return Err(field.wrong(format!("needs the provider's apiVersion {}", API_VERSIONS[0])));
        }
        Some(field) => Some(token_attributes(field)?),
        None => None,
    };
    let args = object.texts("args")?;
    if let Some(index) = args.iter().position(|arg| arg.contains('\0')) {
        return Err(object.wrong(format!("args[{index}] has a NUL")));
    }
    Ok(ProviderConfig {
        name: name.into(),
        match_images,
        default_cache_duration,
        api_version,
        args,
        env,
        tokens,
    })
}

fn variable(field: Field<'_>) -> Result<(String, String), FieldError> {
    let object = field.object(&["name", "value"])?;
    let name = object.require_text("name")?;
    let value = object.get("value").map_or(Ok(""), |field| field.text())?;
    if name.contains(['=', '\0']) || value.contains('\0') {
        return Err(object.wrong("has a NUL, or a name with a ="));
    }
    Ok((name.into(), value.into()))
}

fn token_attributes(field: Field<'_>) -> Result<TokenAttributes, FieldError> {
    const REQUIRED: &str = "requiredServiceAccountAnnotationKeys";
    const OPTIONAL: &str = "optionalServiceAccountAnnotationKeys";
    let object = field.object(&[
        "serviceAccountTokenAudience",
        "cacheType",
        "requireServiceAccount",
        REQUIRED,
        OPTIONAL,
    ])?;
    let audience = object.require_text("serviceAccountTokenAudience")?.to_owned();
    let cache = object.require("cacheType")?;
    let cache_type = match cache.text()? {
        "ServiceAccount" => CacheType::ServiceAccount,
        "Token" => CacheType::Token,
        _ => return Err(cache.wrong("is not one of ServiceAccount, Token")),
    };
    let required = object.require("requireServiceAccount")?.boolean()?;
    let required_annotations = annotation_keys(&object, REQUIRED)?;
    let optional_annotations = annotation_keys(&object, OPTIONAL)?;
    if !required && !required_annotations.is_empty() {
        return Err(object.require(REQUIRED)?.wrong("needs requireServiceAccount: true"));
    }
    if let Some(both) = required_annotations.iter().find(|key| optional_annotations.contains(key)) {
        return Err(object.wrong(format!("{both:?} is both required and optional")));
    }
    Ok(TokenAttributes {
        audience,
        cache_type,
        required,
        required_annotations,
        optional_annotations,
    })
}

fn annotation_keys(object: &Object<'_>, name: &str) -> Result<Vec<String>, FieldError> {
    let Some(field) = object.get(name) else { return Ok(Vec::new()) };
    let mut seen = HashSet::new();
    for item in field.list()? {
        let key = item.text()?;
        if !is_qualified_name(key) {
            return Err(item.wrong("is not an annotation's key"));
        }
        if !seen.insert(key) {
            return Err(item.wrong("occurs twice"));
        }
    }
    field.texts()
}

/// `[prefix/]name` of Kubernetes (apimachinery, `IsQualifiedName`), in any case as annotations.
fn is_qualified_name(key: &str) -> bool {
    let word = |text: &str, inner: &[u8]| {
        let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = text.as_bytes();
        edge(bytes.first())
            && edge(bytes.last())
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || inner.contains(b))
    };
    let (prefix, name) = key.split_once('/').map_or((None, key), |(p, n)| (Some(p), n));
    let is_subdomain =
        |text: &str| text.len() <= 253 && text.split('.').all(|label| word(label, b"-"));
    name.len() <= 63 && word(name, b"-_.") && prefix.is_none_or(is_subdomain)
}

#[cfg(test)]
mod tests;
