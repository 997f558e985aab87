//! Mirrors: which host is asked for what, in which order, and what each is shown.

use skillmount::pull::verification::{Verification, VerificationPolicy};

use super::*;
use crate::support::{Fault, On, Request};

const REPOSITORY: &str = "team/code-review";

/// A registry, a mirror of it, and a driver whose configuration of hosts is a directory.
pub(crate) struct Shelf {
    pub(crate) upstream: Registry,
    pub(crate) mirror: Registry,
    driver: Driver,
    root: PathBuf,
}

impl Shelf {
    pub(crate) async fn new(upstream: Options, mirror: Options) -> Self {
        Self::with(upstream, mirror, |_, _| {}).await
    }

    pub(crate) async fn with(
        upstream: Options,
        mirror: Options,
        change: impl FnOnce(&mut Setup, &Registry),
    ) -> Self {
        let (upstream, mirror) = (Registry::start(upstream), Registry::start(mirror));
        for registry in [&upstream, &mirror] {
            for tag in ["v1", "v2", "v3", "v4", "v5"] {
                // Of its own bytes, since what is stored is not asked for.
                let skill = skills::code_review().version(tag).file("tag", tag, 0o644);
                artifacts::skillimage(registry, REPOSITORY, tag, &skill);
            }
        }
        let root = namespace::scratch();
        let mut setup = Setup::default();
        setup.registry.hosts.directories = vec![root.join("certs.d")];
        change(&mut setup, &mirror);
        let driver = Driver::start(&root, setup).await;
        Self { upstream, mirror, driver, root }
    }

    /// The directory of the upstream's configuration.
    pub(crate) fn directory(&self) -> PathBuf {
        let name = format!("{}_", self.upstream.host().replace(':', "_"));
        let directory = self.root.join("certs.d").join(name);
        fs::create_dir_all(&directory).unwrap();
        directory
    }

    /// Writes the upstream's `hosts.toml`; `M` and `U` are the hosts' URLs.
    pub(crate) fn configure(&self, text: &str) {
        let text = text.replace("$M", &self.mirror.url()).replace("$U", &self.upstream.url());
        fs::write(self.directory().join("hosts.toml"), text).unwrap();
    }

    pub(crate) fn volume(&self, id: &str, selector: &str) -> Volume {
        let reference = format!("{}/{REPOSITORY}{selector}", self.upstream.host());
        self.driver.volume(id, &reference).attribute("pullPolicy", "Always")
    }

    /// Publishes and takes it away again.
    pub(crate) async fn pull(&self, volume: &Volume) -> Result<(), (Code, String)> {
        let outcome = self.driver.publish(volume).await;
        let outcome = outcome.map_err(|status| (status.code(), self.general(status.message())));
        self.driver.unpublish(volume).await.unwrap();
        self.driver.in_use(0).await;
        outcome
    }

    fn general(&self, message: &str) -> String {
        assert!(!message.contains("CANARY"), "{message}");
        let root = self.root.display().to_string();
        message
            .replace(&self.upstream.host().replace(':', "_"), "U")
            .replace(&self.upstream.host(), "U")
            .replace(&self.mirror.host(), "M")
            .replace(&root, "")
    }

    /// What the upstream and the mirror were asked since the last call: `manifests/v 200`.
    pub(crate) fn asked(&self) -> (Vec<String>, Vec<String>) {
        let lines = |registry: &Registry| {
            let lines = registry.lines();
            registry.clear();
            let short = lines.iter().map(|line| {
                let line = line.replace(&format!("GET /v2/{REPOSITORY}/"), "");
                let (what, status) = line.rsplit_once(' ').unwrap();
                format!("{} {status}", what.split([':', '1', '2', '3', '4', '5']).next().unwrap())
            });
            short.collect()
        };
        (lines(&self.upstream), lines(&self.mirror))
    }
}

/// A manifest and all blobs from one host.
const WHOLE: [&str; 2] = ["manifests/v 200", "blobs/sha 200"];

/// Each kind of request once.
fn kinds(mut lines: Vec<String>) -> Vec<String> {
    lines.dedup();
    lines
}

