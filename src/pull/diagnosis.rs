//! What a caller who was turned down had to log in with, for the message.

use super::error::{Blame, PullError};
use crate::credentials::Logins;

/// How many places a message names.
const SHOWN: usize = 6;

/// Where logins were looked for, and for which registries there were some, if that can explain
/// the failure: ` (logins: nodePublishSecretRef: ghcr.io; node file "…": no login)`. Which of them
/// matched, and what the registry answered to each, the error itself says.
pub fn diagnosis(error: &PullError, logins: &Logins) -> Option<String> {
    let refused =
        matches!(error.blame(), Blame::Unauthenticated | Blame::Forbidden | Blame::NotFound);
    let refused = refused || error.lacked_a_login();
    // Of a pull that asked no registry, logins tell nothing.
    if !refused || matches!(error, PullError::NotPresent) {
        return None;
    }
    let consulted = logins.consulted();
    if consulted.is_empty() {
        return None;
    }
    let shown: Vec<_> = consulted.iter().take(SHOWN).map(ToString::to_string).collect();
    let more = if consulted.len() > SHOWN { "; …" } else { "" };
    Some(format!(" (logins: {}{more})", shown.join("; ")))
}
