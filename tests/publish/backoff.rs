//! A pull that failed is not asked for again at once, and nobody else suffers from that.

use std::time::Duration;

use super::*;
use crate::support::auth::User;
use crate::support::{Fault, On};

/// As long as the tests take, and longer.
fn patient() -> Setup {
    Setup { backoff: Duration::from_secs(300), ..Setup::default() }
}

async fn start(options: Options) -> (Registry, Driver) {
    let registry = Registry::start(options);
    artifacts::skillimage(&registry, "team/code-review", "v1", &skills::code_review());
    let driver = Driver::start(&namespace::scratch(), patient()).await;
    (registry, driver)
}

/// The error of a first try in the words of a second one.
fn put_off(reference: &str, first: (Code, String)) -> (Code, String) {
    let last = first.1.strip_prefix(&format!("cannot pull {reference}")).unwrap();
    (first.0, format!("Back-off pulling \"{reference}\"{last}"))
}

#[test]
fn a_failed_pull_is_put_off_without_a_request() {
    run("backoff::a_failed_pull_is_put_off_without_a_request", async {
        let (registry, driver) = start(Options::default()).await;
        artifacts::helm_chart(&registry, "team/chart", "v1");
        registry.fault(On::manifest("down"), Fault::status(503));
        for (repository, tag, code) in [
            ("team/code-review", "v9", Code::NotFound),
            ("team/code-review", "down", Code::Unavailable),
            ("team/chart", "v1", Code::FailedPrecondition),
        ] {
            let reference = registry.reference(repository, tag);
            let volume = driver.volume("csi-1", &reference);
            let first = refused(driver.publish(&volume).await);
            assert_eq!(first.0, code);
            registry.clear();
            let again = put_off(&reference, first);
            // Another pod's is the same pull.
            for id in ["csi-1", "csi-2"] {
                let volume = driver.volume(id, &reference);
                assert_eq!(refused(driver.publish(&volume).await), again, "{id}");
            }
            assert_eq!(registry.lines(), [""; 0], "{reference}");
        }
        assert_clean(&driver.root);
        let right = driver.volume("csi-3", &registry.reference("team/code-review", "v1"));
        driver.publish(&right).await.unwrap();
    });
}

#[test]
fn another_login_is_tried_at_once() {
    run("backoff::another_login_is_tried_at_once", async {
        let (registry, driver) = start(Options::basic([User::new("agent", CANARY)])).await;
        let reference = registry.reference("team/code-review", "v1");
        let host = registry.host();
        let volume = driver.volume("csi-1", &reference);
        let wrong = volume.clone().secret(&host, "agent", "CANARY-not-it");
        let other = volume.clone().secret("other.example", "agent", CANARY);
        for volume in [&volume, &wrong, &other] {
            let first = refused(driver.publish(volume).await);
            assert_eq!(first.0, Code::Unauthenticated);
            let again = refused(driver.publish(volume).await);
            assert_eq!(again, put_off(&reference, first), "the note on the secret is kept");
        }
        // The same pod with the corrected secret.
        driver.publish(&volume.secret(&host, "agent", CANARY)).await.unwrap();
    });
}

#[test]
fn corrected_attributes_and_what_is_stored_do_not_wait() {
    run("backoff::corrected_attributes_and_what_is_stored_do_not_wait", async {
        let (registry, driver) = start(Options::default()).await;
        let member = registry.reference("team/code-review", "v1");
        let members = [("code-review", member.as_str())];
        artifacts::skillimage_collection(&registry, "team/all", "v1", &members);
        let collection = driver.volume("csi-1", &registry.reference("team/all", "v1"));
        let typo = collection.clone().attribute("skills", "code-revue");
        let (code, _) = refused(driver.publish(&typo).await);
        assert_eq!(code, Code::InvalidArgument);
        let (_, message) = refused(driver.publish(&typo).await);
        assert!(message.starts_with("Back-off pulling "), "{message}");
        driver.publish(&collection.attribute("skills", "code-review")).await.unwrap();

        let reference = registry.reference("team/code-review", "v1");
        driver.publish(&driver.volume("csi-2", &reference)).await.unwrap();
        registry.fault(On::manifest("v1"), Fault::status(503));
        let always = driver.volume("csi-3", &reference).attribute("pullPolicy", "Always");
        for _ in 0..2 {
            let (code, _) = refused(driver.publish(&always).await);
            assert_eq!(code, Code::Unavailable);
        }
        driver.publish(&driver.volume("csi-4", &reference)).await.unwrap();
    });
}

#[test]
fn when_the_pause_is_over_it_is_tried_again() {
    run("backoff::when_the_pause_is_over_it_is_tried_again", async {
        let registry = Registry::start(Options::default());
        let setup = Setup { backoff: Duration::from_millis(1), ..Setup::default() };
        let driver = Driver::start(&namespace::scratch(), setup).await;
        let volume = driver.volume("csi-1", &registry.reference("team/code-review", "v1"));
        refused(driver.publish(&volume).await);
        artifacts::skillimage(&registry, "team/code-review", "v1", &skills::code_review());
        // As kubelet does, only sooner.
        while let Err(status) = driver.publish(&volume).await {
            assert!(status.message().starts_with("Back-off pulling "), "{status}");
        }
        assert_eq!(tree::listing(&volume.target), skills::code_review().listing());
    });
}
