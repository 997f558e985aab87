//! One fixture: pushed, pulled into a store, inspected in memory, and told as text.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use skillmount::artifact::descriptor::Platform;
use skillmount::artifact::skill::Shape;
use skillmount::credentials::{Keyring, Logins};
use skillmount::observability::chain;
use skillmount::pull::{PullConfig, PullError, PullPolicy, PullRequest, Pulled, Puller, inspect};
use skillmount::registry::{RegistryConfig, install_crypto_provider};
use skillmount::store::Store;
use skillmount::volume::attributes::Attributes;
use skillmount::volume::compose::compose;

use crate::support::{Options, Registry, User, tree};

type Context = &'static [(&'static str, &'static str)];

/// A login for the host of the first registry, the only one that fixtures have.
pub const USER: &str = "reader";
pub const PASSWORD: &str = "correct horse";

pub fn reader() -> User {
    User::new(USER, PASSWORD)
}

/// A fixture and how it is asked for. What comes of it stands in `expected/`, under its key.
pub struct Row {
    pub key: &'static str,
    push: fn(&Lab) -> String,
    attributes: Context,
    platform: &'static str,
    options: fn(&Registry) -> Options,
    login: bool,
    check: fn(&Lab, &Outcome),
}

pub fn row(key: &'static str, push: fn(&Lab) -> String) -> Row {
    Row {
        key,
        push,
        attributes: &[],
        platform: "amd64",
        options: |_| Options::default(),
        login: false,
        check: |_, _| {},
    }
}

impl Row {
    /// The volume's attributes.
    pub fn with(self, attributes: Context) -> Self {
        Self { attributes, ..self }
    }

    pub fn strict(self) -> Self {
        self.with(&[("validation", "strict")])
    }

    pub fn platform(self, platform: &'static str) -> Self {
        Self { platform, ..self }
    }

    /// What kind of registry the first one is; it is told the other one.
    pub fn registry(self, options: fn(&Registry) -> Options) -> Self {
        Self { options, ..self }
    }

    /// Gives the caller a credential for the first registry.
    pub fn login(self) -> Self {
        Self { login: true, ..self }
    }

    pub fn check(self, check: fn(&Lab, &Outcome)) -> Self {
        Self { check, ..self }
    }
}

thread_local! {
    /// One for all rows of a test: it reads the system's certificates first, which takes longer
    /// than most rows.
    static CLIENT: OnceCell<skillmount::registry::Registry> = const { OnceCell::new() };
}

/// Two registries, a store, and a directory beside it that nothing may touch.
pub struct Lab {
    pub registry: Registry,
    pub other: Registry,
    scratch: tempfile::TempDir,
    client: skillmount::registry::Registry,
    store: Arc<Store>,
    config: PullConfig,
    logins: Arc<Logins>,
}

/// What a pull and a composition came to.
#[derive(Debug, Default)]
pub struct Outcome {
    pub text: String,
    /// The directories that the volume shows, merged.
    pub directories: Vec<PathBuf>,
    pub trees: Vec<String>,
    /// What `inspect` can tell as well.
    verdict: String,
}

impl Outcome {
    /// Every file's bytes.
    pub fn file(&self, path: &str) -> Vec<u8> {
        let found = self.directories.iter().map(|d| d.join(path)).find(|path| path.is_file());
        std::fs::read(found.expect(path)).unwrap()
    }
}

