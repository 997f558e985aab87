//! What a failed exchange means.

use std::error::Error;
use std::io;
use std::sync::Arc;

use super::error::{Cause, RegistryError, Target};

/// The error for a failed exchange. The error's own text is not used: it repeats URLs.
pub(super) fn classify(
    target: &Arc<Target>,
    host: &str,
    error: &(dyn Error + 'static),
) -> RegistryError {
    let (target, host, source) = (target.clone(), host.to_owned(), Cause::of(error));
    match find::<rustls::Error>(error) {
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
            return RegistryError::Certificate { target, host, source };
        }
        Some(_) => return RegistryError::Tls { target, host, source },
        None => {}
    }
    match find::<reqwest::Error>(error) {
        Some(error) if error.is_timeout() => RegistryError::Timeout { target, host },
        Some(error) if error.is_connect() => RegistryError::Connect { target, host, source },
        Some(error) if error.is_builder() => RegistryError::Protocol {
            target,
            host,
            problem: format!("leads to a URL that cannot be asked: {source}"),
        },
        _ => RegistryError::Interrupted { target, host, source },
    }
}

/// What kept a request from being answered, in the words of the metric.
pub(super) fn failure(error: &RegistryError) -> &'static str {
    match error {
        RegistryError::Connect { .. } => "connect",
        RegistryError::Timeout { .. } => "timeout",
        RegistryError::Certificate { .. } => "certificate",
        RegistryError::Tls { .. } => "tls",
        RegistryError::Interrupted { .. } => "interrupted",
        _ => "redirect",
    }
}

/// Whether the peer answered a TLS handshake with something that is not TLS.
pub(super) fn speaks_no_tls(error: &(dyn Error + 'static)) -> bool {
    matches!(
        find::<rustls::Error>(error),
        Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType))
    )
}

/// Whether nobody listens: the connection was refused before anything was said.
pub(super) fn refuses(error: &(dyn Error + 'static)) -> bool {
    let refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    find::<rustls::Error>(error).is_none() && find::<io::Error>(error).is_some_and(refused)
}

/// The first error of type `E` in the chain. An `io::Error` hides what it wraps from
/// `source()`, which goes straight to the wrapped error's own source.
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(found) = inner.and_then(|inner| find::<E>(inner)) {
            return Some(found);
        }
        next = error.source();
    }
    None
}
