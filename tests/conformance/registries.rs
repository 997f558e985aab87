//! Debian's docker-registry with token authentication, and as a pull-through mirror of another.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use ::base64::Engine;
use ::base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use axum::extract::{Query, Request};
use axum::http::header::AUTHORIZATION;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};
use tokio::process::Command;

use super::docker_registry::{contents, listens};
use super::process::{Server, run, skillmount, succeed};
use super::selected;
use super::support::{Options, Registry, artifacts, skills, tree};

const USER: &str = "robot";
const PASSWORD: &str = "conformance-password";
const REPOSITORY: &str = "team/code-review";
const SERVICE: &str = "registry.conformance";

/// A configuration for a registry below `root` that listens on a free port, without TLS.
fn config(root: &Path, more: &Value) -> PathBuf {
    let mut config = json!({
        "version": "0.1",
        "log": {"level": "info", "formatter": "text"},
        "storage": {"filesystem": {"rootdirectory": root.join("storage").display().to_string()}},
        "http": {"addr": "127.0.0.1:0", "secret": "of-no-value"},
    });
    for (key, value) in more.as_object().unwrap() {
        config[key] = value.clone();
    }
    fs::create_dir_all(root).unwrap();
    let path = root.join("config.json");
    fs::write(&path, config.to_string()).unwrap();
    path
}

async fn serve(config: &Path) -> (Server, String) {
    let mut serve = Command::new("docker-registry");
    serve.arg("serve").arg(config).env("OTEL_TRACES_EXPORTER", "none");
    Server::start(&mut serve, listens).await
}

/// Pushes the fixture skill with skopeo.
async fn push(host: &str, root: &Path) {
    let source = Registry::start(Options::default());
    artifacts::skillimage(&source, REPOSITORY, "v1", &skills::code_review());
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["copy", "--preserve-digests", "--insecure-policy"]);
    skopeo.args(["--src-tls-verify=false", "--dest-tls-verify=false", "--src-no-creds"]);
    skopeo.arg("--authfile").arg(root.join("auth.json"));
    skopeo.arg(format!("docker://{}", source.reference(REPOSITORY, "v1")));
    skopeo.arg(format!("docker://{host}/{REPOSITORY}:v1"));
    succeed(&mut skopeo).await;
}

fn secret(root: &Path, name: &str, host: &str, password: &str) -> PathBuf {
    let auth = STANDARD.encode(format!("{USER}:{password}"));
    let path = root.join(name);
    fs::write(&path, json!({"auths": {host: {"auth": auth}}}).to_string()).unwrap();
    path
}

fn pull(reference: &str, output: &Path) -> Command {
    let mut command = skillmount();
    command.args(["pull", reference, "--output"]).arg(output);
    command
}

/// A token service that signs what docker-registry believes, and notes the scopes asked for.
struct TokenService {
    address: SocketAddr,
    certificate: String,
    scopes: Arc<Mutex<Vec<String>>>,
}

impl TokenService {
    async fn start() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["token.conformance".into()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let signer =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key.serialize_der());
        let signer = Arc::new(signer.unwrap());
        let header =
            json!({"alg": "ES256", "typ": "JWT", "x5c": [STANDARD.encode(certificate.der())]});
        let scopes: Arc<Mutex<Vec<String>>> = Arc::default();
        let (noted, basic) = (scopes.clone(), STANDARD.encode(format!("{USER}:{PASSWORD}")));
        let answer = move |Query(query): Query<Vec<(String, String)>>, request: Request| async move {
            let shown = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
            if shown != Some(&format!("Basic {basic}")) {
                return (axum::http::StatusCode::UNAUTHORIZED, "no").into_response();
            }
            let asked: Vec<_> = query
                .into_iter()
                .filter(|(name, _)| name == "scope")
                .map(|(_, scope)| scope)
                .collect();
            noted.lock().unwrap().extend(asked.clone());
            issue(&signer, &header, &asked)
        };
        let router = axum::Router::new().route("/token", get(answer));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, certificate: certificate.pem(), scopes }
    }
}

