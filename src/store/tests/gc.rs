//! What is used stays, what is not goes wholly.

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, SystemTime};

use super::*;

fn used_at(store: &Store, key: &str) -> u64 {
    store.trees().into_iter().find(|tree| tree.key == key).unwrap().used_at
}

fn in_use(store: &Store) -> Vec<(char, bool)> {
    let mut all: Vec<_> =
        store.trees().iter().map(|t| (t.key.chars().next().unwrap(), t.in_use)).collect();
    all.sort();
    all
}

fn discard(store: &Store, key: &str) -> bool {
    store.discard(key, used_at(store, key)).unwrap()
}

fn seconds(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn set_modified(path: &Path, at: SystemTime) {
    fs::File::open(path).unwrap().set_modified(at).unwrap();
}

fn modified(path: &Path) -> SystemTime {
    fs::metadata(path).unwrap().modified().unwrap()
}

#[test]
fn a_tree_that_nobody_uses_goes_and_can_come_back() {
    let state = State::new();
    let store = state.open();
    drop(commit(&store, KEY));
    drop(commit(&store, OTHER));
    assert_eq!(in_use(&store), [('a', false), ('b', false)]);
    assert!(discard(&store, KEY));
    assert!(store.tree(KEY).is_none());
    assert!(!store.discard(KEY, 0).unwrap(), "there is none");
    assert_eq!(state.names("trees"), [OTHER.into(), format!("{OTHER}.json")]);
    assert_eq!(state.names("staging"), [""; 0]);
    drop(commit(&store, KEY));
    drop(store);
    assert_eq!(in_use(&state.open()), [('a', false), ('b', false)]);
}

#[test]
fn a_tree_stays_while_it_is_held_named_or_mounted() {
    let state = State::new();
    let store = state.open();
    let held = commit(&store, KEY);
    assert_eq!(in_use(&store), [('a', true)]);
    assert!(!discard(&store, KEY), "held");
    // The record is written before the hold is given up.
    store.put_record(&record("csi-1")).unwrap();
    store.put_record(&record("csi-2")).unwrap();
    drop(held);
    assert!(!discard(&store, KEY), "two records");
    store.remove_record("csi-1").unwrap();
    assert!(!discard(&store, KEY), "one record");
    drop(store);

    let store = state.open();
    assert!(!discard(&store, KEY), "a record of an earlier run");
    assert!(!store.pin(KEY), "it is named");
    assert!(!store.pin(OTHER), "there is no such tree");
    store.put_record(&Record { trees: vec![OTHER.into()], ..record("csi-2") }).unwrap();
    assert!(store.pin(KEY));
    assert!(!discard(&store, KEY), "mounted");
    drop(store);
    assert!(discard(&state.open(), KEY));
}

#[test]
fn an_unreadable_record_still_keeps_its_trees() {
    let state = State::new();
    let store = state.open();
    drop(commit(&store, KEY));
    store.put_record(&record("csi-1")).unwrap();
    fs::write(state.path("volumes/csi-1.json"), "{").unwrap();
    assert_eq!(store.record("csi-1").unwrap(), None);
    assert!(!discard(&store, KEY));
    store.remove_record("csi-1").unwrap();
    assert!(discard(&store, KEY));
}

#[test]
fn a_record_that_cannot_be_written_keeps_what_the_old_and_the_new_one_name() {
    let state = State::new();
    let store = state.open();
    drop(commit(&store, KEY));
    drop(commit(&store, OTHER));
    store.put_record(&record("csi-1")).unwrap();
    fs::remove_file(state.path("volumes/csi-1.json")).unwrap();
    fs::create_dir_all(state.path("volumes/csi-1.json/full")).unwrap();
    store.put_record(&Record { trees: vec![OTHER.into()], ..record("csi-1") }).unwrap_err();
    assert_eq!(in_use(&store), [('a', true), ('b', true)]);
    store.remove_record("csi-1").unwrap_err();
    assert_eq!(in_use(&store), [('a', true), ('b', true)]);
}

#[test]
fn a_tree_that_was_used_since_it_was_chosen_stays() {
    let state = State::new();
    let store = state.open();
    drop(commit(&store, KEY));
    let before = used_at(&store, KEY);
    drop(store.tree(KEY));
    assert!(used_at(&store, KEY) > before);
    assert!(!store.discard(KEY, before).unwrap());
}

#[test]
fn the_last_use_is_noted_when_a_volume_ends_and_not_when_it_begins() {
    let state = State::new();
    let store = state.open();
    drop(commit(&store, KEY));
    drop(store);
    let description = state.path(&format!("trees/{KEY}.json"));
    set_modified(&description, seconds(1000));

    let store = state.open();
    assert_eq!(used_at(&store, KEY), 1_000_000_000_000);
    // Looking after it is no use of it.
    assert!(store.flush(&[KEY.to_owned()]).is_empty());
    assert_eq!(used_at(&store, KEY), 1_000_000_000_000);
    assert_eq!(modified(&description), seconds(1000));
    drop(store.tree(KEY));
    store.put_record(&record("csi-1")).unwrap();
    assert_eq!(modified(&description), seconds(1000));
    let published = used_at(&store, KEY);
    store.remove_record("csi-1").unwrap();
    let unpublished = used_at(&store, KEY);
    assert!(unpublished > published);
    drop(store);
    assert_eq!(used_at(&state.open(), KEY), unpublished);

    set_modified(&description, SystemTime::now() + Duration::from_secs(1000));
    let store = state.open();
    drop(store.tree(KEY));
    assert!(seconds(0) + Duration::from_nanos(used_at(&store, KEY)) <= SystemTime::now());
}

/// Every state between the steps of [`Store::discard`], as a crash leaves it.
#[test]
fn a_crash_between_the_steps_of_a_removal_leaves_nothing_for_long() {
    let description = format!("trees/{KEY}.json");
    let tree = format!("trees/{KEY}");
    type Step = (&'static str, fn(&State, &str));
    let steps: [Step; 3] = [
        ("the description is gone", |_, _| {}),
        ("the directory is in staging", |state, tree| {
            fs::rename(state.path(tree), state.path("staging/7")).unwrap();
        }),
        ("some files are removed", |state, tree| {
            fs::rename(state.path(tree), state.path("staging/7")).unwrap();
            fs::remove_file(state.path("staging/7/0/skill/SKILL.md")).unwrap();
        }),
    ];
    for (step, make) in steps {
        let state = State::new();
        let store = state.open();
        drop(commit(&store, KEY));
        assert!(store.flush(&[KEY.to_owned()]).is_empty());
        drop(store);
        fs::remove_file(state.path(&description)).unwrap();
        make(&state, &tree);
        let store = state.open();
        assert_eq!(in_use(&store), [], "{step}");
        for directory in ["trees", "staging", "quarantine"] {
            assert_eq!(state.names(directory), [""; 0], "{step}: {directory}");
        }
        let tree = commit(&store, KEY);
        assert_eq!(fs::read_to_string(tree.flat(0).join("SKILL.md")).unwrap(), "hello", "{step}");
    }
}

#[test]
fn a_removal_that_fails_leaves_a_whole_tree_or_none() {
    let state = State::new();
    let store = state.open();
    drop(commit(&store, KEY));
    drop(commit(&store, OTHER));
    // A description that cannot be removed.
    fs::remove_file(state.path(&format!("trees/{KEY}.json"))).unwrap();
    fs::create_dir(state.path(&format!("trees/{KEY}.json"))).unwrap();
    let error = store.discard(KEY, used_at(&store, KEY)).unwrap_err();
    assert!(matches!(error, DiscardError::Describe(_)), "{error}");
    assert!(store.tree(KEY).is_some());
    // A directory that cannot be moved.
    fs::rename(state.path(&format!("trees/{OTHER}")), state.path("elsewhere")).unwrap();
    let error = store.discard(OTHER, used_at(&store, OTHER)).unwrap_err();
    assert!(matches!(error, DiscardError::Move { .. }), "{error}");
    assert!(store.tree(OTHER).is_none());
    assert!(!state.exists(&format!("trees/{OTHER}.json")));
}

/// Volumes come and go on two threads while a third removes whatever it may: what a volume shows
/// is there from the moment it is held until its record is gone.
#[test]
fn removal_never_meets_a_use() {
    let state = State::new();
    let store = state.open();
    let (ended, removed) = (AtomicBool::new(false), AtomicU64::new(0));
    let publish = |volume: &str| {
        for round in 0..500 {
            let key = if round % 3 == 0 { KEY } else { OTHER };
            let tree = store.tree(key).unwrap_or_else(|| commit(&store, key));
            let file = tree.flat(0).join("SKILL.md");
            store.put_record(&Record { trees: vec![key.into()], ..record(volume) }).unwrap();
            drop(tree);
            assert_eq!(fs::read_to_string(&file).unwrap(), "hello", "{volume}, round {round}");
            store.remove_record(volume).unwrap();
        }
    };
    let collect = || {
        while !ended.load(std::sync::atomic::Ordering::Relaxed) {
            for tree in store.trees().into_iter().filter(|tree| !tree.in_use) {
                let gone = store.discard(&tree.key, tree.used_at).unwrap();
                removed.fetch_add(u64::from(gone), std::sync::atomic::Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(collect);
        let volumes = ["csi-1", "csi-2"].map(|volume| scope.spawn(move || publish(volume)));
        let outcomes = volumes.map(std::thread::ScopedJoinHandle::join);
        ended.store(true, std::sync::atomic::Ordering::Relaxed);
        outcomes.into_iter().for_each(Result::unwrap);
    });
    for tree in store.trees() {
        assert!(discard(&store, &tree.key));
    }
    assert!(removed.into_inner() > 0);
    assert_eq!(state.names("trees"), [""; 0]);
    assert_eq!(state.names("staging"), [""; 0]);
}

/// The clock was wrong, and has been put right: what it left is neither kept for ever nor lost.
#[test]
fn what_was_used_in_a_time_to_come_was_used_now() {
    let state = State::new();
    let store = state.open();
    drop(commit(&store, KEY));
    store.put_record(&Record { published_at: u64::MAX, ..record("csi-1") }).unwrap();
    let repository = "ghcr.io/acme/skill".parse::<Reference>().unwrap().repository().clone();
    let digest = Digest::sha256(b"{}");
    store.put_manifest(&digest, b"{}").unwrap();
    store.grant(&repository, &digest, &[Identity::Anonymous]).unwrap();
    drop(store);
    let to_come = SystemTime::now() + Duration::from_secs(10 * 365 * 24 * 3600);
    for directory in ["trees", "volumes", "manifests", "grants"] {
        for name in state.names(directory).iter().filter(|name| *name != KEY) {
            set_modified(&state.path(directory).join(name), to_come);
        }
    }
    let before = nanoseconds(SystemTime::now());
    let store = state.open();
    let used_at = used_at(&store, KEY);
    assert!((before..=nanoseconds(SystemTime::now())).contains(&used_at), "{used_at}");
    assert_eq!(store.records().unwrap()[0].published_at, u64::MAX);
    assert_eq!(store.sweep(Duration::from_secs(60)).unwrap(), 0);
    assert!(store.is_granted(&repository, &digest, &[]));
    for name in state.names("grants") {
        assert!(modified(&state.path("grants").join(name)) < to_come, "read, it is as old as now");
    }
    store.remove_record("csi-1").unwrap();
    assert!(discard(&store, KEY));
}
