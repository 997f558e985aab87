use serde_json::json;

use super::*;
use crate::artifact::plan::Action;

const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const OTHER: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";

fn claim(bytes: u64) -> Claim {
    Claim { least: bytes, most: bytes }
}

fn layer(digest: &str, size: u64) -> Layer {
    let descriptor = json!({ "digest": digest, "size": size });
    let descriptor = serde_json::from_value(descriptor).unwrap();
    Layer { descriptor, action: Action::Unknown, diff_id: None }
}

#[test]
fn a_claim_is_what_the_manifest_says_and_no_more_than_the_limit() {
    for (sizes, least, most) in [
        (&[][..], 0, 0),
        (&[(OTHER, 100), (OTHER, 20)], 120, 120),
        (&[(OTHER, 900), (OTHER, 200)], 1000, 1000),
        (&[(OTHER, u64::MAX), (OTHER, u64::MAX)], 1000, 1000),
        // One of unknown size, and one that is known to be empty.
        (&[(OTHER, 100), (OTHER, 0)], 100, 1000),
        (&[(OTHER, 100), (EMPTY, 0)], 100, 100),
        (&[(EMPTY, 0)], 0, 0),
    ] {
        let layers: Vec<_> = sizes.iter().map(|(digest, size)| layer(digest, *size)).collect();
        assert_eq!(Claim::of(&layers, 1000), Claim { least, most }, "{sizes:?}");
    }
}

/// Who has reserved something, once nobody else can.
fn settled(ledger: &mut Ledger, free: u64) -> Vec<u64> {
    while let Some(number) = ledger.first()
        && ledger.take(number, free).unwrap()
    {}
    ledger.places.iter().filter(|(_, entry)| entry.holds).map(|(number, _)| *number).collect()
}

#[test]
fn space_is_shared_by_tenants() {
    let all = u64::MAX;
    // A cap, what is free of the disk, who comes with how much, and who goes at once.
    for (cap, free, coming, expected) in [
        (None, all, &[("a", 10), ("a", 10), ("b", 90)][..], &[0, 1, 2][..]),
        (Some(100), all, &[("a", 40), ("a", 35), ("a", 5)], &[0, 1]),
        (Some(100), all, &[("a", 40), ("a", 35), ("a", 5), ("b", 25)], &[0, 1, 3]),
        // The same of the disk.
        (None, 100, &[("a", 40), ("a", 35), ("a", 5)], &[0, 1]),
        (None, 100, &[("a", 40), ("a", 35), ("a", 5), ("b", 25)], &[0, 1, 3]),
        (Some(100), 50, &[("a", 40), ("b", 20)], &[0]),
        (Some(50), 100, &[("a", 40), ("b", 20)], &[0]),
        // Nobody passes the next one.
        (Some(100), all, &[("a", 60), ("b", 50), ("c", 10)], &[0]),
        // Larger than the cap: alone.
        (Some(100), all, &[("a", 500), ("b", 1)], &[0]),
        (Some(100), all, &[("a", 1), ("b", 500), ("c", 1)], &[0]),
        (Some(1), all, &[("a", all), ("a", all)], &[0]),
        (None, all, &[("a", all), ("b", all), ("b", all)], &[0, 1]),
    ] {
        let mut ledger = Ledger::new(cap);
        for (tenant, bytes) in coming {
            ledger.enter(Tenant::from(*tenant), claim(*bytes));
            settled(&mut ledger, free);
        }
        assert_eq!(settled(&mut ledger, free), expected, "{cap:?} {free} {coming:?}");
        // Whoever holds something ends some time: then everybody has had some.
        let mut served = Vec::new();
        loop {
            let holders = settled(&mut ledger, free);
            let Some(first) = holders.first() else { break };
            served.push(*first);
            ledger.leave(*first);
        }
        served.sort();
        assert_eq!(served, (0..coming.len() as u64).collect::<Vec<_>>(), "{coming:?}");
        assert!(ledger.places.is_empty());
    }
}

#[test]
fn the_least_served_tenant_is_the_next() {
    let mut ledger = Ledger::new(Some(100));
    let [a, b] = ["a", "b"].map(Tenant::from);
    for tenant in [&a, &a, &a, &b, &b] {
        ledger.enter(tenant.clone(), claim(30));
    }
    assert_eq!(settled(&mut ledger, u64::MAX), [0, 3], "one of each");
    ledger.leave(0);
    assert_eq!(settled(&mut ledger, u64::MAX), [1, 3]);
    // Who gives up does not keep others waiting.
    ledger.leave(2);
    ledger.leave(1);
    assert_eq!(settled(&mut ledger, u64::MAX), [3, 4]);
}

#[test]
fn more_than_is_free_is_refused_with_the_numbers() {
    let mut ledger = Ledger::new(None);
    let first = ledger.enter(Tenant::from("a"), claim(6_000_000));
    assert_eq!(ledger.take(first, 7_000_000), Ok(true));
    let second = ledger.enter(Tenant::from("b"), claim(7_000_001));
    let error = ledger.take(second, 7_000_000).unwrap_err();
    assert_eq!(error, NoSpace { needs: 7_000_001, free: 7_000_000, reserved: 6_000_000 });
    assert_eq!(
        error.to_string(),
        "the state directory's disk has no room for it: its layers have 7.0 MB, and 7.0 MB are \
         free, of which other pulls have reserved 6.0 MB"
    );
    // What nobody has claimed is no reason.
    let third = ledger.enter(Tenant::from("c"), Claim { least: 1, most: u64::MAX });
    ledger.leave(second);
    assert_eq!(ledger.take(third, 7_000_000), Ok(true));
}

fn space(cap: u64) -> (tempfile::TempDir, Metrics, Space) {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(&directory.path().join("state")).unwrap());
    let metrics = Metrics::default();
    (directory, metrics.clone(), Space::new(store, Some(cap), metrics))
}

fn reserved(metrics: &Metrics) -> String {
    let text = metrics.text().unwrap();
    let line =
        text.lines().find_map(|line| line.strip_prefix("skillmount_staging_reserved_bytes "));
    line.unwrap().to_owned()
}

#[tokio::test]
async fn a_wait_that_is_dropped_lets_the_next_go() {
    let (_directory, metrics, space) = space(10 << 20);
    // Sizes that are not known: the disk is not asked.
    let large = Claim { least: 0, most: 8 << 20 };
    let tenants = ["a", "b", "c"].map(Tenant::from);
    let first = space.reserve(&tenants[0], large, || panic!("waits")).await.unwrap();
    assert_eq!(reserved(&metrics), (8 << 20).to_string());
    // What is small does not wait, and does not count.
    space.reserve(&tenants[1], claim(SMALL), || panic!("waits")).await.unwrap();
    assert!(space.reserve_now(&tenants[1], large).await.unwrap().is_none());
    let mut second = Box::pin(space.reserve(&tenants[1], large, || {}));
    let mut third = Box::pin(space.reserve(&tenants[2], large, || {}));
    assert!(futures_util::poll!(&mut second).is_pending());
    assert!(futures_util::poll!(&mut third).is_pending());
    // The second is the next, and has not looked yet.
    drop(first);
    assert!(futures_util::poll!(&mut third).is_pending());
    drop(second);
    let third = third.await.unwrap();
    assert_eq!(reserved(&metrics), (8 << 20).to_string());
    drop(third);
    assert_eq!(reserved(&metrics), "0");
    assert!(space.ledger().places.is_empty());
}
