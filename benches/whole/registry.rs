//! Debian's docker-registry on the loopback: plain, and with TLS and a password; one storage.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use skillmount::reference::Digest;
use tokio::process::Command;

use crate::process::{Server, succeed};
use crate::skills::Layer;
use crate::support::Tls;

const USER: &str = "robot";
const PASSWORD: &str = "benchmark-password";

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// One way to the artifacts: an address, and what it asks for.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    /// Host and port.
    pub(crate) host: String,
    pub(crate) login: Option<Login>,
}

/// What a skill is in a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A container image, whose config may say what its layers are.
    Image,
    /// What `oras push DIRECTORY` makes and `oras pull` takes: a manifest and a layer.
    Artifact,
}

/// What a registry with TLS asks for.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    /// The authority to trust, in PEM.
    pub(crate) ca: PathBuf,
    /// A directory with a Docker configuration, and nothing else.
    pub(crate) docker: PathBuf,
}

impl Access {
    pub(crate) fn scheme(&self) -> &'static str {
        if self.login.is_some() { "https" } else { "http" }
    }

    pub(crate) fn reference(&self, repository: &str, tag: &str) -> String {
        format!("{}/{repository}:{tag}", self.host)
    }

    pub(crate) fn url(&self, repository: &str, what: &str) -> String {
        format!("{}://{}/v2/{repository}/{what}", self.scheme(), self.host)
    }

    /// The same registry by another address.
    pub(crate) fn at(&self, host: &str, root: &Path) -> Self {
        let login = self.login.as_ref().map(|login| Login::new(&login.ca, root, host));
        Self { host: host.to_owned(), login }
    }

    /// A client that trusts the registry, and keeps its connection.
    pub(crate) fn client(&self) -> reqwest::Client {
        let mut builder = reqwest::Client::builder().no_proxy();
        if let Some(login) = &self.login {
            let pem = fs::read(&login.ca).unwrap();
            let ca = reqwest::Certificate::from_pem(&pem).unwrap();
            builder = builder.tls_certs_only([ca]);
        }
        builder.build().unwrap()
    }

    /// What is at a path of a repository, such as `manifests/latest`.
    async fn get(
        &self,
        client: &reqwest::Client,
        repository: &str,
        path: &str,
    ) -> Result<Bytes, String> {
        let request = client.get(self.url(repository, path)).header("Accept", MANIFEST);
        let request = match &self.login {
            Some(_) => request.basic_auth(USER, Some(PASSWORD)),
            None => request,
        };
        let answer = request.send().await.map_err(|e| e.to_string())?;
        let answer = answer.error_for_status().map_err(|e| e.to_string())?;
        answer.bytes().await.map_err(|e| e.to_string())
    }

    /// Gets a manifest and its layer, and nothing of them is checked. Returns the manifest.
    pub(crate) async fn manifest_and_layer(
        &self,
        client: &reqwest::Client,
        repository: &str,
        tag: &str,
    ) -> Result<Value, String> {
        let manifest = self.get(client, repository, &format!("manifests/{tag}")).await?;
        let manifest: Value = serde_json::from_slice(&manifest).map_err(|e| e.to_string())?;
        self.blob(client, repository, &manifest["layers"][0]).await?;
        Ok(manifest)
    }

    /// The same with the config.
    pub(crate) async fn all_of(
        &self,
        client: &reqwest::Client,
        repository: &str,
        tag: &str,
    ) -> Result<(), String> {
        let manifest = self.manifest_and_layer(client, repository, tag).await?;
        self.blob(client, repository, &manifest["config"]).await
    }

    async fn blob(
        &self,
        client: &reqwest::Client,
        repository: &str,
        descriptor: &Value,
    ) -> Result<(), String> {
        let digest = descriptor["digest"].as_str().ok_or("no digest")?;
        let bytes = self.get(client, repository, &format!("blobs/{digest}")).await?.len();
        let all = descriptor["size"].as_u64() == Some(bytes as u64);
        if all { Ok(()) } else { Err(format!("{bytes} bytes of {descriptor}")) }
    }
}

impl Login {
    fn new(ca: &Path, root: &Path, host: &str) -> Self {
        let docker = root.join(format!("docker-{}", host.replace(':', "-")));
        fs::create_dir_all(&docker).unwrap();
        fs::write(docker.join("config.json"), Self::document(host)).unwrap();
        Self { ca: ca.to_owned(), docker }
    }

    /// A Docker configuration, as pull secrets have it.
    pub(crate) fn document(host: &str) -> String {
        let auth = STANDARD.encode(format!("{USER}:{PASSWORD}"));
        json!({"auths": {host: {"username": USER, "password": PASSWORD, "auth": auth}}}).to_string()
    }

    /// For curl.
    pub(crate) fn user() -> String {
        format!("{USER}:{PASSWORD}")
    }
}

/// Both servers.
pub(crate) struct Registry {
    pub(crate) plain: Access,
    pub(crate) secured: Access,
    servers: [Server; 2],
    client: reqwest::Client,
}

