//! The registry: listeners in the current runtime, content in memory, and the handle that tests
//! hold.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::Body;
use axum::http::{Response, header};
use bytes::Bytes;
use hyper::body::Incoming;
use serde_json::Value;
use skillmount::reference::Digest;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::auth::{Auth, Bearer, Realm, Tokens, User, is_below};
use super::content::{Content, Descriptor};
use super::faults::{Answer, Closed, Fault, On, Script};
use super::listener::accept;
use super::log::{Log, Request};
use super::routes::{self, Call, error};
use super::tls::Tls;

/// More than any fixture: an upload beyond it is refused.
const MAX_UPLOAD: usize = 1 << 30;

/// What kind of registry to start. The default is anonymous, over plain HTTP.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen; port 0 picks one.
    pub address: SocketAddr,
    pub tls: Option<Tls>,
    /// How the registry and its repositories ask for credentials …
    pub auth: Auth,
    /// … except below these prefixes; the longest that fits counts.
    pub rules: Vec<(String, Auth)>,
    pub users: Vec<User>,
    /// Whether `Docker-Content-Digest` is sent.
    pub content_digest: bool,
    /// Whether the referrers API exists.
    pub referrers: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tls: None,
            auth: Auth::Anonymous,
            rules: vec![],
            users: vec![],
            content_digest: true,
            referrers: true,
        }
    }
}

impl Options {
    pub fn basic(users: impl Into<Vec<User>>) -> Self {
        Self { auth: Auth::Basic, users: users.into(), ..Self::default() }
    }

    pub fn bearer(users: impl Into<Vec<User>>, bearer: Bearer) -> Self {
        Self { auth: Auth::Bearer(bearer), users: users.into(), ..Self::default() }
    }

    pub fn open_root(users: impl Into<Vec<User>>) -> Self {
        Self { auth: Auth::OpenRoot, users: users.into(), ..Self::default() }
    }

    pub fn tls() -> Self {
        Self { tls: Some(Tls::new()), ..Self::default() }
    }

    /// Another rule for the repositories below a prefix.
    pub fn rule(mut self, prefix: &str, auth: Auth) -> Self {
        self.rules.push((prefix.into(), auth));
        self
    }

    pub(super) fn auth_of(&self, repository: Option<&str>) -> &Auth {
        let fitting = repository
            .into_iter()
            .flat_map(|name| self.rules.iter().filter(move |(prefix, _)| is_below(prefix, name)));
        fitting.max_by_key(|(prefix, _)| prefix.len()).map_or(&self.auth, |(_, auth)| auth)
    }

    /// The one token endpoint that a registry has.
    pub(super) fn token_endpoint(&self) -> Option<&Bearer> {
        std::iter::once(&self.auth).chain(self.rules.iter().map(|(_, auth)| auth)).find_map(
            |auth| match auth {
                Auth::Bearer(bearer) => Some(bearer),
                _ => None,
            },
        )
    }
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) options: Options,
    pub(super) tokens: Mutex<Tokens>,
    content: Mutex<Content>,
    log: Log,
    script: Script,
    pub(super) connections: AtomicUsize,
    hosts: [SocketAddr; 2],
}

impl State {
    pub(super) fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap()
    }

    fn scheme(&self) -> &'static str {
        if self.options.tls.is_some() { "https" } else { "http" }
    }

    pub(super) fn realm(&self, bearer: &Bearer) -> String {
        match &bearer.realm {
            Realm::Own => format!("{}://{}/token", self.scheme(), self.hosts[0]),
            Realm::SecondHost => format!("{}://{}/token", self.scheme(), self.hosts[1]),
            Realm::At(url) => url.clone(),
        }
    }
}

/// A running registry. It stops when dropped; gates that hold responses do not keep it.
#[derive(Debug)]
pub struct Registry {
    state: Arc<State>,
    listeners: Mutex<Vec<Listener>>,
}

