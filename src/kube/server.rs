//! Where the API server is, how it proves itself, and what the driver has to show.

use std::fmt;
use std::path::{Path, PathBuf};

use reqwest::{Certificate, Url};

use super::SetupError;
use super::kubeconfig;
use crate::web;

/// Where kubelet mounts what a container needs for the API server.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// An API server. Its `Debug` shows no credential.
pub struct ApiServer {
    /// With the path that all of its paths are below, mostly `/`.
    pub(super) url: Url,
    /// The only authorities that may have signed its certificate; none for the system's.
    pub(super) authorities: Option<Vec<Certificate>>,
    /// The driver's own certificate with its key, in PEM.
    pub(super) certificate: Option<Vec<u8>>,
    /// The driver's own token.
    pub(super) token: Token,
}

/// Where the driver's own token is.
#[derive(Clone)]
pub(super) enum Token {
    /// There is none.
    None,
    /// It was written down.
    Fixed(String),
    /// In a file, whose content kubelet replaces before the token expires.
    File(PathBuf),
}

impl ApiServer {
    /// The API server of the cluster that the driver runs in. The token is not looked at: some
    /// kinds of access need none.
    pub fn in_cluster() -> Result<Self, SetupError> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let host = variable("KUBERNETES_SERVICE_HOST");
        let port = variable("KUBERNETES_SERVICE_PORT");
        let (Some(host), Some(port)) = (host, port) else { return Err(SetupError::NotInCluster) };
        Self::of_service(&host, &port, Path::new(SERVICE_ACCOUNT))
    }

    /// The API server that a kubeconfig's current context names.
    pub fn from_kubeconfig(path: &Path) -> Result<Self, SetupError> {
        kubeconfig::load(path)
    }

    fn of_service(host: &str, port: &str, directory: &Path) -> Result<Self, SetupError> {
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let authority = directory.join("ca.crt");
        Ok(Self {
            url: address(&format!("https://{host}:{port}"))?,
            authorities: Some(authorities(&read(&authority)?, &format!("{authority:?}"))?),
            certificate: None,
            token: Token::File(directory.join("token")),
        })
    }
}

impl fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiServer").field("url", &self.url.as_str()).finish_non_exhaustive()
    }
}

/// The address, without what a URL may hold beside.
pub(super) fn address(text: &str) -> Result<Url, SetupError> {
    // Shown without what may be a password.
    let shown = text.split(['?', '#']).next().unwrap_or_default();
    let shown = shown.rsplit('@').next().unwrap_or_default();
    let refused = || SetupError::Address(shown.into());
    let mut url = Url::parse(text).map_err(|_| refused())?;
    let plain = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if url.scheme() != "https" || !url.has_host() || !plain {
        return Err(refused());
    }
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty();
    }
    Ok(url)
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, SetupError> {
    std::fs::read(path).map_err(|source| SetupError::Read { path: path.into(), source })
}

/// The certificates of a PEM text, of which there must be one.
pub(super) fn authorities(pem: &[u8], what: &str) -> Result<Vec<Certificate>, SetupError> {
    let refused = || SetupError::Certificates(what.into());
    let found = web::certificates(pem).ok_or_else(refused)?;
    found.iter().map(|der| Certificate::from_der(der).map_err(|_| refused())).collect()
}

#[cfg(test)]
mod tests {
    use rcgen::generate_simple_self_signed;

    use super::*;
    use crate::observability::chain;

    #[test]
    fn in_a_cluster_the_service_account_says_whom_to_trust() {
        let scratch = tempfile::tempdir().unwrap();
        let missing = ApiServer::of_service("10.0.0.1", "443", scratch.path()).unwrap_err();
        assert!(chain(&missing).starts_with("cannot read "), "{missing:?}");
        let ca = scratch.path().join("ca.crt");
        std::fs::write(&ca, "no certificate").unwrap();
        let bad = ApiServer::of_service("10.0.0.1", "443", scratch.path()).unwrap_err();
        assert_eq!(bad.to_string(), format!("{ca:?} does not hold PEM certificates"));
        let pem = generate_simple_self_signed(["kubernetes".to_owned()]).unwrap().cert.pem();
        std::fs::write(&ca, pem).unwrap();
        for (host, port, expected) in [
            ("10.0.0.1", "443", "https://10.0.0.1/"),
            ("fd00::1", "6443", "https://[fd00::1]:6443/"),
            ("kubernetes.default.svc", "6443", "https://kubernetes.default.svc:6443/"),
        ] {
            // No token is there, and none is missed.
            let server = ApiServer::of_service(host, port, scratch.path()).unwrap();
            assert_eq!(server.url.as_str(), expected);
            assert!(server.authorities.is_some());
        }
        assert!(ApiServer::of_service("a b", "443", scratch.path()).is_err());
    }

    #[test]
    fn addresses_are_https() {
        for (text, expected) in [
            ("https://api.example:6443", Some("https://api.example:6443/")),
            (
                "https://rancher.example/k8s/clusters/c-1/",
                Some("https://rancher.example/k8s/clusters/c-1"),
            ),
            ("http://api.example", None),
            ("api.example:6443", None),
            ("https://user:CANARY@api.example", None),
            ("https://api.example?token=CANARY", None),
            ("https://api.example#CANARY", None),
        ] {
            let address = address(text);
            assert_eq!(address.as_ref().ok().map(Url::as_str), expected, "{text}");
            assert!(!format!("{address:?}").contains("CANARY"));
        }
    }
}