#[test]
fn hosts_are_asked_in_order() {
    run("mirrors::hosts_are_asked_in_order", async {
        let shelf = Shelf::new(Options::default(), Options::default()).await;
        let mirrored = "server = \"$U\"\n[host.\"$M\"]\n";
        let none: [&str; 0] = [];
        // A hit, and who is told what it is a mirror of.
        shelf.configure(mirrored);
        shelf.pull(&shelf.volume("csi-1", ":v1")).await.unwrap();
        let told =
            |request: Request| request.query == format!("ns={}", urlencoded(&shelf.upstream));
        assert!(shelf.mirror.requests().into_iter().all(told));
        let (upstream, mirror) = shelf.asked();
        assert_eq!(
            (kinds(upstream), kinds(mirror)),
            (none.map(String::from).to_vec(), WHOLE.map(String::from).to_vec())
        );
        // A miss.
        shelf.mirror.fault(On::get("/v2/"), Fault::status(404));
        shelf.pull(&shelf.volume("csi-2", ":v2")).await.unwrap();
        assert!(shelf.upstream.requests().iter().all(|request| request.query.is_empty()));
        let (upstream, mirror) = shelf.asked();
        assert_eq!(
            (kinds(upstream), kinds(mirror)),
            (WHOLE.map(String::from).to_vec(), vec!["manifests/v 404".to_owned()])
        );
        // A failure: the next host is asked at once, and not after retries.
        shelf.mirror.clear_faults();
        shelf.mirror.fault(On::get("/v2/"), Fault::status(503));
        shelf.pull(&shelf.volume("csi-3", ":v3")).await.unwrap();
        assert_eq!(shelf.asked().1, ["manifests/v 503"]);
        // Content that is not what was asked for.
        shelf.mirror.clear_faults();
        shelf.mirror.fault(On::get("/manifests/"), Fault::WrongBytes);
        shelf.pull(&shelf.volume("csi-4", ":v4")).await.unwrap();
        assert_eq!(shelf.asked().1, ["manifests/v 200"]);
        // Nobody there.
        shelf.mirror.stop().await;
        shelf.pull(&shelf.volume("csi-5", ":v5")).await.unwrap();
        assert_eq!(kinds(shelf.asked().0), WHOLE);
    });
}

fn urlencoded(registry: &Registry) -> String {
    registry.host().replace(':', "%3A")
}

#[test]
fn each_hosts_failure_is_told() {
    run("mirrors::each_hosts_failure_is_told", async {
        let shelf = Shelf::new(Options::default(), Options::default()).await;
        shelf.configure("server = \"$U\"\n[host.\"$M\"]\n");
        let volume = shelf.volume("csi-1", ":v9");
        assert_eq!(
            shelf.pull(&volume).await.unwrap_err(),
            (
                Code::NotFound,
                format!(
                    "cannot pull U/{REPOSITORY}:v9: resolving the reference: no host delivered it: \
                     M: not found (404 Not Found: manifest unknown); if it is private, a pull secret \
                     (nodePublishSecretRef) needs an entry for \"M\"; \
                     U: not found (404 Not Found: manifest unknown); if it is private, a pull secret \
                     (nodePublishSecretRef) needs an entry for \"U\""
                )
            )
        );
        shelf.mirror.stop().await;
        let (code, message) = shelf.pull(&volume).await.unwrap_err();
        assert_eq!(code, Code::NotFound);
        let begin = "no host delivered it: M: cannot connect to M: Connection refused (os error 111); U: not found";
        assert!(message.contains(begin), "{message}");
        shelf.upstream.stop().await;
        let (code, message) = shelf.pull(&volume).await.unwrap_err();
        assert_eq!(code, Code::Unavailable);
        assert!(
            message.ends_with("; U: cannot connect to U: Connection refused (os error 111)"),
            "{message}"
        );
        // Where only the mirror may be asked, there is one error, and the upstream stays alone.
        shelf.upstream.restart().await;
        shelf.upstream.clear();
        shelf.configure("server = \"$M\"\n");
        let (code, message) = shelf.pull(&volume).await.unwrap_err();
        assert_eq!(code, Code::Unavailable);
        assert!(
            message.ends_with(": cannot connect to M: Connection refused (os error 111)"),
            "{message}"
        );
        assert_eq!(shelf.upstream.lines(), [""; 0]);
    });
}

#[test]
fn a_broken_file_is_no_reason_to_ask_somebody_else() {
    run("mirrors::a_broken_file_is_no_reason_to_ask_somebody_else", async {
        let shelf = Shelf::new(Options::default(), Options::default()).await;
        shelf.configure("server = \"$M\"\ncapabilities = [\"pul\"]");
        let expected = format!(
            "cannot pull U/{REPOSITORY}:v1: resolving the reference: no registry was asked: \
             \"/certs.d/U_/hosts.toml\", line 2: unknown capability: pull, resolve, push, referrers"
        );
        let volume = shelf.volume("csi-1", ":v1");
        let failure = shelf.pull(&volume).await.unwrap_err();
        assert_eq!(failure, (Code::FailedPrecondition, expected));
        // Neither for a tag, if none may be asked what it is. And a change counts at once.
        shelf.configure("server = \"$M\"\ncapabilities = [\"pull\"]");
        let (code, message) = shelf.pull(&volume).await.unwrap_err();
        assert_eq!(code, Code::FailedPrecondition);
        assert!(
            message.ends_with("has no host that may be asked for a tag (capabilities)"),
            "{message}"
        );
        assert_eq!(shelf.asked(), (vec![], vec![]));
        shelf.configure("server = \"$M\"");
        shelf.pull(&volume).await.unwrap();
        assert_eq!(kinds(shelf.asked().1), WHOLE);
        fs::rename(shelf.directory(), shelf.root.join("certs.d/other")).unwrap();
        shelf.pull(&shelf.volume("csi-2", ":v2")).await.unwrap();
        let (upstream, mirror) = shelf.asked();
        assert_eq!(kinds(upstream), WHOLE);
        assert_eq!(mirror, [""; 0]);
    });
}

