//! Kubelet publishes again after each of its restarts: what is published stays, and needs
//! nothing.

use super::*;
use crate::support::auth::{Auth, User};
use crate::support::{Fault, On};

#[test]
fn a_published_volume_needs_no_registry_no_secret_and_no_tag() {
    run("republish::a_published_volume_needs_no_registry_no_secret_and_no_tag", async {
        let user = User::new("agent", CANARY);
        let (registry, driver) =
            start(Options { auth: Auth::Basic, ..Options::basic([user]) }).await;
        let reference = registry.reference("team/code-review", "v1");
        // Even Always does not ask for what is mounted.
        let volume = driver.volume("csi-1", &reference).attribute("pullPolicy", "Always");
        driver.publish(&volume.clone().secret(&registry.host(), "agent", CANARY)).await.unwrap();
        let content = tree::contents(&volume.target);
        artifacts::skillimage(&registry, "team/code-review", "v1", &skills::docs_writer());
        registry.stop().await;
        registry.clear();

        driver.publish(&volume).await.unwrap();
        let root = driver.root.clone();
        driver.stop().await;
        let driver = Driver::start(&root, Setup::default()).await;
        driver.publish(&volume).await.unwrap();
        driver.publish(&volume).await.unwrap();
        assert_eq!(registry.lines(), [""; 0]);
        assert_eq!(tree::contents(&volume.target), content);
        assert_eq!(mounts(&root).len(), 1, "not mounted twice");
        driver.unpublish(&volume).await.unwrap();
        assert_clean(&root);
    });
}

#[test]
fn the_same_id_as_something_else_is_refused_and_stays_as_it_is() {
    run("republish::the_same_id_as_something_else_is_refused_and_stays_as_it_is", async {
        let (registry, driver) = start(Options::default()).await;
        let reference = registry.reference("team/code-review", "v1");
        let volume = driver.volume("csi-1", &reference);
        driver.publish(&volume).await.unwrap();
        let before = (mounts(&driver.root), registry.lines());
        let at = volume.target.display();
        let elsewhere = driver.volume("csi-2", &reference).target;
        let other = registry.reference("team/code-review", "v2");
        let moved = Volume { target: elsewhere.clone(), ..volume.clone() };
        assert_eq!(
            refused(driver.publish(&moved).await),
            (
                Code::FailedPrecondition,
                format!(
                    "volume csi-1 is already published at {at}, not at {}",
                    elsewhere.display()
                )
            )
        );
        let both = format!("{reference} {other}");
        for (changed, difference) in [
            (volume.clone().read_only(false), "with readOnly: true, not false".into()),
            (
                volume.clone().attribute("reference", &other),
                format!("with {reference}, not {other}"),
            ),
            (
                volume.clone().attribute("reference", &both),
                format!("with {reference}, not {reference}, {other}"),
            ),
        ] {
            assert_eq!(
                refused(driver.publish(&changed).await),
                (
                    Code::AlreadyExists,
                    format!(
                        "volume csi-1 is already published at {at} {difference}: delete the pod and make it anew"
                    )
                )
            );
        }
        assert!(!elsewhere.exists());
        assert_eq!((mounts(&driver.root), registry.lines()), before);
        assert_eq!(tree::listing(&volume.target), skills::code_review().listing());
        driver.unpublish(&volume).await.unwrap();
        assert_clean(&driver.root);
    });
}

#[test]
fn what_somebody_unmounted_is_mounted_again() {
    run("republish::what_somebody_unmounted_is_mounted_again", async {
        let (registry, driver) = start(Options::default()).await;
        let volume = driver.volume("csi-1", &registry.reference("team/code-review", "v1"));
        driver.publish(&volume).await.unwrap();
        nix::mount::umount(&volume.target).unwrap();
        registry.clear();
        driver.publish(&volume).await.unwrap();
        assert_eq!(tree::listing(&volume.target), skills::code_review().listing());
        assert_eq!(registry.lines(), [""; 0], "the tree and its grant are here");
        driver.unpublish(&volume).await.unwrap();
        assert_clean(&driver.root);
    });
}

/// What a tag meant when its artifact was broken is not what it means for ever.
#[test]
fn a_tag_is_asked_for_again_after_its_artifact_was_broken() {
    run("republish::a_tag_is_asked_for_again_after_its_artifact_was_broken", async {
        let registry = Registry::start(Options::default());
        let driver = Driver::start(&namespace::scratch(), Setup::default()).await;
        artifacts::skillimage(&registry, "team/skill", "v1", &skills::code_review());
        let layer = registry.layers("team/skill", "v1").remove(0);
        registry.fault(On::blob(&layer), Fault::status(404));
        let volume = driver.volume("csi-1", &registry.reference("team/skill", "v1"));
        let (code, message) = refused(driver.publish(&volume).await);
        assert_eq!(code, Code::NotFound, "{message}");
        artifacts::skillimage(&registry, "team/skill", "v1", &skills::docs_writer());
        registry.clear();
        driver.publish(&volume).await.unwrap();
        assert_eq!(tree::listing(&volume.target), skills::docs_writer().listing());
        assert_eq!(registry.lines().first().unwrap(), "GET /v2/team/skill/manifests/v1 200");
        driver.unpublish(&volume).await.unwrap();
        assert_clean(&driver.root);
    });
}