/// A token for all that was asked for (distribution, token authentication specification).
fn issue(signer: &EcdsaKeyPair, header: &Value, scopes: &[String]) -> Response {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let access = scopes.iter().flat_map(|scope| scope.split(' ')).filter_map(|scope| {
        let (name, actions) = scope.strip_prefix("repository:")?.rsplit_once(':')?;
        let actions: Vec<_> = actions.split(',').collect();
        Some(json!({"type": "repository", "name": name, "actions": actions}))
    });
    let claims = json!({
        "iss": "token.conformance",
        "sub": USER,
        "aud": SERVICE,
        "nbf": (now - Duration::from_secs(60)).as_secs(),
        "iat": now.as_secs(),
        "exp": (now + Duration::from_secs(300)).as_secs(),
        "jti": "1",
        "access": access.collect::<Vec<_>>(),
    });
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", encode(header), encode(&claims));
    let signature = signer.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
    let token = format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()));
    json!({"token": token, "expires_in": 300}).to_string().into_response()
}

#[tokio::test]
async fn tokens_are_had_from_a_token_service() {
    if !selected("registries::tokens_are_had_from_a_token_service") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let service = TokenService::start().await;
    let bundle = root.join("token.crt");
    fs::write(&bundle, &service.certificate).unwrap();
    let realm = format!("http://{}/token", service.address);
    let (server, host) = serve(&config(
        &root.join("registry"),
        &json!({"auth": {"token": {
            "realm": realm, "service": SERVICE, "issuer": "token.conformance",
            "rootcertbundle": bundle.display().to_string(),
        }}}),
    ))
    .await;
    let good = secret(root, "auth.json", &host, PASSWORD);
    push(&host, root).await;
    service.scopes.lock().unwrap().clear();
    let reference = format!("{host}/{REPOSITORY}:v1");
    let output = root.join("skill");
    succeed(pull(&reference, &output).arg("--pull-secret").arg(&good)).await;
    assert_eq!(tree::contents(&output), contents(&skills::code_review()));
    let scope = format!("repository:{REPOSITORY}:pull");
    assert_eq!(*service.scopes.lock().unwrap(), [scope], "one token for all requests");
    let wrong = secret(root, "wrong.json", &host, "guess");
    let (ok, text) = run(pull(&reference, &root.join("no")).arg("--pull-secret").arg(&wrong)).await;
    assert!(!ok && text.contains("401 Unauthorized from token service"), "{text}");
    assert!(!text.contains("guess"), "{text}");
    server.stop().await;
}

#[tokio::test]
async fn a_pull_through_mirror_delivers() {
    if !selected("registries::a_pull_through_mirror_delivers") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let (upstream, host) = serve(&config(&root.join("upstream"), &json!({}))).await;
    secret(root, "auth.json", &host, PASSWORD);
    push(&host, root).await;
    let proxy = json!({"proxy": {"remoteurl": format!("http://{host}")}});
    let (mirror, at) = serve(&config(&root.join("mirror"), &proxy)).await;
    let tree = root.join("certs.d").join(host.replace(':', "_") + "_");
    fs::create_dir_all(&tree).unwrap();
    // The upstream is nobody's to ask but the mirror's.
    fs::write(tree.join("hosts.toml"), format!("server = \"http://{at}\"\n")).unwrap();
    let reference = format!("{host}/{REPOSITORY}:v1");
    let output = root.join("skill");
    let hosts = root.join("certs.d");
    succeed(pull(&reference, &output).arg("--registry-hosts-dir").arg(&hosts)).await;
    assert_eq!(tree::contents(&output), contents(&skills::code_review()));
    let (_, log) = mirror.stop().await;
    let asked = format!("/v2/{REPOSITORY}/manifests/v1?ns=");
    assert!(log.iter().any(|line| line.contains(&asked)), "{}", log.join("\n"));
    // Without the mirror there is nobody to ask.
    let (ok, text) =
        run(pull(&reference, &root.join("no")).arg("--registry-hosts-dir").arg(&hosts)).await;
    assert!(!ok && text.contains(&format!("cannot connect to {at}")), "{text}");
    upstream.stop().await;
}
