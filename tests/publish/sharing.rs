//! One pull and one tree for all pods with the same right, and nothing for those without it.

use futures_util::future::join_all;

use super::*;
use crate::support::auth::User;
use crate::support::{Fault, Gate, On};

#[test]
fn a_hundred_pods_share_one_pull_and_one_tree() {
    run("sharing::a_hundred_pods_share_one_pull_and_one_tree", async {
        let (registry, driver) = start(Options::default()).await;
        let reference = registry.reference("team/code-review", "v1");
        let volumes: Vec<_> =
            (0..100).map(|pod| driver.volume(&format!("csi-{pod}"), &reference)).collect();
        // The download waits until all have been asked for.
        let layer = &registry.layers("team/code-review", "v1")[0];
        let gate = Gate::held();
        registry.fault(On::blob(layer), Fault::Stall(gate.clone()));
        let calls = join_all(volumes.iter().map(|volume| driver.publish(volume)));
        let release = async {
            gate.wait_for_waiting(1).await;
            gate.release();
        };
        let (outcomes, ()) = tokio::join!(calls, release);
        assert_eq!(outcomes.into_iter().filter_map(Result::err).count(), 0);
        assert_eq!(registry.count("GET", &format!("/blobs/{layer}")), 1);
        assert_eq!(registry.count("GET", "/manifests/"), 1);
        assert_eq!(stored(&driver.root).len(), 1);
        assert_eq!(mounts(&driver.root).len(), 100);
        assert_eq!(names(&driver.root.join("state/volumes")).len(), 100);
        let expected = tree::contents(&volumes[0].target);
        for volume in &volumes {
            assert_eq!(tree::contents(&volume.target), expected, "{}", volume.id);
        }
        let outcomes = join_all(volumes.iter().map(|volume| driver.unpublish(volume))).await;
        assert_eq!(outcomes.into_iter().filter_map(Result::err).count(), 0);
        assert_clean(&driver.root);
    });
}

#[test]
fn a_pod_with_a_wrong_secret_is_refused_while_another_pulls() {
    run("sharing::a_pod_with_a_wrong_secret_is_refused_while_another_pulls", async {
        let (registry, driver) = start(Options::basic([User::new("agent", CANARY)])).await;
        let layer = &registry.layers("team/code-review", "v1")[0];
        let gate = Gate::held();
        registry.fault(On::blob(layer), Fault::Stall(gate.clone()));
        let reference = registry.reference("team/code-review", "v1");
        let host = registry.host();
        let right = driver.volume("right", &reference).secret(&host, "agent", CANARY);
        let wrong = driver.volume("wrong", &reference).secret(&host, "agent", "CANARY-not-it");
        let client = driver.client();
        let pulling = tokio::spawn({
            let right = right.clone();
            async move { client.publish(&right).await }
        });
        gate.wait_for_waiting(1).await;
        let (code, _) = refused(driver.publish(&wrong).await);
        assert_eq!(code, Code::Unauthenticated);
        assert!(!wrong.target.exists());
        gate.release();
        pulling.await.unwrap().unwrap();
        assert_eq!(registry.count("GET", &format!("/blobs/{layer}")), 1);
        driver.unpublish(&right).await.unwrap();
        assert_clean(&driver.root);
    });
}

/// The refusal of a pod without the right must not tell whether the node has the skill.
#[test]
fn a_cached_private_skill_is_hidden_from_pods_without_its_secret() {
    run("sharing::a_cached_private_skill_is_hidden_from_pods_without_its_secret", async {
        let (registry, driver) = start(Options::basic([User::new("agent", CANARY)])).await;
        let reference = registry.reference("team/code-review", "v1");
        let host = registry.host();
        let try_all = async || {
            let mut answers = vec![];
            for policy in ["Always", "IfNotPresent", "Never"] {
                let volume = driver.volume("csi-2", &reference).attribute("pullPolicy", policy);
                let other = volume.clone().secret("other.example", "agent", CANARY);
                let wrong = volume.clone().secret(&host, "agent", "CANARY-not-it");
                for volume in [volume, other, wrong] {
                    answers.push(refused(driver.publish(&volume).await));
                    assert!(!volume.target.exists());
                }
            }
            answers
        };
        let before = try_all().await;
        let right = driver.volume("csi-1", &reference).secret(&host, "agent", CANARY);
        driver.publish(&right).await.unwrap();
        assert_eq!(try_all().await, before, "the answers are those of a node without the skill");
        for (index, code) in [Code::Unauthenticated, Code::Unauthenticated, Code::NotFound]
            .into_iter()
            .flat_map(|code| [code; 3])
            .enumerate()
        {
            assert_eq!(before[index].0, code, "{index}");
        }
        let layer = &registry.layers("team/code-review", "v1")[0];
        assert_eq!(registry.count("GET", &format!("/blobs/{layer}")), 1);

        // With the secret it is served from the store, without a request.
        registry.clear();
        for policy in ["IfNotPresent", "Never"] {
            let volume = Volume { id: policy.into(), ..driver.volume(policy, &reference) };
            let volume = volume.attribute("pullPolicy", policy).secret(&host, "agent", CANARY);
            driver.publish(&volume).await.unwrap();
        }
        assert_eq!(registry.lines(), [""; 0]);
    });
}
