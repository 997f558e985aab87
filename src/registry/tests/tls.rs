use std::sync::Arc;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::*;

/// A server's TLS, and its certificate as PEM.
fn tls() -> (TlsAcceptor, String) {
    install_crypto_provider();
    let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), made.cert.pem())
}

#[tokio::test]
async fn a_private_authority_is_trusted_only_if_it_is_given() {
    let (acceptor, pem) = tls();
    let server = Server::serve(Some(acceptor), |seen| match seen.path.contains("/blobs/") {
        true => answer(200, &[], "blob"),
        false => manifest(),
    })
    .await;
    let host = server.host();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), pem).unwrap();
    let registry = client_with(RegistryConfig { ca_files: vec![file.path().into()], ..quick() });
    let access = pull(&registry, &host, &[]).await.unwrap().access;
    let blob = registry.blob(&access, &Digest::sha256(b"blob"), 4, 4).await.unwrap();
    let parts: Vec<Bytes> = blob.try_collect().await.unwrap();
    assert_eq!(parts.concat(), b"blob");

    // Neither is a bad certificate a reason to do without TLS on this machine.
    let before = server.seen().len();
    let error = client(&[]).resolve(&repository(&host), &tag(), only(&[])).await.unwrap_err();
    assert!(matches!(error, RegistryError::Certificate { .. }), "{error:?}");
    assert!(!error.is_transient());
    assert_eq!(
        text(&error, &host),
        "the certificate of R is not trusted; if a private authority signed it, \
         give the driver that authority's certificate with --ca-file: invalid peer certificate: UnknownIssuer"
    );
    assert_eq!(server.seen().len(), before);
}

#[tokio::test]
async fn a_loopback_registry_without_tls_is_found_out() {
    let server = Server::start(|_| manifest()).await;
    let host = server.host();
    let registry = client(&[]);
    pull(&registry, &host, &[]).await.unwrap();
    assert_eq!(server.log(), ["/v2/acme/skill/manifests/1 -"]);
}

#[tokio::test]
async fn https_is_not_left_by_a_redirect() {
    let plain = Server::start(|_| manifest()).await;
    let location = format!("http://{}/x", plain.host());
    let (acceptor, pem) = tls();
    let server =
        Server::serve(Some(acceptor), move |_| answer(307, &[("location", &location)], "")).await;
    let host = server.host();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), pem).unwrap();
    let registry = client_with(RegistryConfig { ca_files: vec![file.path().into()], ..quick() });
    assert_eq!(
        pull(&registry, &host, &[]).await.unwrap_err(),
        "R redirects from https to http; that is not followed"
    );
    assert_eq!(plain.log(), [""; 0]);
}

#[tokio::test]
async fn https_is_not_left_for_a_blob_either() {
    let plain = Server::start(|_| answer(200, &[], "blob")).await;
    let location = format!("http://{}/x", plain.host());
    let (acceptor, pem) = tls();
    let server = Server::serve(Some(acceptor), move |seen| match seen.authorization {
        None => wants("Basic realm=\"x\""),
        Some(_) if seen.path.contains("/manifests/") => manifest(),
        Some(_) => answer(307, &[("location", &location)], ""),
    })
    .await;
    let host = server.host();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), pem).unwrap();
    let registry = client_with(RegistryConfig { ca_files: vec![file.path().into()], ..quick() });
    let access = pull(&registry, &host, &[alice()]).await.unwrap().access;
    let error = registry.blob(&access, &Digest::sha256(b"blob"), 4, 4).await.err().unwrap();
    assert_eq!(text(&error, &host), "R redirects from https to http; that is not followed");
    assert_eq!(plain.log(), [""; 0]);
}

#[tokio::test]
async fn an_https_registry_has_no_http_realm() {
    let (acceptor, pem) = tls();
    let server =
        Server::serve(Some(acceptor), |_| wants("Bearer realm=\"http://127.0.0.1/t\"")).await;
    let host = server.host();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), pem).unwrap();
    let registry = client_with(RegistryConfig { ca_files: vec![file.path().into()], ..quick() });
    assert_eq!(
        pull(&registry, &host, &[alice()]).await.unwrap_err(),
        "no credential was sent: the registry names the token service \
         http://127.0.0.1, which is not an https URL"
    );
}

