//! Credential providers: programs of the administrator that make logins, after all others.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::*;
use crate::support::auth::{Bearer, User};

mod accounts;
pub(crate) mod node;
mod plugins;

pub(crate) use plugins::Plugins;
use plugins::{V1, answer};

/// The password that a provider gives.
const GIVEN: &str = "CANARY-given";

/// A registry that knows some users, with skills in `team/a` and `team/b`.
fn shelf(users: &[(&str, &str)]) -> Registry {
    let users: Vec<_> = users.iter().map(|(name, password)| User::new(name, password)).collect();
    filled(Options::basic(users))
}

fn filled(options: Options) -> Registry {
    let registry = Registry::start(options);
    for repository in ["team/a", "team/b"] {
        artifacts::skillimage(&registry, repository, "v1", &skills::code_review());
    }
    registry
}

/// Who showed a password since the last call, in order, each once in a row.
fn shown(registry: &Registry) -> Vec<String> {
    let headers = registry.requests().into_iter().filter_map(|r| r.authorization);
    let mut users: Vec<_> = headers
        .filter_map(|header| {
            let pair = STANDARD.decode(header.strip_prefix("Basic ")?).unwrap();
            Some(String::from_utf8(pair).unwrap().split(':').next().unwrap().to_owned())
        })
        .collect();
    users.dedup();
    registry.clear();
    users
}

fn question(image: &str) -> Value {
    json!({ "kind": "CredentialProviderRequest", "apiVersion": V1, "image": image })
}

#[test]
fn a_providers_login_is_shown_to_basic_and_bearer_registries() {
    run("providers::a_providers_login_is_shown_to_basic_and_bearer_registries", async {
        let user = User::new("robot", GIVEN);
        let base = namespace::scratch();
        for (name, options) in [
            ("basic", Options::basic([user.clone()])),
            ("bearer", Options::bearer([user.clone()], Bearer::default())),
        ] {
            let root = base.join(name);
            fs::create_dir(&root).unwrap();
            let registry = filled(options);
            let host = registry.host();
            let mut plugins = Plugins::new(&root);
            plugins.add("cloud", std::slice::from_ref(&host));
            plugins.answer("cloud", &answer("Registry", &[(&host, "robot", GIVEN)]));
            let driver = plugins.driver().await;
            let volume = driver.volume("csi-1", &registry.reference("team/a", "v1"));
            driver.publish(&volume).await.unwrap();
            assert_eq!(shown(&registry), ["robot"], "{name}");
            assert_eq!(plugins.asked("cloud"), [question(&format!("{host}/team/a"))]);
            // For the registry, so for another of its repositories too.
            let volume = driver.volume("csi-2", &registry.reference("team/b", "v1"));
            driver.publish(&volume).await.unwrap();
            assert_eq!(shown(&registry), ["robot"], "{name}");
            assert_eq!(plugins.asked("cloud"), [Value::Null; 0]);
            driver.stop().await;
        }
    });
}

/// How often a provider is asked for volumes of `team/a`, `team/a`, `team/b`, and `team/a` of
/// another registry.
#[test]
fn an_answer_is_kept_for_what_and_as_long_as_it_says() {
    run("providers::an_answer_is_kept_for_what_and_as_long_as_it_says", async {
        let base = namespace::scratch();
        let registry = shelf(&[("robot", GIVEN)]);
        let hosts = [registry.host(), registry.second_host()];
        let logins = [(&*hosts[0], "robot", GIVEN), (&*hosts[1], "robot", GIVEN)];
        for (number, (key_type, duration, expected)) in [
            ("Image", None, [1, 0, 1, 1]),
            ("Registry", None, [1, 0, 0, 1]),
            ("Global", None, [1, 0, 0, 0]),
            ("Registry", Some("5m"), [1, 0, 0, 1]),
            // Over before the next pod comes.
            ("Global", Some("1ns"), [1, 1, 1, 1]),
            ("Global", Some("0s"), [1, 1, 1, 1]),
            ("Global", Some("-5m"), [1, 1, 1, 1]),
        ]
        .into_iter()
        .enumerate()
        {
            let root = base.join(number.to_string());
            fs::create_dir(&root).unwrap();
            let mut plugins = Plugins::new(&root);
            plugins.add("cloud", &hosts);
            let mut kept = answer(key_type, &logins);
            kept["cacheDuration"] = json!(duration);
            plugins.answer("cloud", &kept);
            let driver = plugins.driver().await;
            let places = [(0, "team/a"), (0, "team/a"), (0, "team/b"), (1, "team/a")]
                .into_iter()
                .enumerate();
            for (index, (host, repository)) in places {
                let reference = format!("{}/{repository}:v1", hosts[host]);
                let volume = driver.volume(&format!("csi-{index}"), &reference);
                driver.publish(&volume.attribute("pullPolicy", "Always")).await.unwrap();
                let asked = plugins.asked("cloud").len();
                assert_eq!(asked, expected[index], "{key_type} {duration:?} {index}");
            }
            driver.stop().await;
        }
    });
}