impl Lab {
    pub fn new(platform: &str, options: fn(&Registry) -> Options, login: bool) -> Self {
        install_crypto_provider();
        let scratch = tempfile::tempdir().unwrap();
        std::fs::create_dir(scratch.path().join("outside")).unwrap();
        let other = Registry::start(Options::default());
        let registry = Registry::start(options(&other));
        let pause = Duration::from_millis(1);
        let config = RegistryConfig { retry_pause: pause, ..RegistryConfig::default() };
        let client = CLIENT.with(|client| {
            client.get_or_init(|| skillmount::registry::Registry::new(config).unwrap()).clone()
        });
        let store = Arc::new(Store::open(&scratch.path().join("state")).unwrap());
        let (architecture, os) = (platform.to_owned(), "linux".to_owned());
        let config = PullConfig {
            platform: Platform { architecture, os, variant: None },
            timeout: Duration::from_secs(60),
            ..PullConfig::default()
        };
        let logins = match login {
            true => {
                json!({"auths": {registry.host(): {"username": USER, "password": PASSWORD}}})
            }
            false => json!({"auths": {}}),
        };
        let keyring = Keyring::from_docker_config(logins.to_string().as_bytes(), "test").unwrap();
        Self {
            registry,
            other,
            scratch,
            client,
            store,
            config,
            logins: Arc::new(Logins::new(keyring)),
        }
    }

    /// A reference to `repository:1`.
    pub fn at(&self, repository: &str) -> String {
        self.registry.reference(repository, "1")
    }

    /// A directory that no artifact may reach.
    pub fn outside(&self) -> PathBuf {
        self.scratch.path().join("outside")
    }

    fn state(&self) -> PathBuf {
        self.scratch.path().join("state")
    }

    /// How many trees are stored.
    pub fn stored(&self) -> usize {
        let entries = std::fs::read_dir(self.state().join("trees")).unwrap();
        entries.filter(|entry| entry.as_ref().unwrap().path().is_dir()).count()
    }

    fn request(&self, attributes: &Attributes) -> PullRequest {
        PullRequest {
            source: attributes.references[0].clone().into(),
            policy: PullPolicy::Always,
            options: attributes.pull_options(),
            logins: self.logins.clone(),
            tenant: skillmount::pull::Tenant::default(),
        }
    }

    pub fn puller(&self) -> Arc<Puller> {
        Arc::new(Puller::new(self.client.clone(), self.store.clone(), self.config.clone()))
    }

    /// Pulls, composes, inspects.
    pub async fn pull(&self, reference: &str, context: Context) -> Outcome {
        let attributes = attributes(reference, context);
        let request = self.request(&attributes);
        let mut flight = self.puller().pull(request.clone());
        let outcome = match flight.wait().await {
            Ok(pulled) => view(&attributes, pulled),
            Err(error) => failure(&error),
        };
        let inspected = match inspect(&self.client, &self.config, &request).await {
            Ok(found) => {
                let heads = found.parts.iter().map(|part| {
                    let names = part.skills.iter().map(|skill| skill.name.as_str()).collect();
                    head(part.format, part.shape, names)
                });
                let all = found.parts.iter().flat_map(|part| &part.warnings);
                format!("{}\n{}{}", found.collection, heads.collect::<String>(), warnings(all))
            }
            Err(error) => failure(&error).verdict,
        };
        assert_eq!(self.plain(&outcome.verdict), self.plain(&inspected), "disk and memory");
        Outcome { text: self.plain(&outcome.text), ..outcome }
    }

    /// Without what differs from run to run.
    fn plain(&self, text: &str) -> String {
        let text = text
            .replace(&self.registry.host(), "HOST")
            .replace(&self.registry.second_host(), "SECOND")
            .replace(&self.other.host(), "OTHER")
            .replace(&self.other.host().replace("127.0.0.1", "localhost"), "LOCALHOST")
            .replace(self.scratch.path().to_str().unwrap(), "SCRATCH");
        let mut plain = String::new();
        let mut rest = text.as_str();
        while let Some(at) = rest.find("sha256:") {
            let (before, after) = rest.split_at(at + "sha256:".len());
            let end = after.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(after.len());
            plain.push_str(before);
            plain.push_str(if end > 0 { "#" } else { "" });
            rest = &after[end..];
        }
        plain + rest
    }