#[test]
fn a_mirror_for_digests_is_not_asked_for_tags() {
    run("mirrors::a_mirror_for_digests_is_not_asked_for_tags", async {
        let shelf = Shelf::new(Options::default(), Options::default()).await;
        shelf.configure("server = \"$U\"\n[host.\"$M\"]\ncapabilities = [\"pull\"]");
        shelf.pull(&shelf.volume("csi-1", ":v1")).await.unwrap();
        let (upstream, mirror) = shelf.asked();
        assert_eq!((kinds(upstream), mirror.len()), (WHOLE.map(String::from).to_vec(), 0));
        let digest = skillmount::reference::Digest::sha256(
            &shelf.upstream.manifest(REPOSITORY, "v2").unwrap(),
        );
        shelf.pull(&shelf.volume("csi-2", &format!("@{digest}"))).await.unwrap();
        let (upstream, mirror) = shelf.asked();
        assert_eq!(upstream, [""; 0]);
        assert_eq!(kinds(mirror)[0], "manifests/sha 200");
    });
}

#[test]
fn headers_and_paths_are_one_hosts_alone() {
    run("mirrors::headers_and_paths_are_one_hosts_alone", async {
        let shelf = Shelf::new(Options::default(), Options::default()).await;
        let cached = format!("cache/{REPOSITORY}");
        artifacts::skillimage(&shelf.mirror, &cached, "v1", &skills::code_review());
        shelf.configure(
            "server = \"$U\"\n[host.\"$M/v2/cache\"]\noverride_path = true\n\
             [host.\"$M/v2/cache\".header]\nx-mark = \"CANARY-mark\"\n",
        );
        // Blobs lie elsewhere, and that host gets neither the header nor the path.
        let layer = shelf.mirror.layers(&cached, "v1")[0].clone();
        let storage = shelf.mirror.storage_url(&layer);
        shelf.mirror.fault(On::blob(&layer), Fault::RedirectTo(storage));
        shelf.pull(&shelf.volume("csi-1", ":v1")).await.unwrap();
        assert_eq!(shelf.upstream.lines(), [""; 0]);
        let requests = shelf.mirror.requests();
        let (storage, api): (Vec<_>, Vec<_>) =
            requests.iter().partition(|request| request.path.starts_with("/storage/"));
        assert_eq!((storage.len(), storage[0].mark.as_deref()), (1, None));
        assert!(api.len() >= 2);
        for request in api {
            assert!(request.path.starts_with(&format!("/v2/cache/{REPOSITORY}/")), "{request:?}");
            assert_eq!(request.mark.as_deref(), Some("CANARY-mark"));
        }
        // The upstream is another host.
        shelf.mirror.clear_faults();
        shelf.mirror.fault(On::get("/v2/"), Fault::status(404));
        shelf.pull(&shelf.volume("csi-2", ":v2")).await.unwrap();
        assert!(shelf.upstream.requests().iter().all(|request| request.mark.is_none()));
    });
}

#[test]
fn a_blob_that_breaks_goes_on_elsewhere() {
    run("mirrors::a_blob_that_breaks_goes_on_elsewhere", async {
        let shelf = Shelf::new(Options::default(), Options::default()).await;
        shelf.configure("server = \"$U\"\n[host.\"$M\"]\n");
        let layer = shelf.mirror.layers(REPOSITORY, "v1")[0].clone();
        shelf.mirror.fault(On::blob(&layer).times(1), Fault::Truncate(100));
        shelf.mirror.fault(On::blob(&layer).after(1), Fault::status(500));
        shelf.pull(&shelf.volume("csi-1", ":v1")).await.unwrap();
        let path = format!("/blobs/{layer}");
        let of = |registry: &Registry| -> Vec<_> {
            let requests = registry.requests().into_iter();
            requests.filter(|r| r.path.contains(&path)).map(|r| (r.range, r.status)).collect()
        };
        let rest = Some("bytes=100-".to_owned());
        let broken = of(&shelf.mirror);
        assert_eq!(broken[0], (None, 200));
        assert!(broken[1..].iter().all(|asked| *asked == (rest.clone(), 500)), "{broken:?}");
        assert_eq!(of(&shelf.upstream), [(rest, 206)]);
    });
}

