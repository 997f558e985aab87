//! Who is served what is stored, and what that costs the registry: kubelet's four policies, each
//! with four kinds of callers.

use skillmount::pull::verification::{Verification, VerificationPolicy};

use super::*;
use crate::support::auth::User;

/// What a caller of a stored skill got, and what went over the wire for that.
#[derive(Debug, PartialEq)]
struct Outcome {
    code: Code,
    requests: Vec<String>,
}

fn outcome(code: Code, requests: &[&str]) -> Outcome {
    Outcome { code, requests: requests.iter().map(|&line| line.to_owned()).collect() }
}

/// A registry with a private skill that the driver has pulled as `agent`.
struct Stored {
    registry: Registry,
    driver: Driver,
    digest: String,
    config: String,
}

impl Stored {
    async fn new(root: &Path, name: &str, policy: VerificationPolicy, allow: &[&str]) -> Self {
        let users = [
            User::new("agent", CANARY),
            // The same user after the password was rotated; the old one still works.
            User::new("agent", "CANARY-rotated"),
            User::reader("guest", CANARY, &["else"]),
        ];
        let registry = Registry::start(Options::basic(users));
        let digest =
            artifacts::skillimage(&registry, "team/code-review", "v1", &skills::code_review());
        let host = registry.host();
        let allowed = allow.iter().map(|pattern| format!("{host}/{pattern}").parse().unwrap());
        let verification = Verification { policy, allowed: allowed.collect() };
        let root = root.join(name);
        fs::create_dir(&root).unwrap();
        let driver = Driver::start(&root, Setup { verification, ..Setup::default() }).await;
        let volume = driver.volume("csi-1", &registry.reference("team/code-review", "v1"));
        driver.publish(&volume.secret(&host, "agent", CANARY)).await.unwrap();
        let manifest = registry.manifest("team/code-review", "v1").unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        let config = manifest["config"]["digest"].as_str().unwrap().to_owned();
        Self { registry, driver, digest: digest.to_string(), config }
    }

    /// Publishes for a caller, with the policy `IfNotPresent` of a reference with a tag.
    async fn ask(&self, caller: &str, policy: &str) -> Outcome {
        let host = self.registry.host();
        let volume = self.volume(caller, policy);
        let volume = match caller {
            "same" => volume.secret(&host, "agent", CANARY),
            "rotated" => volume.secret(&host, "agent", "CANARY-rotated"),
            "other" => volume.secret(&host, "guest", CANARY),
            _ => volume,
        };
        self.registry.clear();
        let code = match self.driver.publish(&volume).await {
            Ok(()) => Code::Ok,
            Err(status) => status.code(),
        };
        if code == Code::Ok {
            assert_eq!(tree::listing(&volume.target), skills::code_review().listing());
        }
        let short = |line: String| {
            let line = line.replace(&self.digest, "DIGEST").replace(&self.config, "CONFIG");
            line.replace("/v2/team/code-review/manifests/", "")
                .replace("/v2/team/code-review/blobs/", "")
        };
        Outcome { code, requests: self.registry.lines().into_iter().map(short).collect() }
    }

    async fn unpublish(&self, caller: &str, policy: &str) {
        self.driver.unpublish(&self.volume(caller, policy)).await.unwrap();
    }

    fn volume(&self, caller: &str, policy: &str) -> Volume {
        let reference = self.registry.reference("team/code-review", "v1");
        let id = format!("csi-{caller}-{policy}");
        self.driver.volume(&id, &reference).attribute("pullPolicy", policy)
    }
}

#[test]
fn four_policies_and_four_callers() {
    run("verification::four_policies_and_four_callers", async {
        use VerificationPolicy::*;
        let served = || outcome(Code::Ok, &[]);
        // Each is asked for what is stored, so that nothing moves; a refusal may be for that
        // content only, so the tag is asked for as well.
        let verified = || {
            [
                ("same", served()),
                ("no", outcome(Code::Unauthenticated, &["GET DIGEST 401", "GET v1 401"])),
                (
                    "other",
                    outcome(
                        Code::PermissionDenied,
                        &["GET DIGEST 401", "GET DIGEST 403", "GET v1 401", "GET v1 403"],
                    ),
                ),
                // A driver sees a Secret's data, not its name: unlike kubelet it cannot tell
                // that it is the same one.
                (
                    "rotated",
                    outcome(Code::Ok, &["GET DIGEST 401", "GET DIGEST 200", "GET CONFIG 200"]),
                ),
            ]
        };
        let trusted = || ["same", "no", "other", "rotated"].map(|caller| (caller, served()));
        let root = namespace::scratch();
        for (number, (policy, allow, expected)) in [
            (AlwaysVerify, &[][..], verified()),
            (NeverVerify, &[], trusted()),
            (NeverVerifyPreloadedImages, &[], verified()),
            (NeverVerifyAllowlistedImages, &["else", "team/*"], trusted()),
            (NeverVerifyAllowlistedImages, &["else", "team/other"], verified()),
        ]
        .into_iter()
        .enumerate()
        {
            let stored = Stored::new(&root, &number.to_string(), policy, allow).await;
            for (caller, expected) in expected {
                // Under `Never` it is there for those who would not have to ask, and for nobody
                // else.
                let never = match expected.requests.is_empty() {
                    true => Code::Ok,
                    false => Code::NotFound,
                };
                let found = stored.ask(caller, "Never").await;
                assert_eq!(found, outcome(never, &[]), "{policy:?} {caller}, Never");
                let found = stored.ask(caller, "IfNotPresent").await;
                assert_eq!(found, expected, "{policy:?} {allow:?} {caller}");
                // Who may has been remembered.
                if expected.code == Code::Ok {
                    stored.unpublish(caller, "Never").await;
                    assert_eq!(stored.ask(caller, "Never").await, served(), "{policy:?} {caller}");
                }
            }
            stored.driver.stop().await;
        }
    });
}

#[test]
fn always_asks_the_registry_under_every_policy() {
    run("verification::always_asks_the_registry_under_every_policy", async {
        let root = namespace::scratch();
        let stored = Stored::new(&root, "never", VerificationPolicy::NeverVerify, &[]).await;
        let found = stored.ask("no", "Always").await;
        assert_eq!(found, outcome(Code::Unauthenticated, &["GET v1 401"]));
        // Who has read the config is not sent for it again.
        let found = stored.ask("same", "Always").await;
        assert_eq!(found, outcome(Code::Ok, &["GET v1 200"]));
        let found = stored.ask("rotated", "Always").await;
        let requests = ["GET v1 401", "GET v1 200", "GET CONFIG 200"];
        assert_eq!(found, outcome(Code::Ok, &requests));
    });
}

/// Not to verify a login is not to mix up repositories.
#[test]
fn what_another_repository_delivered_is_not_served() {
    run("verification::what_another_repository_delivered_is_not_served", async {
        let root = namespace::scratch();
        let stored = Stored::new(&root, "mixed", VerificationPolicy::NeverVerify, &[]).await;
        let reference = format!("{}/team/other@{}", stored.registry.host(), stored.digest);
        let volume = stored.driver.volume("csi-2", &reference);
        let (code, _) = refused(stored.driver.publish(&volume.clone()).await);
        assert_eq!(code, Code::Unauthenticated);
        let (code, _) =
            refused(stored.driver.publish(&volume.attribute("pullPolicy", "Never")).await);
        assert_eq!(code, Code::NotFound);
    });
}
