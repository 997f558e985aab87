//! An API server in this process that has pods and Secrets and takes events, remembers who asked for
//! what, and can be told to refuse or to fail. What it answers is compared with Kubernetes' own description.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use skillmount::kube::{Api, ApiConfig, ApiServer, SecretAccess};
use skillmount::volume::PodSecrets;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::rights::Right;
use super::tls::Tls;
use super::{kube_events, openapi};

/// The driver's own token.
pub const DRIVER_TOKEN: &str = "CANARY-driver-token";

/// How something is answered that is not simply there.
#[derive(Debug, Clone)]
pub enum Trouble {
    /// With a `Status` of this code, reason and message.
    Status(u16, &'static str, &'static str),
    /// With these bytes, whatever they are.
    Raw(u16, Vec<u8>),
    /// With a redirect to there.
    Redirect(String),
    /// Never.
    Silence,
    /// Not: the connection is closed.
    Close,
}

/// One request as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub authorization: Option<String>,
    /// All headers of impersonation, by name.
    pub impersonate: Vec<(String, String)>,
    pub status: u16,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Value>,
    troubles: BTreeMap<String, Trouble>,
    /// The paths of events, in the order of their making.
    events: Vec<String>,
    asked: Vec<Asked>,
    wrong: Vec<String>,
}

/// The server. Stops when dropped.
pub struct KubeApi {
    address: SocketAddr,
    tls: Tls,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl Asked {
    /// `GET /api/v1/namespaces/team/pods/agent as TOKEN for USER 200`.
    pub fn line(&self) -> String {
        let token = self
            .authorization
            .as_deref()
            .map_or("nobody", |text| text.strip_prefix("Bearer ").unwrap_or(text));
        let impersonate = self.impersonate.iter().map(|(name, value)| format!(" {name}={value}"));
        let impersonate: String = impersonate.collect();
        format!("{} {} as {token}{impersonate} {}", self.method, self.path, self.status)
    }

    /// What the caller has to be allowed for this request (KEP-5284 for impersonation).
    fn rights(&self) -> Vec<Right> {
        let template = openapi::template(&self.path);
        let resource = match (self.method.as_str(), template.as_deref()) {
            ("GET", Some("/api/v1/namespaces/{namespace}/pods/{name}")) => "pods",
            ("GET", Some("/api/v1/namespaces/{namespace}/secrets/{name}")) => "secrets",
            ("POST", Some("/api/v1/namespaces/{namespace}/events")) => {
                return self.of_the_driver(("create", "", "events"));
            }
            ("PATCH", Some("/api/v1/namespaces/{namespace}/events/{name}")) => {
                return self.of_the_driver(("patch", "", "events"));
            }
            (method, other) => panic!("{method} of {} is {other:?}", self.path),
        };
        match self.impersonate.as_slice() {
            [] => vec![("get", "", resource)],
            [(name, user)] if name == "impersonate-user" && user.starts_with("system:node:") => {
                vec![
                    ("impersonate:associated-node", "authentication.k8s.io", "nodes"),
                    ("impersonate-on:associated-node:get", "", resource),
                ]
            }
            other => panic!("{other:?} is not constrained to the node"),
        }
    }
}

impl Asked {
    /// A right that the driver itself has, and uses as nobody else.
    fn of_the_driver(&self, right: Right) -> Vec<Right> {
        assert_eq!(self.authorization.as_deref(), Some(&*format!("Bearer {DRIVER_TOKEN}")));
        assert_eq!(self.impersonate, []);
        vec![right]
    }
}

/// The path of an object.
pub fn path(namespace: &str, resource: &str, name: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/{resource}/{name}")
}

/// A Docker configuration with one login.
pub fn docker_config(registry: &str, user: &str, password: &str) -> String {
    json!({"auths": {registry: {"username": user, "password": password}}}).to_string()
}

fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "details": {}, "code": code,
    })
}

