//! A registry that sends, and so slowly that it would keep a turn for as long as it likes.

use std::time::Duration;

use skillmount::reference::Digest;

use super::*;
use crate::support::{Fault, Gate, On};

/// A driver that looks after each piece whether it came fast enough.
pub(crate) fn strict() -> Setup {
    let mut setup = Setup::default();
    setup.registry.low_speed_time = Duration::from_nanos(1);
    setup
}

/// Publishes `volume`, whose layer comes with one byte, and that after a whole other volume came and
/// went, which takes far longer than the millisecond that a byte may take.
pub(crate) async fn trickled(
    registry: &Registry,
    strict: &Driver,
    volume: &Volume,
    (layer, other, meanwhile): (&Digest, &Driver, &Volume),
) -> (Code, String) {
    let gate = Gate::held();
    registry.fault(On::blob(layer), Fault::Slow { chunk: 1, gate: gate.clone() });
    let call = tokio::spawn({
        let (client, volume) = (strict.client(), volume.clone());
        async move { client.publish(&volume).await }
    });
    gate.wait_for_waiting(1).await;
    other.publish(meanwhile).await.unwrap();
    other.unpublish(meanwhile).await.unwrap();
    gate.admit(1);
    let told = refused(call.await.unwrap());
    registry.clear_faults();
    told
}

#[test]
fn a_byte_now_and_then_is_not_enough() {
    run("trickle::a_byte_now_and_then_is_not_enough", async {
        let (registry, driver) = start(Options::default()).await;
        artifacts::skillimage(&registry, "team/slow", "v1", &skills::docs_writer());
        let layer = registry.layers("team/slow", "v1").remove(0);
        let root = driver.root.join("strict");
        fs::create_dir(&root).unwrap();
        let strict = Driver::start(&root, strict()).await;
        let volume = strict.volume("csi-1", &registry.reference("team/slow", "v1"));
        let meanwhile = driver.volume("csi-2", &registry.reference("team/code-review", "v1"));
        let others = (&layer, &driver, &meanwhile);
        let (code, message) = trickled(&registry, &strict, &volume, others).await;
        assert_eq!(code, Code::Unavailable);
        let expected = format!(
            "downloading layer {}: {} sends too slowly: 1 bytes of it so far, and of late fewer than \
             1024 a second (--low-speed-limit, --low-speed-time)",
            layer.short(),
            registry.host()
        );
        assert!(message.ends_with(&expected), "{message}");
        let blob = format!("/blobs/{layer}");
        assert_eq!(registry.count("GET", &blob), 1, "a slow host is not asked for the rest");
        assert_clean(&root);
        // The same, at the pace of this machine.
        strict.publish(&volume).await.unwrap();
        assert_eq!(tree::listing(&volume.target), skills::docs_writer().listing());
        strict.unpublish(&volume).await.unwrap();
        assert_clean(&root);
    });
}