/// Ten pods that start at once ask once.
#[test]
fn what_many_want_at_once_is_asked_once() {
    run("providers::what_many_want_at_once_is_asked_once", async {
        let registry = shelf(&[("robot", GIVEN)]);
        let host = registry.host();
        let mut plugins = Plugins::new(&namespace::scratch());
        plugins.add("cloud", std::slice::from_ref(&host));
        plugins.answer("cloud", &answer("Registry", &[(&host, "robot", GIVEN)]));
        let driver = plugins.driver().await;
        let calls = (0..6).map(|number| {
            let repository = if number % 2 == 0 { "team/a" } else { "team/b" };
            let volume =
                driver.volume(&format!("csi-{number}"), &registry.reference(repository, "v1"));
            let (client, volume) = (driver.client(), volume.attribute("pullPolicy", "Always"));
            tokio::spawn(async move { client.publish(&volume).await })
        });
        for call in calls.collect::<Vec<_>>() {
            call.await.unwrap().unwrap();
        }
        assert_eq!(plugins.asked("cloud").len(), 1);
    });
}

/// What a provider does wrong, and what is said of it.
#[test]
fn a_failure_is_told_and_may_pass() {
    run("providers::a_failure_is_told_and_may_pass", async {
        let registry = shelf(&[("robot", GIVEN)]);
        let host = registry.host();
        let mut plugins = Plugins::new(&namespace::scratch());
        plugins.add("cloud", std::slice::from_ref(&host));
        let mut config = plugins.config();
        config.timeout = Duration::from_millis(300);
        let setup = Setup { providers: Some(config), ..Setup::default() };
        let driver = Driver::start(&plugins.root, setup).await;
        let volume = driver.volume("csi-1", &registry.reference("team/a", "v1"));
        let mut beta = answer("Image", &[(&host, "robot", GIVEN)]);
        beta["apiVersion"] = json!("credentialprovider.kubelet.k8s.io/v1beta1");
        let beta = format!("echo '{beta}'");
        let none = answer("None", &[(&host, "robot", GIVEN)]);
        for (script, expected) in [
            ("echo CANARY >&2; exit 1", "it ended with exit status 1"),
            ("kill -15 $$", "it was ended by signal 15"),
            ("echo CANARY", "its answer is not a CredentialProviderResponse in JSON (line 1, "),
            (&beta, "its answer is not a CredentialProviderResponse of apiVersion credential"),
            (&format!("echo '{none}'"), "the cacheKeyType of its answer is not one of Image, "),
            ("cat /dev/zero", "it wrote more than 1048576 bytes"),
            ("sleep 600", "it did not end within 0.3 s"),
        ] {
            plugins.script("cloud", script);
            let (code, message) = refused(driver.publish(&volume).await);
            assert_eq!(code, Code::Unavailable, "{message}");
            let told = format!("credential provider \"cloud\": {expected}");
            assert!(message.contains(&told), "{script}: {message}");
            assert!(message.contains("anonymous: 401"), "{message}");
            let consulted = format!("(logins: credential provider \"cloud\": {host})");
            assert!(message.contains(&consulted), "{message}");
            assert!(!message.contains("CANARY"), "{message}");
            assert_eq!(registry.lines(), ["GET /v2/team/a/manifests/v1 401"]);
            registry.clear();
            assert_eq!(plugins.asked("cloud").len(), 1, "{script}");
        }
        // It has nothing for this image: that is an answer, and the registry's word is final.
        for nothing in [answer("Image", &[]), answer("Image", &[("other.example", "robot", GIVEN)])]
        {
            plugins.answer("cloud", &nothing);
            plugins.script("cloud", &format!("echo '{nothing}'"));
            let (code, message) = refused(driver.publish(&volume).await);
            assert_eq!(code, Code::Unauthenticated, "{message}");
            assert_eq!(shown(&registry), [""; 0]);
        }
        drop(plugins.asked("cloud"));
        // The last answer is kept for this image, and another one is asked for.
        let good = answer("Image", &[(&host, "robot", GIVEN)]);
        plugins.script("cloud", &format!("echo '{good}'"));
        let other = driver.volume("csi-2", &registry.reference("team/b", "v1"));
        driver.publish(&other).await.unwrap();
        assert_eq!(shown(&registry), ["robot"]);
    });
}

