//! How TLS is spoken: who is trusted, who the caller is, and which protocols are offered.

use std::sync::{Arc, OnceLock};

use rustls::client::WantsClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::authorities;
use super::hosts::Tls;

/// The protocols that are offered, the preferred one first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The authorities of all hosts.
#[derive(Debug)]
pub(super) struct Trust {
    given: RootCertStore,
    /// With those of the system, which are read when the first client is made.
    all: OnceLock<Arc<RootCertStore>>,
}

impl Trust {
    /// Trusts authorities (DER) besides the system's.
    pub(super) fn new(given: Vec<Vec<u8>>) -> Result<Self, Error> {
        Ok(Self { given: with(RootCertStore::empty(), given)?, all: OnceLock::new() })
    }

    /// What a client needs to speak TLS this way. The first call reads the system's certificates.
    pub(super) fn config(&self, tls: &Tls) -> Result<ClientConfig, Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?;
        let builder = if tls.skip_verify {
            let anyone = Arc::new(Anyone(provider));
            builder.dangerous().with_custom_certificate_verifier(anyone)
        } else {
            builder.with_root_certificates(self.roots(&tls.authorities)?)
        };
        let mut config = identified(builder, tls.client.as_deref())?;
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
        Ok(config)
    }

    fn roots(&self, more: &[Vec<u8>]) -> Result<Arc<RootCertStore>, Error> {
        let all = self.all.get_or_init(|| {
            let mut all = self.given.clone();
            let (known, _) = all.add_parsable_certificates(authorities::system());
            if all.is_empty() {
                tracing::warn!(
                    "this system has no certificates of authorities, and --ca-file gives none: no \
                     registry with TLS is trusted"
                );
            }
            tracing::debug!(known, "read the system's certificates");
            Arc::new(all)
        });
        Ok(match more.is_empty() {
            true => all.clone(),
            false => Arc::new(with(RootCertStore::clone(all), more.to_vec())?),
        })
    }
}

fn with(mut store: RootCertStore, authorities: Vec<Vec<u8>>) -> Result<RootCertStore, Error> {
    for authority in authorities {
        store.add(authority.into())?;
    }
    Ok(store)
}

/// With the client's certificates and key, of one PEM text.
fn identified(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    pem: Option<&[u8]>,
) -> Result<ClientConfig, Error> {
    let Some(pem) = pem else { return Ok(builder.with_no_client_auth()) };
    let certificates = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect();
    let key = PrivateKeyDer::pem_slice_iter(pem).filter_map(Result::ok).last();
    let key = key.ok_or_else(|| Error::General("the client certificate has no key".into()))?;
    builder.with_client_auth_cert(certificates, key)
}

/// Believes any server, where the node's administrator says so.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
