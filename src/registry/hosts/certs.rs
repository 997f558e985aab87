//! Certificates of one host: files that a configuration names, or Docker's layout of them.

use std::fmt;
use std::path::Path;

use reqwest::Identity;

use super::error::HostsError;
use super::files::Reader;
use crate::web;

/// How TLS is spoken with one host.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(in crate::registry) struct Tls {
    /// Certificates of authorities in DER, besides the node's.
    pub(in crate::registry) authorities: Vec<Vec<u8>>,
    /// The client's certificates and its key, as one PEM text.
    pub(in crate::registry) client: Option<Vec<u8>>,
    /// Whether the server's certificate is not looked at.
    pub(in crate::registry) skip_verify: bool,
}

/// Shows no key.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("authorities", &self.authorities.len())
            .field("client", &self.client.is_some())
            .field("skip_verify", &self.skip_verify)
            .finish()
    }
}

impl Tls {
    /// Adds the authorities of a PEM file.
    pub(super) fn trust(&mut self, path: &Path, reader: &mut Reader) -> Result<(), HostsError> {
        let pem = reader.read_named(path)?;
        let bad = || HostsError::Pem { path: path.into(), problem: "holds no PEM certificates" };
        self.authorities.extend(web::certificates(&pem).ok_or_else(bad)?);
        Ok(())
    }

    /// Sets the client's certificate and key. Of several pairs the first counts: which one a
    /// server wants is known only when it asks.
    pub(super) fn present(
        &mut self,
        certificate: &Path,
        key: Option<&Path>,
        reader: &mut Reader,
    ) -> Result<(), HostsError> {
        let mut pem = reader.read_named(certificate)?;
        if let Some(key) = key {
            pem.push(b'\n');
            pem.extend(reader.read_named(key)?);
        }
        if Identity::from_pem(&pem).is_err() {
            let problem = "holds no PEM certificate with its key";
            return Err(HostsError::Pem { path: certificate.into(), problem });
        }
        if self.client.is_some() {
            tracing::warn!(file = %certificate.display(), "only the first client certificate is used");
        }
        self.client.get_or_insert(pem);
        Ok(())
    }
}

/// Docker's layout of a host's directory: each `*.crt` is an authority, each `NAME.cert` with its
/// `NAME.key` a client's.
pub(super) fn docker(directory: &Path, reader: &mut Reader) -> Result<Tls, HostsError> {
    let mut tls = Tls::default();
    for path in reader.list(directory, &[".crt", ".cert", ".key"])? {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => tls.trust(&path, reader)?,
            Some("cert") => tls.present(&path, Some(&path.with_extension("key")), reader)?,
            _ if reader.exists(&path.with_extension("cert"))? => {}
            _ => {
                let problem = "is a key without the .cert file of its name";
                return Err(HostsError::Pem { path, problem });
            }
        }
    }
    Ok(tls)
}