#[derive(Debug)]
struct Listener {
    /// Dropped to stop the task in order.
    stop: oneshot::Sender<Infallible>,
    task: JoinHandle<()>,
}

impl Registry {
    /// Starts a registry in the current tokio runtime. It listens when this returns.
    pub fn start(options: Options) -> Self {
        let bind = |address: SocketAddr| TcpListener::bind(address).expect("a free port");
        let first = bind(options.address);
        let second = bind(SocketAddr::new(options.address.ip(), 0));
        let hosts = [first.local_addr().unwrap(), second.local_addr().unwrap()];
        let state = Arc::new(State {
            options,
            tokens: Mutex::default(),
            content: Mutex::default(),
            log: Log::default(),
            script: Script::default(),
            connections: AtomicUsize::new(0),
            hosts,
        });
        let registry = Self { state, listeners: Mutex::default() };
        registry.listen([first, second]);
        registry
    }

    fn listen(&self, sockets: [TcpListener; 2]) {
        let mut listeners = self.listeners.lock().unwrap();
        for socket in sockets {
            socket.set_nonblocking(true).unwrap();
            let socket = tokio::net::TcpListener::from_std(socket).expect("a tokio runtime");
            let (stop, stopped) = oneshot::channel();
            let task = tokio::spawn(accept(socket, self.state.clone(), stopped));
            listeners.push(Listener { stop, task });
        }
    }

    /// Closes the listeners and every connection, and returns when they are closed. Content, log
    /// and faults stay.
    pub async fn stop(&self) {
        let listeners = std::mem::take(&mut *self.listeners.lock().unwrap());
        for Listener { stop, task } in listeners {
            drop(stop);
            task.await.expect("the listener ends in order");
        }
    }

    /// Listens again on the same ports after [`stop`](Self::stop).
    pub async fn restart(&self) {
        self.stop().await;
        self.listen(self.state.hosts.map(|host| TcpListener::bind(host).expect("the same port")));
    }

    /// `127.0.0.1:PORT`, for references.
    pub fn host(&self) -> String {
        self.state.hosts[0].to_string()
    }

    /// The second listener: the same content at another origin, for realms and redirects.
    pub fn second_host(&self) -> String {
        self.state.hosts[1].to_string()
    }

    /// `http://127.0.0.1:PORT`, or https.
    pub fn url(&self) -> String {
        format!("{}://{}", self.state.scheme(), self.host())
    }

    /// Where a blob lies in this registry's "object store" on the second listener: open to all,
    /// and it refuses requests with an `Authorization`.
    pub fn storage_url(&self, digest: &Digest) -> String {
        format!("{}://{}/storage/{digest}", self.state.scheme(), self.second_host())
    }

    /// `host/repository:tag`.
    pub fn reference(&self, repository: &str, tag: &str) -> String {
        format!("{}/{repository}:{tag}", self.host())
    }

    /// The certificate of the authority to trust, with [`Options::tls`].
    pub fn ca_pem(&self) -> Option<&str> {
        self.state.options.tls.as_ref().map(Tls::ca_pem)
    }

    /// Stores a blob; every repository whose manifests name it has it.
    pub fn push_blob(&self, bytes: impl Into<Bytes>) -> Descriptor {
        self.state.content().put_blob(bytes.into())
    }

    /// Stores a manifest or an index under a tag, with its own `mediaType` as Content-Type.
    pub fn push_manifest(&self, repository: &str, tag: &str, document: &Value) -> Digest {
        self.push_document(repository, Some(tag), document).digest
    }

    /// The same with or without a tag: children of an index have none.
    pub fn push_document(
        &self,
        repository: &str,
        tag: Option<&str>,
        document: &Value,
    ) -> Descriptor {
        let media_type = document["mediaType"].as_str();
        let media_type = media_type.unwrap_or("application/vnd.oci.image.manifest.v1+json");
        let body = serde_json::to_vec(document).unwrap();
        let descriptor = Descriptor::of(&body);
        self.push_raw_manifest(repository, tag, media_type, body);
        descriptor
    }

