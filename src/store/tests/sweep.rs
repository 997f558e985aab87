//! What is remembered for too long.

use std::time::{Duration, SystemTime};

use super::*;

const RETENTION: Duration = Duration::from_secs(30 * 24 * 3600);

fn repository() -> Repository {
    "ghcr.io/acme/skill".parse::<Reference>().unwrap().repository().clone()
}

/// Manifest, reference and grant of one artifact.
fn remember(store: &Store, name: &str, body: &str) -> Digest {
    let digest = digest(body);
    store.put_manifest(&digest, body.as_bytes()).unwrap();
    store.grant(&repository(), &digest, &[Identity::Anonymous]).unwrap();
    store.put_reference(&format!("ghcr.io/acme/skill:{name}").parse().unwrap(), &digest).unwrap();
    digest
}

/// Makes every file as old as the retention, and a little more.
fn age(state: &State) {
    for directory in ["manifests", "references", "grants"] {
        for name in state.names(directory) {
            let file = fs::File::open(state.path(directory).join(name)).unwrap();
            file.set_modified(SystemTime::now() - RETENTION - Duration::from_secs(60)).unwrap();
        }
    }
}

fn counts(state: &State) -> [usize; 3] {
    ["manifests", "references", "grants"].map(|directory| state.names(directory).len())
}

#[test]
fn what_is_young_or_was_read_stays() {
    let state = State::new();
    let store = state.open();
    let read = remember(&store, "read", "{}");
    remember(&store, "forgotten", "{ }");
    assert_eq!(store.sweep(RETENTION).unwrap(), 0);
    age(&state);
    assert!(store.manifest(&read).is_some());
    assert!(store.is_granted(&repository(), &read, &[]));
    let reference = "ghcr.io/acme/skill:read".parse().unwrap();
    assert_eq!(store.reference(&reference).unwrap().digest, read);
    assert_eq!(store.sweep(RETENTION).unwrap(), 3);
    assert_eq!(counts(&state), [1, 1, 1]);
    assert!(store.is_granted(&repository(), &read, &[]));
}

#[test]
fn what_a_volume_depends_on_stays() {
    let state = State::new();
    let store = state.open();
    let config = remember(&store, "config", "{}");
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
        "config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}","size":2}},
        "layers":[]}}"#
    );
    let manifest = remember(&store, "manifest", &manifest);
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[
        {{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{manifest}","size":9}}]}}"#
    );
    let index = remember(&store, "index", &index);
    remember(&store, "other", "{ }");
    let shown =
        RecordedReference { reference: "ghcr.io/acme/skill:index".parse().unwrap(), digest: index };
    store.put_record(&Record { references: vec![shown], ..record("csi-1") }).unwrap();
    age(&state);
    assert_eq!(store.sweep(RETENTION).unwrap(), 3);
    assert_eq!(counts(&state), [3, 3, 3]);
    store.remove_record("csi-1").unwrap();
    age(&state);
    assert_eq!(store.sweep(RETENTION).unwrap(), 9);
    assert_eq!(counts(&state), [0, 0, 0]);
}

#[test]
fn what_leads_to_nothing_goes_at_once() {
    let state = State::new();
    let store = state.open();
    drop(commit(&store, KEY));
    store.vouch(&repository(), KEY).unwrap();
    store.vouch(&repository(), OTHER).unwrap();
    let gone = remember(&store, "v1", "{}");
    assert_eq!(store.sweep(RETENTION).unwrap(), 1, "there is no other tree");
    fs::remove_file(state.path(&format!("manifests/sha256-{}", gone.hex()))).unwrap();
    assert_eq!(store.sweep(RETENTION).unwrap(), 2, "reference and grant of the manifest");
    assert_eq!(counts(&state), [0, 0, 1]);
    // A tree's grant is as old as it likes, and goes with the tree.
    age(&state);
    assert_eq!(store.sweep(RETENTION).unwrap(), 0);
    let [tree] = store.trees().try_into().unwrap();
    assert!(store.discard(KEY, tree.used_at).unwrap());
    assert_eq!(store.sweep(RETENTION).unwrap(), 1);
    assert_eq!(counts(&state), [0, 0, 0]);
}

#[test]
fn of_too_many_the_oldest_go() {
    let state = State::new();
    let store = state.open();
    let now = SystemTime::now();
    let hours = |hours: u64| now - Duration::from_secs(3600 * hours);
    let digests = [3, 1, 2].map(|age| {
        let digest = remember(&store, &format!("v{age}"), &"{}".repeat(age as usize));
        for directory in ["manifests", "references", "grants"] {
            for name in state.names(directory) {
                let file = fs::File::open(state.path(directory).join(name)).unwrap();
                if file.metadata().unwrap().modified().unwrap() > hours(1) {
                    file.set_modified(hours(age)).unwrap();
                }
            }
        }
        digest
    });
    let mut record = record("csi-1");
    record.references[0].digest = digests[0].clone();
    let sweep = |most| {
        super::super::sweep::sweep_to(&store.shared, &store.writing, RETENTION, most, now).unwrap()
    };
    assert_eq!(sweep(3), 0);
    store.put_record(&record).unwrap();
    assert_eq!(sweep(2), 0, "the oldest is a volume's");
    assert_eq!(sweep(1), 3);
    assert_eq!(counts(&state), [2, 2, 2]);
    store.remove_record("csi-1").unwrap();
    assert_eq!(sweep(1), 3);
    assert_eq!(counts(&state), [1, 1, 1]);
    assert!(store.is_known(&repository(), &digests[1]));
}
