//! Credentials: one login for one registry key, and which of a volume's secrets, of the node's
//! files and of the administrator's credential providers match a repository. Nothing named by a
//! secret or a file of logins is ever executed.

mod docker_config;
mod glob;
mod key;
mod keyring;
mod logins;
mod node_files;
pub mod providers;

use std::fmt;

use aws_lc_rs::hmac;

use crate::reference::hex;

pub use docker_config::{AuthProblem, MAX_DOCUMENT, SecretError};
pub use keyring::{Consulted, Keyring};
pub use logins::{Candidates, Logins, Matched, Unobtainable};
pub use node_files::NodeFiles;

/// One login. Its `Debug` and `Display` show where it comes from, never what it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// Where it was found, for people: `secret key ".dockerconfigjson", entry "ghcr.io"`.
    pub origin: String,
    /// What to present.
    pub login: Login,
    /// Whose it is, where that is known.
    pub holder: Option<Holder>,
}

/// Whose a credential is, whatever its login is today: the Secret it was read from, or what a
/// provider makes logins for. What one login of a holder was granted, the next may have: a
/// rotated password asks no registry anew (KEP-2535, *coordinates*).
#[derive(Clone, PartialEq, Eq)]
pub struct Holder(Vec<String>);

impl Holder {
    /// A Secret, by its coordinates.
    pub fn secret(namespace: &str, name: &str, uid: &str) -> Self {
        Self(["secret", namespace, name, uid].map(Into::into).into())
    }

    /// A service account for which the provider `provider` makes logins.
    pub fn service_account(provider: &str, namespace: &str, name: &str, uid: &str) -> Self {
        Self(["service account", provider, namespace, name, uid].map(Into::into).into())
    }

    /// The node, for which the provider `provider` makes logins: all its pods alike.
    pub fn node(provider: &str) -> Self {
        Self(["node", provider].map(Into::into).into())
    }

    /// The identity under the node's salt.
    pub fn identity(&self, salt: &Salt) -> Identity {
        let mut context = hmac::Context::with_key(&salt.0);
        update(&mut context, "holder");
        for field in &self.0 {
            update(&mut context, field);
        }
        Identity::Login(hex(context.sign().as_ref()))
    }
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

/// Who a caller is to a registry, without saying so: a keyed hash of the login or of its holder,
/// or anonymous. Equal logins have equal identities on one node; the hash tells nothing without
/// its salt.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Identity {
    /// No credential was presented.
    Anonymous,
    /// HMAC-SHA-256 of the login or its holder with the node's salt, hexadecimal.
    Login(String),
}

/// All logins of a keyring with the keys they are for, without saying any: a keyed hash. Equal
/// keyrings have equal fingerprints on one node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(String);

impl Credential {
    /// A login found at `origin`, of nobody in particular.
    pub fn new(origin: impl Into<String>, login: Login) -> Self {
        Self { origin: origin.into(), login, holder: None }
    }

    /// All identities under the node's salt: that of the login, then that of its holder.
    pub fn identities(&self, salt: &Salt) -> Vec<Identity> {
        let holder = self.holder.as_ref().map(|holder| holder.identity(salt));
        std::iter::once(self.identity(salt)).chain(holder).collect()
    }

    /// All of it: who has the same login from elsewhere is told of another origin, and what the
    /// login is granted is granted to another holder.
    fn hash(&self, context: &mut hmac::Context) {
        self.login.hash(context);
        update(context, &self.origin);
        let holder = self.holder.as_ref().map_or(&[][..], |holder| &holder.0);
        update(context, &holder.len().to_string());
        holder.iter().for_each(|field| update(context, field));
    }

    /// The identity of the login under the node's salt.
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

impl fmt::Debug for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
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