    /// Stores any bytes where a manifest belongs.
    pub fn push_raw_manifest(
        &self,
        repository: &str,
        tag: Option<&str>,
        content_type: &str,
        body: impl Into<Bytes>,
    ) -> Digest {
        self.state.content().put_manifest(repository, tag, content_type, body.into())
    }

    /// The stored bytes of a manifest, by tag or digest.
    pub fn manifest(&self, repository: &str, selector: &str) -> Option<Bytes> {
        self.state.content().manifest(repository, selector).map(|manifest| manifest.body)
    }

    /// The digests of a manifest's layers, in order; of an index there are none.
    pub fn layers(&self, repository: &str, selector: &str) -> Vec<Digest> {
        let body = self.manifest(repository, selector).expect("a stored manifest");
        let document: Value = serde_json::from_slice(&body).expect("a JSON manifest");
        let layers = document["layers"].as_array().cloned().unwrap_or_default();
        layers.iter().map(|layer| layer["digest"].as_str().unwrap().parse().unwrap()).collect()
    }

    /// Forgets a tag or a manifest.
    pub fn remove_manifest(&self, repository: &str, selector: &str) -> bool {
        self.state.content().remove_manifest(repository, selector)
    }

    /// Forgets a blob.
    pub fn remove_blob(&self, digest: &Digest) {
        self.state.content().remove_blob(&digest.to_string());
    }

    /// Adds a fault. Those of earlier calls stay. Requests that would be refused with 401 count
    /// as well: [`On::after`] skips a client's first, unauthenticated try.
    pub fn fault(&self, on: On, fault: Fault) {
        self.state.script.push(on, fault);
    }

    pub fn clear_faults(&self) {
        self.state.script.clear();
    }

    /// Makes every token issued so far invalid.
    pub fn expire_tokens(&self) {
        self.state.tokens.lock().unwrap().expire();
    }

    /// All requests so far, in the order of arrival.
    pub fn requests(&self) -> Vec<Request> {
        self.state.log.all()
    }

    /// [`Request::line`] of each.
    pub fn lines(&self) -> Vec<String> {
        self.requests().iter().map(Request::line).collect()
    }

    /// How many requests had this method and a path containing `part`.
    pub fn count(&self, method: &str, part: &str) -> usize {
        let requests = self.requests();
        requests.iter().filter(|asked| asked.method == method && asked.path.contains(part)).count()
    }

    /// How many connections were accepted so far.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::Relaxed)
    }

    /// Forgets the requests so far.
    pub fn clear(&self) {
        self.state.log.clear();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        for listener in self.listeners.lock().unwrap().drain(..) {
            listener.task.abort();
        }
    }
}

/// One request: its faults, its answer, its line in the log.
pub(super) async fn handle(
    request: axum::http::Request<Incoming>,
    state: Arc<State>,
) -> Result<Response<Body>, Closed> {
    let (parts, body) = request.into_parts();
    let record = Request::new(&parts);
    let number = state.log.push(record.clone());
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    let faults = state.script.strike(&record.method, target);
    for fault in &faults {
        match fault {
            Fault::CloseConnection => return Err(Closed),
            Fault::Stall(gate) => gate.pass().await,
            _ => {}
        }
    }
    let content_type = parts.headers.get(header::CONTENT_TYPE);
    let answer = match axum::body::to_bytes(Body::new(body), MAX_UPLOAD).await {
        Err(_) => error(413, "SIZE_INVALID", "the upload is too large or broke off"),
        Ok(body) => {
            let ignore_range = faults.iter().any(|fault| matches!(fault, Fault::IgnoreRange));
            let content_type = content_type.and_then(|value| value.to_str().ok());
            let call = Call { request: &record, content_type, body, ignore_range };
            routes::answer(&state, &call)
        }
    };
    let answer = faults.into_iter().fold(answer, Answer::with);
    state.log.answered(number, answer.status.as_u16());
    Ok(answer.into_response())
}