impl KubeApi {
    pub async fn start() -> Self {
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let (tls, state) = (Tls::new(), Arc::new(Mutex::new(State::default())));
        let acceptor = TlsAcceptor::from(tls.config.clone());
        let shared = state.clone();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = socket.accept().await {
                let (acceptor, shared) = (acceptor.clone(), shared.clone());
                connections.spawn(async move {
                    // Who does not trust the authority hangs up here.
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request| answer(request, shared.clone()));
                    let serving =
                        http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                    drop(serving.await);
                });
            }
        });
        Self { address, tls, state, task }
    }

    /// Stops listening, and closes what is open.
    pub async fn stop(self) {
        self.task.abort();
        let state = self.state.clone();
        drop(self);
        while Arc::strong_count(&state) > 1 {
            tokio::task::yield_now().await;
        }
    }

    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// A kubeconfig for this server, in which the driver has a token.
    pub fn kubeconfig(&self, directory: &Path) -> PathBuf {
        let path = directory.join("kubeconfig");
        let authority = STANDARD.encode(self.tls.ca_pem());
        let config = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\ncontexts:\n- name: test\n  \
             context: {{cluster: test, user: driver}}\nclusters:\n- name: test\n  cluster:\n    \
             server: {}\n    certificate-authority-data: {authority}\nusers:\n- name: driver\n  \
             user: {{token: {DRIVER_TOKEN}}}\n",
            self.url()
        );
        std::fs::write(&path, config).unwrap();
        path
    }

    /// What a driver on `node-1` is given to read Secrets from here.
    pub fn pod_secrets(
        &self,
        directory: &Path,
        access: &str,
        image_pull_secrets: bool,
    ) -> PodSecrets {
        self.patient(directory, access, image_pull_secrets, Duration::from_secs(60))
    }

    /// The same with another patience.
    pub fn patient(
        &self,
        directory: &Path,
        access: &str,
        image_pull_secrets: bool,
        timeout: Duration,
    ) -> PodSecrets {
        let api = self.api(directory, access.parse().unwrap(), timeout);
        PodSecrets { api, image_pull_secrets }
    }

    /// What a driver on `node-1` is given to write events here.
    pub fn events(&self, directory: &Path) -> Api {
        self.api(directory, SecretAccess::Driver, Duration::from_secs(600))
    }

    fn api(&self, directory: &Path, access: SecretAccess, timeout: Duration) -> Api {
        skillmount::registry::install_crypto_provider();
        let server = ApiServer::from_kubeconfig(&self.kubeconfig(directory)).unwrap();
        Api::new(ApiConfig { server, access, node: "node-1".into(), timeout }).unwrap()
    }

    /// The events that there are, in the order of their making.
    pub fn all_events(&self) -> Vec<Value> {
        let state = self.state.lock().unwrap();
        assert_eq!(state.wrong, [""; 0], "this is not what Kubernetes takes");
        state.events.iter().filter_map(|path| state.objects.get(path).cloned()).collect()
    }

    /// Waits until this was asked so often since the last call of [`Self::asked`].
    pub async fn wait_for_asked(&self, count: usize) {
        while self.state.lock().unwrap().asked.len() < count {
            tokio::task::yield_now().await;
        }
    }

    /// A pod with these `imagePullSecrets`.
    pub fn pod(&self, namespace: &str, name: &str, uid: &str, secrets: &[&str]) {
        self.pod_with(namespace, name, uid, secrets, json!({}));
    }

    pub fn pod_with(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
        secrets: &[&str],
        annotations: Value,
    ) {
        let reference = |name: &&str| match *name {
            "" => json!({}),
            name => json!({"name": name}),
        };
        let pod = json!({
            "kind": "Pod", "apiVersion": "v1",
            "metadata": {
                "name": name, "namespace": namespace, "uid": uid, "resourceVersion": "7",
                "creationTimestamp": "2026-11-21T10:00:00Z", "annotations": annotations,
            },
            "spec": {
                "containers": [{"name": "agent", "image": "agent"}],
                "nodeName": "node-1", "serviceAccountName": "default",
                "imagePullSecrets": secrets.iter().map(reference).collect::<Vec<_>>(),
            },
        });
        self.put(&path(namespace, "pods", name), pod);
    }

    /// A Secret of type `kubernetes.io/dockerconfigjson`.
    pub fn secret(&self, namespace: &str, name: &str, uid: &str, config: &str) {
        let secret = json!({
            "kind": "Secret", "apiVersion": "v1", "type": "kubernetes.io/dockerconfigjson",
            "metadata": {"name": name, "namespace": namespace, "uid": uid},
            "data": {".dockerconfigjson": STANDARD.encode(config)},
        });
        self.put(&path(namespace, "secrets", name), secret);
    }

    fn put(&self, path: &str, object: Value) {
        self.state.lock().unwrap().objects.insert(path.into(), object);
    }

    pub fn delete(&self, path: &str) {
        self.state.lock().unwrap().objects.remove(path);
    }

    pub fn trouble(&self, path: &str, trouble: Trouble) {
        self.state.lock().unwrap().troubles.insert(path.into(), trouble);
    }

    pub fn forbid(&self, path: &str) {
        self.trouble(path, Trouble::Status(403, "Forbidden", "user cannot get it"));
    }

    /// All requests since the last call.
    pub fn asked(&self) -> Vec<Asked> {
        let mut state = self.state.lock().unwrap();
        assert_eq!(state.wrong, [""; 0], "this is not what Kubernetes answers");
        std::mem::take(&mut state.asked)
    }

    /// [`Asked::line`] of all requests since the last call, sorted: some are made at once.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<_> = self.asked().iter().map(Asked::line).collect();
        lines.sort();
        lines
    }
}

