//! Debian's docker-registry with TLS by an own authority and with htpasswd; skopeo pushes,
//! `skillmount pull` pulls.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::process::{Server, run, skillmount, succeed};
use super::selected;
use super::support::{Options, Registry, Skill, Tls, artifacts, skills, tree};

pub(crate) const USER: &str = "robot";
pub(crate) const PASSWORD: &str = "conformance-password";

/// The repositories, and who would have built such an artifact.
const IMAGE: &str = "team/code-review";
const ARTIFACT: &str = "team/docs-writer";

#[tokio::test]
async fn what_skopeo_pushes_is_pulled() {
    let Some(debian) = Debian::start("docker_registry::what_skopeo_pushes_is_pulled").await else {
        return;
    };
    let secret = debian.secret("good.json", PASSWORD);
    let source = Registry::start(Options::default());
    let skills = [(IMAGE, skills::code_review()), (ARTIFACT, skills::docs_writer())];
    artifacts::skillimage(&source, IMAGE, "v1", &skills[0].1);
    artifacts::arconia(&source, ARTIFACT, "v1", &skills[1].1);
    for (repository, skill) in &skills {
        let digest = debian.push(&source, repository, &secret).await;
        let by_tag = debian.reference(repository);
        let by_digest = format!("{}/{repository}@{digest}", debian.host);
        for (output, reference) in [("tag", by_tag), ("digest", by_digest)] {
            let output = debian.path(&format!("{output}-{}", skill.name));
            let (ok, text) = debian.pull(&reference, &output, Some(&secret), true).await;
            assert!(ok, "{reference}: {text}");
            assert_eq!(tree::listing(&output), skill.listing(), "{reference}");
            assert_eq!(tree::contents(&output), contents(skill), "{reference}");
            assert!(!text.contains(PASSWORD), "{text}");
        }
    }
    debian.stop().await;
}

#[tokio::test]
async fn refusals_say_why() {
    let Some(debian) = Debian::start("docker_registry::refusals_say_why").await else { return };
    let (good, wrong) =
        (debian.secret("good.json", PASSWORD), debian.secret("wrong.json", "guess"));
    let source = Registry::start(Options::default());
    artifacts::skillimage(&source, IMAGE, "v1", &skills::code_review());
    debian.push(&source, IMAGE, &good).await;
    let (host, reference) = (&debian.host, debian.reference(IMAGE));
    let missing = format!("{host}/team/missing:v1");
    let begin = "error: cannot pull";
    for (reference, secret, ca, expected) in [
        (
            &reference,
            Some(&wrong),
            true,
            format!(
                "{begin} {reference}: resolving the reference: the registry accepted no matching credential: \
                 file {}, entry {host:?}: 401",
                wrong.display()
            ),
        ),
        (
            &reference,
            None,
            true,
            format!(
                "{begin} {reference}: resolving the reference: the registry asks for a login and no credential \
                 matched (401"
            ),
        ),
        (
            &reference,
            Some(&good),
            false,
            format!(
                "{begin} {reference}: resolving the reference: the certificate of {host} is not trusted; if a \
                 private authority signed it, give the driver that authority's certificate with --ca-file: "
            ),
        ),
        (
            &missing,
            Some(&good),
            true,
            format!("{begin} {missing}: resolving the reference: not found: "),
        ),
    ] {
        let output = debian.path("refused");
        let (ok, text) = debian.pull(reference, &output, secret.map(PathBuf::as_path), ca).await;
        assert!(!ok && !output.exists(), "{text}");
        let said = text.lines().any(|line| line.starts_with(&expected));
        assert!(said, "{text}\nhas no line that begins with\n{expected}");
        assert!(!text.contains(PASSWORD) && !text.contains("guess"), "{text}");
    }
    debian.stop().await;
}

/// The address in the line that says where docker-registry listens.
pub(crate) fn listens(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("listening on ")?;
    rest.split([',', '"']).next().map(str::to_owned)
}

pub(crate) fn contents(skill: &Skill) -> std::collections::BTreeMap<String, Vec<u8>> {
    skill.files.iter().map(|(path, file)| (path.clone(), file.content.clone())).collect()
}

