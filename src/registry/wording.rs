//! The longer texts of errors: who was turned down, and which hosts were tried.

use super::answer::Attempt;
use super::error::{RegistryError, Target};
use crate::observability::chain;
use crate::reference::{DOCKER_HUB, Digest};

/// How many logins a message names.
const MAX_ATTEMPTS: usize = 6;

/// How many hosts a message names, and how much it tells of each.
const MAX_TOLD: usize = 4;
const MAX_CHARACTERS: usize = 250;

/// Each candidate, and how it was turned down.
pub(super) fn refusal(target: &Target, attempts: &[Attempt], what: &str) -> String {
    let registry = match (&target.mirror, target.repository.registry()) {
        (Some(mirror), _) => mirror,
        (None, DOCKER_HUB) => "https://index.docker.io/v1/",
        (None, registry) => registry,
    };
    match attempts {
        [] => what.into(),
        [Attempt { origin: None, answer }] if answer.status() == Some(404) => format!(
            "not found ({answer}); if it is private, a pull secret (nodePublishSecretRef) needs an \
             entry for {registry:?}"
        ),
        [Attempt { origin: None, answer }] => format!(
            "the registry asks for a login and no credential matched ({answer}); a pull secret \
             (nodePublishSecretRef) needs an entry for {registry:?}"
        ),
        // In one line: an event's text is shown in a column.
        several => {
            let tried = several.iter().take(MAX_ATTEMPTS).map(|Attempt { origin, answer }| {
                format!("{}: {answer}", origin.as_deref().unwrap_or("anonymous"))
            });
            let more = several.len().saturating_sub(MAX_ATTEMPTS);
            let more = if more > 0 { format!("; and {more} more") } else { String::new() };
            format!("{what}: {}{more}", tried.collect::<Vec<_>>().join("; "))
        }
    }
}

/// What each host said, in one line.
pub(super) fn tried(failed: &[(String, RegistryError)]) -> String {
    let told = failed.iter().take(MAX_TOLD).map(|(host, error)| {
        let text = chain(error);
        match text.char_indices().nth(MAX_CHARACTERS) {
            Some((end, _)) => format!("{host}: {}…", &text[..end]),
            None => format!("{host}: {text}"),
        }
    });
    let told = told.collect::<Vec<_>>().join("; ");
    let more = if failed.len() > MAX_TOLD { "; …" } else { "" };
    format!("no host delivered it: {told}{more}")
}

/// The digest of what came, if it is known.
pub(super) fn got(actual: &Option<Digest>) -> String {
    actual.as_ref().map(|digest| format!(" (its digest is {digest})")).unwrap_or_default()
}
