//! TLS for the registry: a certificate authority made on the spot.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

/// A server certificate and the authority that signed it.
#[derive(Debug, Clone)]
pub struct Tls {
    pub(super) config: Arc<ServerConfig>,
    ca_pem: String,
    certificate_pem: String,
    key_pem: String,
    client_pem: (String, String),
}

/// What a server does besides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Ways {
    #[default]
    Plain,
    /// Wants a client certificate.
    Mutual,
    /// Offers HTTP/2.
    Http2,
}

impl Tls {
    /// For `localhost`, `127.0.0.1` and `::1`.
    pub fn new() -> Self {
        Self::with_names(&[])
    }

    /// For these names or addresses as well.
    pub fn with_names(names: &[&str]) -> Self {
        let mut all = vec!["localhost".to_owned(), "127.0.0.1".into(), "::1".into()];
        all.extend(names.iter().map(|&name| name.to_owned()));
        Self::only(all, Ways::Plain)
    }

    /// Wants a certificate of its clients, by the same authority.
    pub fn mutual() -> Self {
        Self::only(vec!["localhost".into(), "127.0.0.1".into()], Ways::Mutual)
    }

    /// Offers HTTP/2.
    pub fn http2() -> Self {
        Self::only(vec!["localhost".into(), "127.0.0.1".into()], Ways::Http2)
    }

    /// For another name than the one it is reached by: verification must fail.
    pub fn for_another_host() -> Self {
        Self::only(vec!["elsewhere.example".into()], Ways::Plain)
    }

    fn only(names: Vec<String>, ways: Ways) -> Self {
        let mut authority = CertificateParams::default();
        authority.distinguished_name.push(DnType::CommonName, "Skillmount test CA");
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority =
            CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();

        let mut server = CertificateParams::new(names).unwrap();
        server.distinguished_name.push(DnType::CommonName, "Skillmount test registry");
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = server.signed_by(&key, &authority).unwrap();

        let (certificate_pem, key_pem) = (certificate.pem(), key.serialize_pem());

        let mut client = CertificateParams::default();
        client.distinguished_name.push(DnType::CommonName, "Skillmount test client");
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let client_key = KeyPair::generate().unwrap();
        let client = client.signed_by(&client_key, &authority).unwrap();

        // The provider is named here: callers need not have installed one.
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).unwrap();
        let clients =
            WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone()).build();
        let builder = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match ways {
            Ways::Mutual => builder.with_client_cert_verifier(clients.unwrap()),
            Ways::Plain | Ways::Http2 => builder.with_no_client_auth(),
        };
        let mut config = builder
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::from(key))
            .unwrap();
        if ways == Ways::Http2 {
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        }
        Self {
            config: Arc::new(config),
            ca_pem: authority.pem(),
            certificate_pem,
            key_pem,
            client_pem: (client.pem(), client_key.serialize_pem()),
        }
    }

    /// A client's certificate and its key.
    pub fn client_pem(&self) -> (&str, &str) {
        (&self.client_pem.0, &self.client_pem.1)
    }

    /// The authority's certificate, for clients to trust.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The server's certificate and its key, for a server in another process.
    pub fn server_pem(&self) -> (&str, &str) {
        (&self.certificate_pem, &self.key_pem)
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self::new()
    }
}