#[test]
fn registries_conf_rewrites_blocks_and_mirrors() {
    run("mirrors::registries_conf_rewrites_blocks_and_mirrors", async {
        let shelf = Shelf::with(Options::default(), Options::default(), |setup, _| {
            let conf = namespace::scratch().join("registries.conf");
            setup.registry.hosts.directories = vec![];
            setup.registry.hosts.registries_conf = Some(conf.clone());
            fs::write(conf, "").unwrap();
        })
        .await;
        let cached = format!("cache/{REPOSITORY}");
        artifacts::skillimage(&shelf.mirror, &cached, "v1", &skills::code_review());
        let conf = shelf.root.join("registries.conf");
        let write = |text: &str| {
            let text =
                text.replace("$M", &shelf.mirror.host()).replace("$U", &shelf.upstream.host());
            fs::write(&conf, text).unwrap();
        };
        let volume = shelf.volume("csi-1", ":v1");
        write(
            "[[registry]]\nlocation = \"$U\"\n[[registry.mirror]]\nlocation = \"$M/cache\"\ninsecure = true",
        );
        shelf.pull(&volume).await.unwrap();
        assert_eq!(shelf.upstream.lines(), [""; 0]);
        let requests = shelf.mirror.requests();
        let path = format!("/v2/cache/{REPOSITORY}/");
        assert!(
            requests.iter().all(|r| r.path.starts_with(&path) && r.query.is_empty()),
            "{requests:?}"
        );
        shelf.asked();
        write(
            "[[registry]]\nlocation = \"$U\"\nmirror-by-digest-only = true\n[[registry.mirror]]\nlocation = \"$M/cache\"",
        );
        shelf.pull(&volume).await.unwrap();
        assert_eq!(shelf.asked().1, [""; 0]);
        write("[[registry]]\nlocation = \"$U/team\"\nblocked = true");
        assert_eq!(
            shelf.pull(&volume).await.unwrap_err(),
            (
                Code::FailedPrecondition,
                format!(
                    "cannot pull U/{REPOSITORY}:v1: resolving the reference: no registry was asked: \
                     U/team is blocked in \"/registries.conf\""
                )
            )
        );
        assert_eq!(shelf.asked(), (vec![], vec![]));
    });
}

#[test]
fn what_is_stored_of_a_blocked_registry_is_not_served() {
    run("mirrors::what_is_stored_of_a_blocked_registry_is_not_served", async {
        for policy in [VerificationPolicy::AlwaysVerify, VerificationPolicy::NeverVerify] {
            let shelf = Shelf::with(Options::default(), Options::default(), |setup, _| {
                let conf = namespace::scratch().join("registries.conf");
                setup.registry.hosts.directories = vec![];
                setup.registry.hosts.registries_conf = Some(conf.clone());
                setup.verification = Verification { policy, allowed: vec![] };
                fs::write(conf, "").unwrap();
            })
            .await;
            let conf = shelf.root.join("registries.conf");
            let volume =
                |id: &str, policy: &str| shelf.volume(id, ":v1").attribute("pullPolicy", policy);
            shelf.pull(&volume("csi-1", "IfNotPresent")).await.unwrap();
            shelf.asked();
            let host = shelf.upstream.host();
            let blocked = format!("[[registry]]\nlocation = \"{host}\"\nblocked = true");
            for (text, expected) in [
                (blocked.as_str(), "U is blocked in \"/registries.conf\""),
                ("registry = 1", "\"/registries.conf\", line 1: \"registry\" is not a table"),
            ] {
                fs::write(&conf, text).unwrap();
                let (code, message) =
                    shelf.pull(&volume("csi-2", "IfNotPresent")).await.unwrap_err();
                assert_eq!(code, Code::FailedPrecondition, "{message}");
                assert!(
                    message.ends_with(&format!("no registry was asked: {expected}")),
                    "{message}"
                );
                let outcome = shelf.pull(&volume("csi-3", "Never")).await;
                assert_eq!(outcome.unwrap_err().0, Code::NotFound);
            }
            fs::write(&conf, "").unwrap();
            for policy in ["IfNotPresent", "Never"] {
                shelf.pull(&volume("csi-4", policy)).await.unwrap();
            }
            assert_eq!(shelf.asked(), (vec![], vec![]));
        }
    });
}