    /// What holds after every pull, good or bad.
    fn untouched(&self, key: &str, failed: bool) {
        let entries = |path: &Path| std::fs::read_dir(path).unwrap().count();
        assert_eq!(entries(&self.outside()), 0, "{key}: wrote outside");
        assert_eq!(entries(self.scratch.path()), 2, "{key}: wrote beside the state directory");
        assert_eq!(entries(&self.state().join("staging")), 0, "{key}: left something in staging");
        if failed {
            assert_eq!(self.stored(), 0, "{key}: stored something");
        }
    }
}

fn attributes(reference: &str, context: Context) -> Attributes {
    let mut all: HashMap<_, _> =
        context.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    all.insert("reference".into(), reference.into());
    Attributes::parse(&all).unwrap().0
}

fn head(format: &str, shape: Shape, names: Vec<&str>) -> String {
    format!("{format} {} {}\n", format!("{shape:?}").to_lowercase(), names.join(", "))
}

fn warnings<'a>(warnings: impl Iterator<Item = &'a String>) -> String {
    let mut lines: Vec<_> = warnings.map(|warning| format!("warning: {warning}\n")).collect();
    // Those of manifests and those of files are kept apart, and come in either order.
    lines.sort();
    lines.concat()
}

fn failure(error: &PullError) -> Outcome {
    let text = format!("{:?}: {}\n", error.blame(), chain(error));
    Outcome { verdict: text.clone(), text, ..Outcome::default() }
}

fn view(attributes: &Attributes, pulled: Arc<Pulled>) -> Outcome {
    let heads = pulled.trees.iter().map(|tree| {
        let names = tree.info.skills.iter().map(|skill| skill.name.as_str()).collect();
        head(&tree.info.format, tree.info.shape, names)
    });
    let heads = heads.collect::<String>() + &warnings(pulled.warnings());
    let verdict = format!("{}\n{heads}", pulled.collection);
    let composition = match compose(attributes, &[pulled]) {
        Ok(composition) => composition,
        Err(error) => {
            let text = format!("compose: {}\n", chain(&error));
            return Outcome { text, verdict, ..Outcome::default() };
        }
    };
    let mut lines: Vec<String> = composition.directories.iter().flat_map(tree::listing).collect();
    // By path, not by mode: the lines of several directories become one listing.
    lines.sort_by(|a, b| a[11..].split(' ').next().cmp(&b[11..].split(' ').next()));
    for line in composition.directories.iter().flat_map(tree::owners) {
        let owner = format!(" {}:", rustix::process::geteuid().as_raw());
        assert!(line.contains(&owner), "{line}");
    }
    let layout = format!("{:?}", composition.layout).to_lowercase();
    let text = format!("{heads}{layout}\n{}\n", lines.join("\n"));
    Outcome { text, directories: composition.directories, trees: composition.trees, verdict }
}

/// What is expected of each row: sections that begin with `=== KEY`, or with several keys
/// separated by ` | ` where the same comes of them.
pub fn sections(text: &'static str) -> BTreeMap<&'static str, &'static str> {
    let mut sections = BTreeMap::new();
    for section in text.split("=== ").skip(1) {
        let (keys, body) = section.split_once('\n').unwrap();
        for key in keys.split(" | ") {
            assert!(sections.insert(key, body.trim()).is_none(), "{key} stands there twice");
        }
    }
    sections
}

/// Runs all rows, and tells of those that differ from `expected`, in its notation.
pub async fn run(rows: Vec<Row>, expected: &'static str) -> Vec<String> {
    let mut sections = sections(expected);
    let mut wrong = Vec::new();
    for row in rows {
        let lab = Lab::new(row.platform, row.options, row.login);
        let reference = (row.push)(&lab);
        let outcome = lab.pull(&reference, row.attributes).await;
        lab.untouched(
            row.key,
            outcome.directories.is_empty() && !outcome.text.starts_with("compose"),
        );
        (row.check)(&lab, &outcome);
        if sections.remove(row.key) != Some(outcome.text.trim()) {
            wrong.push(format!("=== {}\n{}", row.key, outcome.text));
        }
    }
    wrong.extend(sections.into_keys().map(|key| format!("=== {key}\nis expected of no row\n")));
    wrong
}
