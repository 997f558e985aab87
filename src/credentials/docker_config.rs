//! Docker's registry configuration, in the spellings that occur in secrets and files. Parsed as
//! data: helpers that it names are never run.

use base64::Engine;
use base64::engine::general_purpose::GeneralPurpose;
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use serde_json::{Map, Value};

use super::Login;

/// The most entries of one document. A Secret of 1 MiB could hold tens of thousands, each of which
/// would be kept and tried.
pub(super) const MAX_ENTRIES: usize = 256;

/// The largest document that is parsed, in bytes: the limit of a Kubernetes Secret.
pub const MAX_DOCUMENT: usize = 1 << 20;

/// Why a secret or a configuration file cannot be used. `origin` says where, as in
/// `secret key ".dockerconfigjson"`; what stands there is never shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// It is larger than [`MAX_DOCUMENT`].
    #[error("{origin} has {size} bytes, more than {MAX_DOCUMENT}")]
    TooLarge {
        /// Where.
        origin: String,
        /// How large it is, in bytes.
        size: usize,
    },
    /// It has more entries than anybody has registries.
    #[error("{origin} has {entries} entries, more than {MAX_ENTRIES}")]
    TooMany {
        /// Where.
        origin: String,
        /// How many.
        entries: usize,
    },
    /// It is not JSON.
    #[error("{origin} is not valid JSON: line {line}, column {column}")]
    Json {
        /// Where.
        origin: String,
        /// The line of the mistake, from 1.
        line: usize,
        /// The column of the mistake, from 1.
        column: usize,
    },
    /// A value has another type than it should.
    #[error("{origin} is not {expected}")]
    Type {
        /// Where.
        origin: String,
        /// What it should be.
        expected: &'static str,
    },
    /// An `auth` is not `base64(user:password)`.
    #[error("{origin}: `auth` is not the base64 of user:password: {problem}")]
    Auth {
        /// Where.
        origin: String,
        /// What is wrong with it.
        problem: AuthProblem,
    },
}

/// What is wrong with an `auth`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthProblem {
    /// There is a character that base64 does not have, or one is missing, at this byte.
    Base64 {
        /// The byte's position, from 0; `None` if it is the length that is wrong.
        at: Option<usize>,
    },
    /// What it encodes is not UTF-8.
    Utf8,
    /// What it encodes has no colon.
    Colon,
}

impl std::fmt::Display for AuthProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Base64 { at: Some(at) } => write!(f, "byte {at} is not base64"),
            Self::Base64 { at: None } => f.write_str("its length is not that of base64"),
            Self::Utf8 => f.write_str("what it encodes is not UTF-8"),
            Self::Colon => f.write_str("what it encodes has no colon"),
        }
    }
}

/// Which of the two documents it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `{"auths": {…}}`: `.dockerconfigjson`, `config.json`, podman's `auth.json`.
    Config,
    /// The bare map of `.dockercfg`.
    Legacy,
}

/// One entry of a document.
pub(super) struct Entry {
    /// The registry key as it stands there.
    pub(super) key: String,
    /// The logins, in trial order; none if the entry is empty.
    pub(super) logins: Vec<Login>,
}

/// What of a document could not be used, beside its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notice {
    /// It has no `auths`.
    NoAuths,
    /// It names helper programs.
    Helpers,
}

/// The entries of a document, sorted by key. `name` makes a registry key fit to be shown.
pub(super) fn parse(
    bytes: &[u8],
    origin: &str,
    form: Form,
    name: impl Fn(&str) -> String,
) -> Result<(Vec<Entry>, Vec<Notice>), SecretError> {
    if bytes.len() > MAX_DOCUMENT {
        return Err(SecretError::TooLarge { origin: origin.into(), size: bytes.len() });
    }
    // As kubelet: empty data is no mistake.
    if bytes.is_empty() {
        return Ok((Vec::new(), vec![Notice::NoAuths]));
    }
    let value: Value = serde_json::from_slice(bytes).map_err(|error| SecretError::Json {
        origin: origin.into(),
        line: error.line(),
        column: error.column(),
    })?;
    let mut document = object(value, || origin.into())?;
    let mut notices = Vec::new();
    let auths = match form {
        Form::Legacy => document,
        Form::Config => {
            let is_named = |key| document.get(key).is_some_and(|helper| !is_blank(helper));
            if is_named("credsStore") || is_named("credHelpers") {
                notices.push(Notice::Helpers);
            }
            match document.remove("auths") {
                None | Some(Value::Null) => {
                    notices.push(Notice::NoAuths);
                    Map::new()
                }
                Some(auths) => object(auths, || format!("{origin}, `auths`"))?,
            }
        }
    };
    if auths.len() > MAX_ENTRIES {
        return Err(SecretError::TooMany { origin: origin.into(), entries: auths.len() });
    }
    let mut entries = Vec::with_capacity(auths.len());
    for (key, value) in auths {
        let origin = || format!("{origin}, entry {:?}", name(&key));
        let logins = entry(object(value, origin)?, &origin)?;
        entries.push(Entry { key, logins });
    }
    Ok((entries, notices))
}

fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

fn object(value: Value, origin: impl Fn() -> String) -> Result<Map<String, Value>, SecretError> {
    match value {
        Value::Object(map) => Ok(map),
        Value::Null => Ok(Map::new()),
        _ => Err(SecretError::Type { origin: origin(), expected: "a JSON object" }),
    }
}

fn entry(map: Map<String, Value>, origin: &impl Fn() -> String) -> Result<Vec<Login>, SecretError> {
    let mut fields = Fields::default();
    let mut auth = String::new();
    for (name, value) in map {
        // Go's decoder, and so kubelet, ignores the case of field names.
        let (field, name) = match name.to_ascii_lowercase().as_str() {
            "username" => (&mut fields.username, "username"),
            "password" => (&mut fields.password, "password"),
            "identitytoken" => (&mut fields.identity_token, "identitytoken"),
            "registrytoken" => (&mut fields.registry_token, "registrytoken"),
            "auth" => (&mut auth, "auth"),
            _ => continue,
        };
        match value {
            Value::String(text) => *field = text,
            Value::Null => {}
            _ => {
                let origin = format!("{}, `{name}`", origin());
                return Err(SecretError::Type { origin, expected: "a string" });
            }
        }
    }
    if !auth.is_empty() {
        (fields.username, fields.password) =
            decode(&auth).map_err(|problem| SecretError::Auth { origin: origin(), problem })?;
    }
    Ok(fields.logins())
}

/// What one entry may say.
#[derive(Default)]
pub(super) struct Fields {
    pub(super) username: String,
    pub(super) password: String,
    pub(super) identity_token: String,
    pub(super) registry_token: String,
}

impl Fields {
    /// The logins in trial order: kubelet and containerd take the password first. Some
    /// registries write a placeholder user with an empty password beside a token; that is no
    /// login. Kubelet knows no tokens: they only ever add to what it would try.
    pub(super) fn logins(self) -> Vec<Login> {
        let has_token = !self.identity_token.is_empty() || !self.registry_token.is_empty();
        let is_login = match has_token {
            true => !self.password.is_empty(),
            false => !self.username.is_empty() || !self.password.is_empty(),
        };
        let basic =
            is_login.then_some(Login::Basic { username: self.username, password: self.password });
        let identity =
            (!self.identity_token.is_empty()).then_some(Login::Identity(self.identity_token));
        let bearer =
            (!self.registry_token.is_empty()).then_some(Login::Bearer(self.registry_token));
        basic.into_iter().chain(identity).chain(bearer).collect()
    }
}

/// `base64(user:password)`, padded or not, split at the first colon. As Go's decoder: line
/// breaks are skipped, and bits after the last byte do not matter.
fn decode(auth: &str) -> Result<(String, String), AuthProblem> {
    const ENGINE: GeneralPurpose = GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    let auth: String = auth.trim().chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    let bytes = ENGINE.decode(auth).map_err(|error| AuthProblem::Base64 {
        at: match error {
            base64::DecodeError::InvalidByte(at, _)
            | base64::DecodeError::InvalidLastSymbol(at, _) => Some(at),
            _ => None,
        },
    })?;
    let text = String::from_utf8(bytes).map_err(|_| AuthProblem::Utf8)?;
    let (username, password) = text.split_once(':').ok_or(AuthProblem::Colon)?;
    Ok((username.into(), password.into()))
}