/// The registry, and a directory for all that belongs to it.
pub(crate) struct Debian {
    server: Server,
    pub(crate) host: String,
    root: tempfile::TempDir,
}

impl Debian {
    /// Starts it for a test of the conformance tier.
    pub(crate) async fn start(test: &str) -> Option<Self> {
        if !selected(test) {
            return None;
        }
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            fs::write(root.path().join(name), text).unwrap();
        };
        let tls = Tls::new();
        let (certificate, key) = tls.server_pem();
        fs::create_dir(root.path().join("trust")).unwrap();
        for (name, pem) in
            [("trust/ca.crt", tls.ca_pem()), ("server.crt", certificate), ("server.key", key)]
        {
            write(name, pem);
        }
        // -B, bcrypt, is the only form that docker-registry reads.
        let mut htpasswd = Command::new("htpasswd");
        write("htpasswd", &succeed(htpasswd.args(["-Bbn", USER, PASSWORD])).await);
        write("config.json", &config(root.path()));
        let mut serve = Command::new("docker-registry");
        serve.arg("serve").arg(root.path().join("config.json")).env("OTEL_TRACES_EXPORTER", "none");
        let (server, host) = Server::start(&mut serve, listens).await;
        Some(Self { server, host, root })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub(crate) fn reference(&self, repository: &str) -> String {
        format!("{}/{repository}:v1", self.host)
    }

    /// A pull secret; skopeo reads the same file.
    pub(crate) fn secret(&self, name: &str, password: &str) -> PathBuf {
        let login = serde_json::json!({"username": USER, "password": password});
        let auth = base64(&format!("{USER}:{password}"));
        let mut entry = login;
        entry["auth"] = auth.into();
        let document = serde_json::json!({"auths": {&self.host: entry}});
        let path = self.path(name);
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        serde_json::to_writer(file.unwrap(), &document).unwrap();
        path
    }

    /// Copies `repository:v1` here, unchanged; returns the digest.
    pub(crate) async fn push(&self, source: &Registry, repository: &str, secret: &Path) -> String {
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["copy", "--preserve-digests", "--insecure-policy", "--src-tls-verify=false"]);
        skopeo.arg("--src-no-creds").arg("--authfile").arg(secret);
        skopeo.arg("--dest-cert-dir").arg(self.path("trust"));
        skopeo.arg("--digestfile").arg(self.path("digest"));
        skopeo.arg(format!("docker://{}", source.reference(repository, "v1")));
        skopeo.arg(format!("docker://{}", self.reference(repository)));
        succeed(&mut skopeo).await;
        fs::read_to_string(self.path("digest")).unwrap().trim().to_owned()
    }

    async fn pull(
        &self,
        reference: &str,
        output: &Path,
        secret: Option<&Path>,
        ca: bool,
    ) -> (bool, String) {
        let mut command = skillmount();
        command.args(["pull", reference, "--output"]).arg(output);
        if let Some(secret) = secret {
            command.arg("--pull-secret").arg(secret);
        }
        if ca {
            command.arg("--ca-file").arg(self.path("trust/ca.crt"));
        }
        run(&mut command).await
    }

    pub(crate) async fn stop(self) {
        self.server.stop().await;
    }
}

/// Its configuration: YAML, of which JSON is a part.
fn config(root: &Path) -> String {
    let path = |name: &str| root.join(name).display().to_string();
    let config = serde_json::json!({
        "version": "0.1",
        "log": {"level": "info", "formatter": "text"},
        "storage": {"filesystem": {"rootdirectory": path("storage")}},
        "auth": {"htpasswd": {"realm": "conformance", "path": path("htpasswd")}},
        "http": {
            "addr": "127.0.0.1:0",
            "secret": "of-no-value",
            "tls": {"certificate": path("server.crt"), "key": path("server.key")},
        },
    });
    config.to_string()
}

fn base64(text: &str) -> String {
    use ::base64::Engine;
    ::base64::engine::general_purpose::STANDARD.encode(text)
}
