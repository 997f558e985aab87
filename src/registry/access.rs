//! One caller's access to one repository, at whichever of its hosts.

use std::fmt;
use std::sync::Arc;

use super::search::Search;
use super::session::Session;
use crate::credentials::{Credential, Identity, Salt};
use crate::reference::{Digest, Repository};

/// Who reached a repository, and how: the login of one caller at the host that delivered its
/// manifest, and the way to the others. Cheap to clone.
#[derive(Clone)]
pub struct Access {
    pub(super) session: Session,
    /// What the login was proved with, and is at other hosts.
    pub(super) manifest: Digest,
    pub(super) search: Arc<Search>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("repository", self.repository())
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

impl Access {
    /// Who the caller is to the registry, under the node's salt.
    pub fn identities(&self, salt: &Salt) -> Vec<Identity> {
        match self.credential() {
            Some(credential) => credential.identities(salt),
            None => vec![Identity::Anonymous],
        }
    }

    /// The credential that was accepted; nothing if the access is anonymous.
    pub fn credential(&self) -> Option<&Credential> {
        self.session.credential()
    }

    /// The repository that was asked for, whichever host delivered.
    pub fn repository(&self) -> &Repository {
        self.search.repository()
    }
}