/// A provider that fails is in nobody's way who needs no login, or has one.
#[test]
fn a_failing_provider_does_not_stop_others() {
    run("providers::a_failing_provider_does_not_stop_others", async {
        let users = [User::new("robot", GIVEN), User::new("agent", CANARY)];
        let options = Options { users: users.to_vec(), ..Options::default() };
        let registry = filled(options.rule("team/b", support::auth::Auth::Basic));
        let host = registry.host();
        let mut plugins = Plugins::new(&namespace::scratch());
        for name in ["broken", "second", "third"] {
            plugins.add(name, std::slice::from_ref(&host));
        }
        plugins.script("broken", "exit 1");
        plugins.answer("second", &answer("Image", &[(&host, "stranger", "CANARY-2")]));
        plugins.answer(
            "third",
            &answer(
                "Image",
                &[(&host, "robot", GIVEN), (&format!("{host}/team/b"), "no", "CANARY-3")],
            ),
        );
        let driver = plugins.driver().await;
        // As in kubelet: the longer key of any provider first, then in the providers' order.
        let private = driver.volume("csi-1", &registry.reference("team/b", "v1"));
        driver.publish(&private).await.unwrap();
        assert_eq!(shown(&registry), ["no", "stranger", "robot"]);
        for name in ["broken", "second", "third"] {
            assert_eq!(plugins.asked(name).len(), 1, "{name}");
        }
        // Public: what the anonymous request gets is everybody's.
        let public = driver.volume("csi-2", &registry.reference("team/a", "v1"));
        driver.publish(&public).await.unwrap();
        assert_eq!(shown(&registry), [""; 0]);
        drop(["broken", "second", "third"].map(|name| plugins.asked(name)));
        // A login of the volume's own is tried first, and nothing is asked that is not needed.
        let own = driver.volume("csi-3", &registry.reference("team/b", "v1"));
        let own = own.attribute("pullPolicy", "Always").secret(&host, "agent", CANARY);
        driver.publish(&own).await.unwrap();
        assert_eq!(shown(&registry), ["agent"]);
        for name in ["broken", "second", "third"] {
            assert_eq!(plugins.asked(name).len(), 0, "{name}");
        }
        // One that is refused is not the last word.
        let wrong = driver.volume("csi-4", &registry.reference("team/b", "v1"));
        let wrong = wrong.attribute("pullPolicy", "Always").secret(&host, "agent", "CANARY-not");
        driver.publish(&wrong).await.unwrap();
        assert_eq!(shown(&registry), ["agent", "no", "stranger", "robot"]);
    });
}

/// A login is for the images that both the configuration and the answer name.
#[test]
fn a_login_goes_nowhere_else() {
    run("providers::a_login_goes_nowhere_else", async {
        let registry = shelf(&[("robot", GIVEN)]);
        let [host, other] = [registry.host(), registry.second_host()];
        let mut plugins = Plugins::new(&namespace::scratch());
        plugins.add("cloud", &[format!("{host}/team/a")]);
        plugins.answer(
            "cloud",
            &answer("Global", &[(&host, "robot", GIVEN), (&other, "robot", GIVEN)]),
        );
        let driver = plugins.driver().await;
        let volume = |id, reference: String| driver.volume(id, &reference);
        driver.publish(&volume("csi-1", format!("{host}/team/a:v1"))).await.unwrap();
        assert_eq!(shown(&registry), ["robot"]);
        assert_eq!(plugins.asked("cloud").len(), 1);
        // Kept for all images, but not asked for these.
        for reference in [format!("{host}/team/b:v1"), format!("{other}/team/a:v1")] {
            let (code, _) = refused(driver.publish(&volume("csi-2", reference.clone())).await);
            assert_eq!(code, Code::Unauthenticated, "{reference}");
            assert_eq!(shown(&registry), [""; 0], "{reference}");
        }
        assert_eq!(plugins.asked("cloud").len(), 0);
    });
}

/// What one of its logins was granted, the next has: they change every few hours.
#[test]
fn the_grant_is_the_providers_and_outlives_its_logins() {
    run("providers::the_grant_is_the_providers_and_outlives_its_logins", async {
        let registry = shelf(&[("robot", GIVEN)]);
        let host = registry.host();
        let mut plugins = Plugins::new(&namespace::scratch());
        plugins.add("cloud", std::slice::from_ref(&host));
        let mut first = answer("Image", &[(&host, "robot", GIVEN)]);
        first["cacheDuration"] = json!("0s");
        plugins.answer("cloud", &first);
        let driver = plugins.driver().await;
        let reference = registry.reference("team/a", "v1");
        driver.publish(&driver.volume("csi-1", &reference)).await.unwrap();
        drop((shown(&registry), plugins.asked("cloud")));
        plugins.script("cloud", "exit 1");
        for (id, policy) in [("csi-2", "IfNotPresent"), ("csi-3", "Never")] {
            let volume = driver.volume(id, &reference).attribute("pullPolicy", policy);
            driver.publish(&volume.service_account("another")).await.unwrap();
            assert_eq!(registry.lines(), [""; 0], "{policy}");
            assert_eq!(plugins.asked("cloud").len(), 0, "{policy}");
        }
        // Another repository of the registry is another matter.
        let other = driver.volume("csi-4", &registry.reference("team/b", "v1"));
        let (code, _) = refused(driver.publish(&other).await);
        assert_eq!(code, Code::Unavailable);
    });
}