impl Registry {
    pub(crate) async fn start(root: &Path) -> Self {
        let tls = Tls::new();
        let (certificate, key) = tls.server_pem();
        let write = |name: &str, text: &str| {
            let path = root.join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let ca = write("ca.crt", tls.ca_pem());
        let (certificate, key) = (write("server.crt", certificate), write("server.key", key));
        // -B, bcrypt, is the only form that docker-registry reads.
        let mut htpasswd = Command::new("htpasswd");
        let users = succeed(htpasswd.args(["-Bbn", USER, PASSWORD])).await;
        let users = write("htpasswd", &users);
        let storage = root.join("storage");
        let (plain, host) = serve(root, "plain", config(&storage)).await;
        let mut secured = config(&storage);
        secured["auth"] = json!({"htpasswd": {"realm": "benchmark", "path": users}});
        secured["http"]["tls"] = json!({"certificate": certificate, "key": key});
        let (tls, secured) = serve(root, "secured", secured).await;
        let login = Login::new(&ca, root, &secured);
        let plain_access = Access { host, login: None };
        Self {
            client: plain_access.client(),
            plain: plain_access,
            secured: Access { host: secured, login: Some(login) },
            servers: [plain, tls],
        }
    }

    /// Pushes a layer as an image, `repository:tag`; returns the layer's digest.
    pub(crate) async fn image(&self, repository: &str, tag: &str, layer: &Layer) -> String {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            // No two tags have the same configuration, as no two versions of an image do.
            "config": {"Labels": {"tag": tag}},
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
        });
        let config = config.to_string().into_bytes();
        let media_type = "application/vnd.oci.image.config.v1+json";
        self.manifest(repository, tag, (media_type, config), layer, Value::Null).await
    }

    /// Pushes a layer as `oras push DIRECTORY` does.
    pub(crate) async fn oras(&self, repository: &str, tag: &str, layer: &Layer) -> String {
        let annotations = json!({
            "org.opencontainers.image.title": repository.rsplit('/').next(),
            "io.deis.oras.content.unpack": "true",
            "io.deis.oras.content.digest": layer.diff_id,
        });
        let config = ("application/vnd.oci.empty.v1+json", b"{}".to_vec());
        self.manifest(repository, tag, config, layer, annotations).await
    }

    /// Pushes `count` images, or what `oras push` makes, of the same files in other bytes: tags 1 to
    /// `count`.
    pub(crate) async fn variants(&self, repository: &str, kind: Kind, layer: &Layer, count: usize) {
        let push = |number: usize| async move {
            let (variant, tag) = (layer.variant(number.try_into().unwrap()), number.to_string());
            match kind {
                Kind::Image => drop(self.image(repository, &tag, &variant).await),
                Kind::Artifact => drop(self.oras(repository, &tag, &variant).await),
            }
        };
        stream::iter(1..=count).for_each_concurrent(4, push).await;
    }

    async fn manifest(
        &self,
        repository: &str,
        tag: &str,
        (config_type, config): (&str, Vec<u8>),
        layer: &Layer,
        annotations: Value,
    ) -> String {
        let config_size = config.len();
        let config = self.blob(repository, config).await;
        let size = layer.bytes.len();
        let digest = self.blob(repository, layer.bytes.clone()).await;
        let mut described = json!({"mediaType": layer.media_type, "digest": digest, "size": size});
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": config_type, "digest": config, "size": config_size},
        });
        if !annotations.is_null() {
            described["annotations"] = annotations;
            manifest["artifactType"] = "application/vnd.unknown.artifact.v1".into();
        }
        manifest["layers"] = json!([described]);
        let url = self.plain.url(repository, &format!("manifests/{tag}"));
        let put = self.client.put(url).header("Content-Type", MANIFEST);
        let answer = put.body(manifest.to_string()).send().await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
        digest
    }

    async fn blob(&self, repository: &str, bytes: Vec<u8>) -> String {
        let digest = Digest::sha256(&bytes).to_string();
        let url = self.plain.url(repository, &format!("blobs/{digest}"));
        if self.client.head(url).send().await.unwrap().status().is_success() {
            return digest;
        }
        let url = self.plain.url(repository, "blobs/uploads/");
        let started = self.client.post(url).send().await.unwrap();
        let location = started.headers()["location"].to_str().unwrap().to_owned();
        let mut url = url::Url::parse(&location).unwrap();
        url.query_pairs_mut().append_pair("digest", &digest);
        let answer = self.client.put(url).body(bytes).send().await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
        digest
    }

    pub(crate) async fn stop(self) {
        for server in self.servers {
            server.stop().await;
        }
    }
}

fn config(storage: &Path) -> Value {
    json!({
        "version": "0.1",
        // At a higher level it does not say where it listens.
        "log": {"level": "info", "formatter": "text", "accesslog": {"disabled": true}},
        "storage": {"filesystem": {"rootdirectory": storage}},
        "http": {"addr": "127.0.0.1:0", "secret": "of-no-value"},
    })
}

/// Returns where it listens.
async fn serve(root: &Path, name: &str, config: Value) -> (Server, String) {
    let path = root.join(format!("{name}.json"));
    fs::write(&path, config.to_string()).unwrap();
    let mut serve = Command::new("docker-registry");
    serve.arg("serve").arg(path).env("OTEL_TRACES_EXPORTER", "none");
    Server::start(&mut serve, |line| {
        let (_, rest) = line.split_once("listening on ")?;
        rest.split([',', '"']).next().map(str::to_owned)
    })
    .await
}