#[test]
fn bad_ca_files_are_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "no certificate").unwrap();
    for path in [file.path().to_owned(), "/nonexistent".into()] {
        let config = RegistryConfig { ca_files: vec![path.clone()], ..quick() };
        let error = Registry::new(config).unwrap_err();
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
}

/// What somebody says to a TLS handshake who would rather be asked in clear.
#[derive(Clone)]
enum Face {
    Certificate(TlsAcceptor),
    Silence,
    Http,
}

/// Serves a manifest in clear, and notes the first line of what it was asked so.
async fn two_faced(face: Face) -> (String, Arc<std::sync::Mutex<Vec<String>>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (host, clear) = (listener.local_addr().unwrap().to_string(), Arc::default());
    let log: Arc<std::sync::Mutex<Vec<String>>> = Arc::clone(&clear);
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut start = [0; 1024];
            let length = socket.peek(&mut start).await.unwrap();
            let handshake = start.first() == Some(&0x16);
            let answer = match (&face, handshake) {
                (Face::Certificate(acceptor), true) => {
                    drop(acceptor.accept(socket).await);
                    continue;
                }
                (Face::Silence, true) => continue,
                (Face::Http, true) => {
                    "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n".into()
                }
                (_, false) => {
                    let text = String::from_utf8_lossy(&start[..length]);
                    let line = text.lines().next().unwrap_or_default().to_owned();
                    log.lock().unwrap().push(line);
                    let length = MANIFEST.len();
                    format!(
                        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{MANIFEST}"
                    )
                }
            };
            // All of it, so that the end is an end and not a reset.
            let _read = socket.read(&mut start).await.unwrap();
            socket.write_all(answer.as_bytes()).await.unwrap();
            socket.shutdown().await.unwrap();
        }
    });
    (host, clear)
}

#[tokio::test]
async fn a_failed_handshake_is_no_reason_to_do_without_tls() {
    let (acceptor, _) = tls();
    let (_, another) = tls();
    for (face, expected, asked) in [
        (Face::Certificate(acceptor), Some("the certificate of R is not trusted"), 0),
        (Face::Silence, Some("cannot connect to R"), 0),
        (Face::Http, None, 1),
    ] {
        let (host, clear) = two_faced(face).await;
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join(format!("{}_", host.replace(':', "_")));
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("ca.crt"), &another).unwrap();
        let text = format!("server = \"http://{host}\"\nca = \"ca.crt\"");
        std::fs::write(directory.join("hosts.toml"), text).unwrap();
        let hosts = HostsConfig { directories: vec![root.path().into()], ..HostsConfig::default() };
        let registry = client_with(RegistryConfig { hosts, ..quick() });
        let outcome = pull(&registry, &host, &[alice()]).await;
        match expected {
            Some(expected) => {
                let error = outcome.unwrap_err();
                assert!(error.starts_with(expected), "{error}");
            }
            None => drop(outcome.unwrap()),
        }
        assert_eq!(clear.lock().unwrap().len(), asked, "{expected:?}");
    }
}

#[tokio::test]
async fn a_refused_port_is_not_tried_again_without_tls() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    drop(listener);
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("registries.conf");
    let text = format!("[[registry]]\nlocation = \"{host}\"\ninsecure = true");
    std::fs::write(&file, text).unwrap();
    let hosts = HostsConfig { registries_conf: Some(file), ..HostsConfig::default() };
    let registry = client_with(RegistryConfig { hosts, ..quick() });
    let routes = registry.routes(&repository(&host)).await.unwrap();
    let route = Arc::new(routes.all().next().unwrap().clone());
    assert_eq!(route.scheme, Scheme::Either);
    let probe = Api::new(route.clone(), false, 1).unwrap().knock().url;
    assert_eq!(registry.0.transport.probe(&route.setup, probe).await, Probe::Nobody);
    assert!(!registry.api(&route, 1).await.unwrap().is_plain());
}
