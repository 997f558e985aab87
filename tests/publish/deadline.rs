//! Pulls that outlive the call that started them.

use std::time::Duration;

use super::*;
use crate::support::{Fault, Gate, On};

/// Long enough for a loaded machine to send a call, short enough for a test. What happens within
/// it is never asserted by the time it took.
const SHORT: Duration = Duration::from_secs(1);

/// Publishes within a short time, again and again, until the answer is the expected one.
async fn until(driver: &Driver, volume: &Volume, expected: &str) {
    loop {
        let (code, message) = refused(driver.publish_within(volume, SHORT).await);
        assert_eq!(code, Code::Aborted, "{message}");
        if message == expected {
            return;
        }
    }
}

#[test]
fn a_late_pull_tells_its_progress_and_the_retry_joins_it() {
    run("deadline::a_late_pull_tells_its_progress_and_the_retry_joins_it", async {
        let (registry, driver) = start(Options::default()).await;
        let layer = &registry.layers("team/code-review", "v1")[0];
        let gate = Gate::held();
        registry.fault(On::blob(layer), Fault::Hold { after: 100, gate: gate.clone() });
        let reference = registry.reference("team/code-review", "v1");
        let volume = driver.volume("csi-1", &reference);
        let size = skills::code_review().tar().gzip().len();
        assert!(size < 1000);
        let expected = format!(
            "still pulling {reference}: downloading and unpacking, 100 B of {size} B; the pull \
             goes on and the next try finds it"
        );
        until(&driver, &volume, &expected).await;
        assert!(!volume.target.exists());
        assert_eq!(mounts(&driver.root), []);
        gate.release();
        driver.publish(&volume).await.unwrap();
        assert_eq!(tree::listing(&volume.target), skills::code_review().listing());
        assert_eq!(registry.count("GET", &format!("/blobs/{layer}")), 1);
        assert_eq!(registry.count("GET", "/manifests/"), 1);
        driver.unpublish(&volume).await.unwrap();
        assert_clean(&driver.root);
    });
}

#[test]
fn a_failure_that_nobody_waited_for_is_told_to_the_next() {
    run("deadline::a_failure_that_nobody_waited_for_is_told_to_the_next", async {
        let (registry, driver) = start(Options::default()).await;
        let layer = &registry.layers("team/code-review", "v1")[0];
        let gate = Gate::held();
        registry.fault(On::blob(layer), Fault::Stall(gate.clone()));
        registry.fault(On::blob(layer), Fault::WrongBytes);
        let volume = driver.volume("csi-1", &registry.reference("team/code-review", "v1"));
        let (code, _) = refused(driver.publish_within(&volume, SHORT).await);
        assert_eq!(code, Code::Aborted);
        gate.wait_for_waiting(1).await;
        gate.release();
        // Whether the pull still runs or has failed by now: this call hears of it, and asks
        // nobody.
        let (code, message) = refused(driver.publish(&volume).await);
        assert!(matches!(code, Code::DataLoss | Code::FailedPrecondition), "{code:?} {message}");
        assert_eq!(registry.count("GET", &format!("/blobs/{layer}")), 1);
        registry.clear_faults();
        driver.publish(&volume).await.unwrap();
        driver.unpublish(&volume).await.unwrap();
        assert_clean(&driver.root);
    });
}

#[test]
fn a_caller_that_leaves_leaks_nothing() {
    run("deadline::a_caller_that_leaves_leaks_nothing", async {
        let (registry, driver) = start(Options::default()).await;
        let layer = &registry.layers("team/code-review", "v1")[0];
        let gate = Gate::held();
        registry.fault(On::blob(layer), Fault::Stall(gate.clone()));
        let volume = driver.volume("csi-1", &registry.reference("team/code-review", "v1"));
        let call = tokio::spawn({
            let (client, volume) = (driver.client(), volume.clone());
            async move { client.publish(&volume).await }
        });
        gate.wait_for_waiting(1).await;
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
        gate.release();
        // The call goes on without its caller; until it has ended, others are told to wait.
        let outcome = loop {
            match driver.unpublish(&volume).await {
                Err(status) if status.code() == Code::Aborted => {
                    assert_eq!(
                        status.message(),
                        "another operation for volume csi-1 is in progress; kubelet tries again"
                    );
                    tokio::task::yield_now().await;
                }
                outcome => break outcome,
            }
        };
        outcome.unwrap();
        assert_clean(&driver.root);
        driver.publish(&volume).await.unwrap();
        assert_eq!(registry.count("GET", &format!("/blobs/{layer}")), 1);
        driver.unpublish(&volume).await.unwrap();
        assert_clean(&driver.root);
        driver.stop().await;
    });
}