/// What all these requests need.
pub fn rights(asked: &[Asked]) -> Vec<Right> {
    let all: BTreeSet<Right> = asked.iter().flat_map(Asked::rights).collect();
    all.into_iter().collect()
}

impl Drop for KubeApi {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    request: Request<Incoming>,
    state: Arc<Mutex<State>>,
) -> Result<Response<Body>, std::io::Error> {
    let text = |value: &header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = request.headers();
    let path = request.uri().path_and_query().map_or("", |target| target.as_str()).to_owned();
    let impersonate = headers.iter().filter(|(name, _)| name.as_str().starts_with("impersonate-"));
    let mut asked = Asked {
        method: request.method().to_string(),
        authorization: headers.get(header::AUTHORIZATION).map(text),
        impersonate: impersonate.map(|(name, value)| (name.to_string(), text(value))).collect(),
        path: path.clone(),
        status: 0,
    };
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(Body::new(body), 1 << 20).await.unwrap();
    let trouble = state.lock().unwrap().troubles.get(&path).cloned();
    let (code, body) = {
        let mut state = state.lock().unwrap();
        let (code, body, wrong) = match (trouble.clone(), state.objects.get(&path)) {
            (Some(Trouble::Status(code, reason, message)), _) => {
                let body = status(code, reason, message);
                let wrong = openapi::check_status(&body);
                (code, body.to_string().into_bytes(), wrong)
            }
            (Some(Trouble::Raw(code, body)), _) => (code, body, vec![]),
            (Some(Trouble::Redirect(_)), _) => (302, vec![], vec![]),
            (Some(Trouble::Silence | Trouble::Close), _) => (0, vec![], vec![]),
            (None, _) if head.method == "POST" => {
                let (event, wrong) = kube_events::made(&path, &body);
                let answer = event.to_string().into_bytes();
                let path = format!("{path}/{}", event["metadata"]["name"].as_str().unwrap());
                assert!(!state.objects.contains_key(&path), "{path} is there");
                state.events.push(path.clone());
                state.objects.insert(path, event);
                (201, answer, wrong)
            }
            (None, Some(_)) if head.method == "PATCH" => {
                let kind = head.headers.get(header::CONTENT_TYPE);
                assert_eq!(kind.unwrap(), "application/merge-patch+json");
                let event = state.objects.get_mut(&path).unwrap();
                let wrong = kube_events::merge(event, &path, &body);
                (200, event.to_string().into_bytes(), wrong)
            }
            (None, Some(object)) => {
                let wrong = openapi::check_object("GET", &path, object);
                (200, object.to_string().into_bytes(), wrong)
            }
            (None, None) => {
                let body = status(404, "NotFound", "there is no such object");
                let wrong = openapi::check_status(&body);
                (404, body.to_string().into_bytes(), wrong)
            }
        };
        asked.status = code;
        state.asked.push(asked);
        state.wrong.extend(wrong);
        (code, body)
    };
    match trouble {
        Some(Trouble::Silence) => match std::future::pending::<Infallible>().await {},
        Some(Trouble::Close) => return Err(std::io::ErrorKind::ConnectionReset.into()),
        _ => {}
    }
    let mut response = Response::builder().status(code).header("content-type", "application/json");
    if let Some(Trouble::Redirect(to)) = trouble {
        response = response.header("location", to);
    }
    Ok(response.body(Body::from(body)).unwrap())
}
