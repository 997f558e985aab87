//! Pods of one namespace whose registry sends slowly do not keep those of another waiting.

use std::time::Duration;

use tokio::task::JoinSet;

use super::*;
use crate::support::{Fault, Gate, On};

const FLOOD: u32 = 50;

/// So many of the eight turns one namespace has.
const MOST: u32 = 6;

fn of(namespace: &str, volume: Volume) -> Volume {
    volume.attribute("csi.storage.k8s.io/pod.namespace", namespace)
}

/// A registry with fifty skills that it sends byte by byte, as the gate lets it, and one that it
/// sends at once.
fn shelf() -> (Registry, Gate) {
    let registry = Registry::start(Options::default());
    let slow = skills::docs_writer();
    for number in 0..FLOOD {
        artifacts::skillimage(&registry, &format!("slow/{number}"), "v1", &slow);
    }
    artifacts::skillimage(&registry, "team/code-review", "v1", &skills::code_review());
    let gate = Gate::held();
    let layer = &registry.layers("slow/0", "v1")[0];
    registry.fault(On::blob(layer), Fault::Slow { chunk: 1, gate: gate.clone() });
    (registry, gate)
}

/// Publishes all slow skills in namespace `greedy`, and returns when as many as may be are pulled.
async fn flood(registry: &Registry, driver: &Driver, gate: &Gate) -> JoinSet<Result<(), Status>> {
    let mut calls = JoinSet::new();
    for number in 0..FLOOD {
        let reference = registry.reference(&format!("slow/{number}"), "v1");
        let volume = of("greedy", driver.volume(&format!("csi-greedy-{number}"), &reference));
        let client = driver.client();
        calls.spawn(async move { client.publish(&volume).await });
    }
    gate.wait_for_waiting(MOST).await;
    calls
}

#[test]
fn another_namespace_does_not_wait_for_a_slow_registry() {
    run("turns::another_namespace_does_not_wait_for_a_slow_registry", async {
        let (registry, gate) = shelf();
        let driver = Driver::start(&namespace::scratch(), Setup::default()).await;
        let mut calls = flood(&registry, &driver, &gate).await;
        // A byte for some of them: that they are not silent is no help.
        gate.admit(3);
        let reference = registry.reference("team/code-review", "v1");
        let volume = of("modest", driver.volume("csi-modest", &reference));
        driver.publish(&volume).await.unwrap();
        assert_eq!(tree::listing(&volume.target), skills::code_review().listing());
        assert!(calls.try_join_next().is_none(), "none of the others has ended");
        let asked =
            (0..FLOOD).filter(|number| registry.count("GET", &format!("/slow/{number}/")) > 0);
        assert_eq!(asked.count(), MOST as usize, "the others have not begun");
        // What is stored needs no turn at all, in whatever namespace.
        let again = of("greedy", driver.volume("csi-stored", &reference));
        driver.publish(&again.clone().attribute("pullPolicy", "IfNotPresent")).await.unwrap();
        gate.release();
        while let Some(ended) = calls.join_next().await {
            ended.unwrap().unwrap();
        }
        for volume in [volume, again] {
            driver.unpublish(&volume).await.unwrap();
        }
        for number in 0..FLOOD {
            driver.unpublish(&driver.volume(&format!("csi-greedy-{number}"), "")).await.unwrap();
        }
        assert_clean(&driver.root);
    });
}

#[test]
fn a_pull_that_two_namespaces_want_goes_for_the_one_that_holds_less() {
    run("turns::a_pull_that_two_namespaces_want_goes_for_the_one_that_holds_less", async {
        let (registry, gate) = shelf();
        let driver = Driver::start(&namespace::scratch(), Setup::default()).await;
        let mut calls = flood(&registry, &driver, &gate).await;
        let reference = registry.reference("team/code-review", "v1");
        let last = of("greedy", driver.volume("csi-last", &reference));
        let waits = format!(
            "still pulling {reference}: waiting for other pulls on this node; the pull goes on and \
             the next try finds it"
        );
        let (code, message) = refused(driver.publish_within(&last, Duration::from_secs(1)).await);
        assert_eq!((code, message), (Code::Aborted, waits));
        let volume = of("modest", driver.volume("csi-modest", &reference));
        driver.publish(&volume).await.unwrap();
        assert_eq!(registry.count("GET", "/team/code-review/manifests/"), 1, "one pull for both");
        assert!(calls.try_join_next().is_none(), "none of the others has ended");
        gate.release();
        while let Some(ended) = calls.join_next().await {
            ended.unwrap().unwrap();
        }
        driver.publish(&last).await.unwrap();
        driver.stop().await;
    });
}
