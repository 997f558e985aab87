//! Credentials: one login for one registry key, and which of a volume's secrets and of the node's
//! files match a repository. Nothing named by a secret or a file is ever executed.

mod docker_config;
mod glob;
mod keyring;
mod node_files;

use std::fmt;

use aws_lc_rs::hmac;

use crate::reference::hex;

pub use docker_config::{AuthProblem, MAX_DOCUMENT, SecretError};
pub use keyring::Keyring;
pub use node_files::NodeFiles;

/// One login. Its `Debug` and `Display` show where it comes from, never what it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// Where it was found, for people: `secret key ".dockerconfigjson", entry "ghcr.io"`.
    pub origin: String,
    /// What to present.
    pub login: Login,
}

/// What a credential presents to a registry.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Login {
    /// A user name and password: Basic, or the exchange for a bearer token.
    Basic {
        /// The user name.
        username: String,
        /// The password.
        password: String,
    },
    /// An OAuth2 refresh token (`identitytoken`), exchanged for a bearer token.
    Identity(String),
    /// A bearer token, presented as it is (`registrytoken`).
    Bearer(String),
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Basic { .. } => "Basic(…)",
            Self::Identity(_) => "Identity(…)",
            Self::Bearer(_) => "Bearer(…)",
        })
    }
}

/// Who a caller is to a registry, without saying so: a keyed hash of the login, or anonymous.
/// Equal logins have equal identities on one node; the hash tells nothing without its salt.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Identity {
    /// No credential was presented.
    Anonymous,
    /// HMAC-SHA-256 of the login with the node's salt, hexadecimal.
    Login(String),
}

/// All logins of a keyring with the keys they are for, without saying any: a keyed hash. Equal
/// keyrings have equal fingerprints on one node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(String);

impl Credential {
    /// The identity under the node's salt.
    pub fn identity(&self, salt: &Salt) -> Identity {
        let mut context = hmac::Context::with_key(&salt.0);
        self.login.hash(&mut context);
        Identity::Login(hex(context.sign().as_ref()))
    }
}

impl Login {
    /// What of it nobody may see.
    pub fn secret(&self) -> &str {
        match self {
            Self::Basic { password: secret, .. }
            | Self::Identity(secret)
            | Self::Bearer(secret) => secret,
        }
    }

    fn hash(&self, context: &mut hmac::Context) {
        let fields: [&str; 3] = match self {
            Self::Basic { username, password } => ["basic", username, password],
            Self::Identity(token) => ["identity", token, ""],
            Self::Bearer(token) => ["bearer", token, ""],
        };
        for field in fields {
            update(context, field);
        }
    }
}

/// With its length, so that no two lists of texts hash alike.
fn update(context: &mut hmac::Context, text: &str) {
    context.update(&(text.len() as u64).to_le_bytes());
    context.update(text.as_bytes());
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)
    }
}

/// The node's secret key for credential hashes.
#[derive(Clone)]
pub struct Salt(hmac::Key);

impl Salt {
    /// A salt of 32 random bytes, kept by the store.
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt(…)")
    }
}
