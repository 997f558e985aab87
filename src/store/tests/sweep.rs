//! What is remembered for too long.

use std::time::{Duration, SystemTime};

use super::*;
use crate::store::sweep as swept;

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

/// Makes what was written last the oldest: so many minutes.
fn written(state: &State, minutes: u64) {
    for directory in ["manifests", "references", "grants"] {
        for name in state.names(directory) {
            let file = fs::File::open(state.path(directory).join(name)).unwrap();
            let age = file.metadata().unwrap().modified().unwrap().elapsed().unwrap();
            if age < Duration::from_secs(60) {
                file.set_modified(SystemTime::now() - Duration::from_secs(minutes * 60)).unwrap();
            }
        }
    }
}

#[test]
fn of_too_many_the_youngest_stay() {
    let state = State::new();
    let store = state.open();
    let sweep = |files, bytes| {
        let most = swept::Most { files, bytes };
        swept::sweep(&store.shared, &store.writing, (RETENTION, most), SystemTime::now()).unwrap()
    };
    // What a volume shows is the oldest, and a neighbour gives its manifest other names.
    let shown = remember(&store, "shown", "{}");
    let reference = "ghcr.io/acme/skill:shown".parse().unwrap();
    let recorded = RecordedReference { reference, digest: shown.clone() };
    store.put_record(&Record { references: vec![recorded], ..record("csi-1") }).unwrap();
    written(&state, 100);
    for number in 0..20_u64 {
        let body = format!("{{{}}}", " ".repeat(usize::try_from(number).unwrap() + 1));
        remember(&store, &format!("flood-{number}"), &body);
        let name = format!("ghcr.io/flood/skill{number}:v1").parse::<Reference>().unwrap();
        store.put_reference(&name, &shown).unwrap();
        store.grant(name.repository(), &shown, &[Identity::Anonymous]).unwrap();
        written(&state, 50 - number);
    }
    assert_eq!(counts(&state), [21, 41, 41]);
    assert_eq!(sweep(50, 1 << 20), 0, "that is not too many");
    sweep(10, 1 << 20);
    assert_eq!(counts(&state), [11, 11, 11], "ten, and what the volume asks for");
    let youngest = format!("{{{}}}", " ".repeat(20));
    assert!(store.manifest(&digest(&youngest)).is_some());
    assert!(store.manifest(&digest("{ }")).is_none());
    assert!(store.manifest(&shown).is_some() && store.is_granted(&repository(), &shown, &[]));
    assert!(store.reference(&"ghcr.io/acme/skill:shown".parse().unwrap()).is_some());
    assert!(store.reference(&"ghcr.io/flood/skill19:v1".parse().unwrap()).is_some());
    assert!(store.reference(&"ghcr.io/flood/skill0:v1".parse().unwrap()).is_none());
    assert_eq!(sweep(10, 1 << 20), 0);
    // The two youngest bodies have 22 and 21 bytes.
    sweep(10, 43);
    let bodies = state.names("manifests").len();
    assert_eq!(bodies, 3, "two, and the volume's");
}
