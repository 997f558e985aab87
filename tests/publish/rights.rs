//! What is shared is content, never the right to read it.

use super::*;
use crate::support::auth::User;
use crate::support::{Fault, Gate, On};

/// A manifest only names its layers. Whoever may write one somewhere must not get at the stored
/// tree of another repository by naming its layers there.
#[test]
fn a_repository_without_the_bytes_gets_no_stored_tree() {
    run("rights::a_repository_without_the_bytes_gets_no_stored_tree", async {
        let (private, driver) = start(Options::basic([User::new("agent", CANARY)])).await;
        let thief = Registry::start(Options::default());
        artifacts::skillimage(&thief, "team/code-review", "v1", &skills::code_review());
        let layer = &thief.layers("team/code-review", "v1")[0];
        assert_eq!(private.layers("team/code-review", "v1")[0], *layer);
        thief.fault(On::blob(layer), Fault::status(404));

        let reference = private.reference("team/code-review", "v1");
        let owner = driver.volume("owner", &reference).secret(&private.host(), "agent", CANARY);
        driver.publish(&owner).await.unwrap();
        let reference = thief.reference("team/code-review", "v1");
        for policy in ["Always", "IfNotPresent"] {
            let volume = driver.volume("thief", &reference).attribute("pullPolicy", policy);
            let (code, message) = refused(driver.publish(&volume).await);
            assert_eq!(code, Code::NotFound, "{message}");
            assert!(!volume.target.exists());
        }
        // Nor does another repository of the same registry, for somebody who may read that one.
        let reference = thief.reference("team/code-review", "v1");
        let never = driver.volume("never", &reference).attribute("pullPolicy", "Never");
        assert_eq!(refused(driver.publish(&never).await).0, Code::NotFound);

        // One that delivers the bytes shares the tree, and is believed the next time.
        thief.clear_faults();
        thief.clear();
        let second = driver.volume("second", &reference);
        let third = driver.volume("third", &reference);
        driver.publish(&second).await.unwrap();
        driver.publish(&third).await.unwrap();
        assert_eq!(thief.count("GET", &format!("/blobs/{layer}")), 1);
        assert_eq!(stored(&driver.root).len(), 1);
        for volume in [&owner, &second, &third] {
            driver.unpublish(volume).await.unwrap();
        }
        assert_clean(&driver.root);
    });
}

/// A public collection of private skills: who joins a pull brings the rights of its own.
#[test]
fn a_member_elsewhere_is_shared_only_with_who_may_read_it() {
    run("rights::a_member_elsewhere_is_shared_only_with_who_may_read_it", async {
        let (private, driver) = start(Options::basic([User::new("agent", CANARY)])).await;
        let public = Registry::start(Options::default());
        let member = private.reference("team/code-review", "v1");
        artifacts::skillimage_collection(&public, "all", "v1", &[("code-review", &member)]);
        let layer = &private.layers("team/code-review", "v1")[0];
        let gate = Gate::held();
        private.fault(On::blob(layer), Fault::Stall(gate.clone()));

        let reference = public.reference("all", "v1");
        let owner = driver.volume("owner", &reference).secret(&private.host(), "agent", CANARY);
        let client = driver.client();
        let pulling = tokio::spawn({
            let owner = owner.clone();
            async move { client.publish(&owner).await }
        });
        gate.wait_for_waiting(1).await;
        let without = driver.volume("without", &reference);
        let wrong = without.clone().secret(&private.host(), "agent", "CANARY-not-it");
        for volume in [&without, &wrong] {
            let (code, message) = refused(driver.publish(volume).await);
            assert_eq!(code, Code::Unauthenticated, "{message}");
            assert!(!volume.target.exists());
        }
        gate.release();
        pulling.await.unwrap().unwrap();
        assert_eq!(refused(driver.publish(&without).await).0, Code::Unauthenticated);
        driver.unpublish(&owner).await.unwrap();
        assert_clean(&driver.root);
    });
}

/// The tag moved since the node pulled it: to a caller without the right, the refusal must not
/// tell what the node has.
#[test]
fn a_refusal_tells_nothing_of_what_the_node_knows() {
    run("rights::a_refusal_tells_nothing_of_what_the_node_knows", async {
        let (registry, driver) = start(Options::basic([User::new("agent", CANARY)])).await;
        let reference = registry.reference("team/code-review", "v1");
        let stranger = driver
            .volume("stranger", &reference)
            .attribute("pullPolicy", "IfNotPresent")
            .secret(&registry.host(), "agent", "CANARY-not-it");
        let before = refused(driver.publish(&stranger).await);
        let owner = driver.volume("owner", &reference).secret(&registry.host(), "agent", CANARY);
        driver.publish(&owner).await.unwrap();
        assert_eq!(refused(driver.publish(&stranger).await), before);
        artifacts::skillimage(&registry, "team/code-review", "v1", &skills::docs_writer());
        assert_eq!(refused(driver.publish(&stranger).await), before);
        driver.unpublish(&owner).await.unwrap();
        assert_clean(&driver.root);
    });
}
