//! The small files: records, references, manifests, grants, the salt.

use std::fs;
use std::os::unix::fs::symlink;

use super::*;
use crate::credentials::{Credential, Login};

#[test]
fn unreadable_files_are_put_aside() {
    let state = State::new();
    let store = state.open();
    let reference: Reference = "ghcr.io/acme/skill:v1".parse().unwrap();
    let manifest = digest("manifest");
    commit(&store, KEY);
    store.put_record(&record("v1")).unwrap();
    store.put_reference(&reference, &manifest).unwrap();
    store.put_manifest(&manifest, b"manifest").unwrap();
    store.grant(reference.repository(), &manifest, &[Identity::Anonymous]).unwrap();
    for dir in ["volumes", "references", "manifests", "grants"] {
        let name = state.names(dir).remove(0);
        fs::write(state.path(&format!("{dir}/{name}")), [0, 159, 146, 150]).unwrap();
    }
    assert!(store.record("v1").unwrap().is_none());
    assert!(store.reference(&reference).is_none());
    assert!(store.manifest(&manifest).is_none());
    assert!(!store.is_granted(reference.repository(), &manifest, &[]));
    assert_eq!(state.names("quarantine").len(), 4);
    // A directory or a link in a file's place, and a record that says it is another volume's.
    fs::create_dir(state.path("volumes/v1.json")).unwrap();
    symlink("/etc/passwd", state.path("volumes/v2.json")).unwrap();
    fs::write(state.path("volumes/v3.json"), serde_json::to_vec(&record("v4")).unwrap()).unwrap();
    let newer = Record { version: 2, ..record("v5") };
    store.put_record(&newer).unwrap();
    assert!(store.records().unwrap().is_empty());
    assert_eq!(state.names("volumes"), [""; 0]);
    assert_eq!(state.names("quarantine").len(), 8);
    drop(store);
    // The quarantine keeps the newest.
    for number in 0..open::MAX_QUARANTINE {
        fs::write(state.path(&format!("quarantine/0-{number}")), "").unwrap();
    }
    fs::write(state.path(&format!("trees/{KEY}.json")), "").unwrap();
    let store = state.open();
    assert!(store.tree(KEY).is_none());
    assert_eq!(state.names("trees"), [""; 0]);
    assert_eq!(state.names("quarantine").len(), open::MAX_QUARANTINE + 1);
    assert!(state.names("quarantine").iter().any(|name| name.ends_with("v5.json")));
}

#[test]
fn references_and_manifests_are_remembered() {
    let state = State::new();
    let store = state.open();
    let reference: Reference = "ghcr.io/acme/skill".parse().unwrap();
    assert!(store.reference(&reference).is_none());
    store.put_reference(&reference, &digest("1")).unwrap();
    store.put_reference(&reference, &digest("2")).unwrap();
    let same: Reference = "ghcr.io/acme/skill:latest".parse().unwrap();
    let found = store.reference(&same).unwrap();
    assert_eq!(found.digest, digest("2"));
    assert!(found.resolved_at > 1_700_000_000);
    assert!(store.reference(&"ghcr.io/acme/skill:v2".parse().unwrap()).is_none());
    assert!(store.manifest(&digest("body")).is_none());
    store.put_manifest(&digest("body"), b"body").unwrap();
    assert_eq!(store.manifest(&digest("body")).unwrap(), b"body");
}

/// The driver may die at any byte of the line, or the node lose it.
#[test]
fn a_record_is_published_once_its_last_line_has_an_end() {
    let state = State::new();
    let store = state.open();
    let begun = Record { state: RecordState::Publishing, ..record("v1") };
    let file = store.put_record(&begun).unwrap();
    let path = state.path("volumes/v1.json");
    let first = fs::metadata(&path).unwrap().len() as usize;
    let mount = MountIdentity { boot_id: "b".into(), dev: u64::MAX, ino: 2 };
    file.put_mounted(Seal::Bind, &mount).unwrap();
    let whole = fs::read(&path).unwrap();
    for end in 0..first - 1 {
        fs::write(&path, &whole[..end]).unwrap();
        assert_eq!(store.record("v1").unwrap(), None, "{end} bytes");
        assert_eq!(store.records().unwrap(), []);
        assert_eq!(peek_records(&state.root).unwrap(), (vec![], vec![]));
    }
    // Whoever publishes again does not mind.
    store.put_record(&begun).unwrap();
    for end in first - 1..whole.len() {
        fs::write(&path, &whole[..end]).unwrap();
        assert_eq!(store.record("v1").unwrap().unwrap(), begun, "{end} bytes");
    }
    fs::write(&path, &whole).unwrap();
    let published = Record {
        state: RecordState::Published,
        seal: Seal::Bind,
        mount: Some(mount.clone()),
        ..begun.clone()
    };
    assert_eq!(store.record("v1").unwrap().unwrap(), published);
    assert_eq!(peek_records(&state.root).unwrap(), (vec![published.clone()], vec![]));
    drop(store);
    // Nothing was mounted for one that was not begun to its end.
    fs::write(state.path("volumes/v2.json"), &whole[..first / 2]).unwrap();
    let store = state.open();
    assert_eq!(store.records().unwrap(), [published]);
    assert_eq!(state.names("volumes"), ["v1.json"]);
    assert_eq!(state.names("quarantine"), [""; 0]);
    // The next publish begins anew, in another file.
    let file = store.put_record(&begun).unwrap();
    file.put_mounted(Seal::Bind, &mount).unwrap();
    assert!(fs::read(&path).unwrap() == whole);
    let file = store.put_record(&record("v1")).unwrap();
    assert_eq!(store.record("v1").unwrap().unwrap(), record("v1"));
    // Whole lines that mean nothing.
    for more in [&b"{}\n"[..], b"\n", &whole[first..].repeat(2)] {
        fs::write(&path, [&whole[..first], more].concat()).unwrap();
        assert_eq!(peek_records(&state.root).unwrap(), (vec![], vec![path.clone()]));
        assert!(store.record("v1").unwrap().is_none());
    }
    assert_eq!(state.names("quarantine").len(), 3);
    file.put_mounted(Seal::Bind, &mount).unwrap_err();
}

fn repository(text: &str) -> Repository {
    text.parse::<Reference>().unwrap().repository().clone()
}

#[test]
fn a_grant_is_for_one_repository_digest_and_login() {
    let state = State::new();
    let store = state.open();
    let (ours, theirs) = (repository("ghcr.io/a/b"), repository("ghcr.io/a/c"));
    let login = |name: &str| Identity::Login(name.into());
    let (d, e) = (digest("d"), digest("e"));
    store.grant(&ours, &d, &[login("alice")]).unwrap();
    store.grant(&ours, &d, &[login("bob")]).unwrap();
    for (repository, digest, identities, expected) in [
        (&ours, &d, vec![login("alice")], true),
        (&ours, &d, vec![login("mallory"), login("bob")], true),
        (&ours, &d, vec![login("mallory")], false),
        (&ours, &d, vec![], false),
        // Nobody has read it without a credential, so anonymous callers are asked to.
        (&ours, &d, vec![Identity::Anonymous], false),
        (&theirs, &d, vec![login("alice")], false),
        (&ours, &e, vec![login("alice")], false),
    ] {
        assert_eq!(store.is_granted(repository, digest, &identities), expected, "{identities:?}");
    }
    // The oldest go; one that is there already is not counted twice.
    for number in 0..grants::MAX_IDENTITIES - 1 {
        store.grant(&ours, &d, &[login(&number.to_string())]).unwrap();
        store.grant(&ours, &d, &[login("bob")]).unwrap();
    }
    assert!(!store.is_granted(&ours, &d, &[login("alice")]));
    assert!(store.is_granted(&ours, &d, &[login("bob")]));
    // Public: for everybody, and that stays.
    store.grant(&ours, &d, &[Identity::Anonymous]).unwrap();
    store.grant(&ours, &d, &[login("alice")]).unwrap();
    for identities in [vec![], vec![Identity::Anonymous], vec![login("mallory")]] {
        assert!(store.is_granted(&ours, &d, &identities));
    }
    // A grant's file under another's name is none.
    let [name] = state.names("grants").try_into().unwrap();
    store.grant(&theirs, &d, &[login("x")]).unwrap();
    let other = state.names("grants").into_iter().find(|other| *other != name).unwrap();
    fs::copy(state.path(&format!("grants/{name}")), state.path(&format!("grants/{other}")))
        .unwrap();
    assert!(!store.is_granted(&theirs, &d, &[login("x")]));
}

#[test]
fn a_tree_is_vouched_for_by_who_delivered_it() {
    let state = State::new();
    let (ours, theirs) = (repository("ghcr.io/acme/skill"), repository("ghcr.io/else/skill"));
    let other = KEY.replace('a', "b");
    let store = state.open();
    store.vouch(&ours, KEY).unwrap();
    drop(store);
    let store = state.open();
    for (repository, key, expected) in
        [(&ours, KEY, true), (&theirs, KEY, false), (&ours, other.as_str(), false)]
    {
        assert_eq!(store.is_vouched(repository, key), expected, "{repository} {key}");
    }
}

#[test]
fn records_survive_any_volume_id() {
    let state = State::new();
    let store = state.open();
    let hashed = format!("sha256-{}", digest("../../x").hex());
    let long = "x".repeat(300);
    let ids = [
        "csi-0123abcd",
        "../../x",
        &long,
        "a\0b",
        "",
        ".",
        "..",
        ".tmp-1-1",
        "a/b",
        "ü",
        &hashed,
        "sha256-x",
        "a.json",
        "volume id",
    ];
    for (number, id) in ids.iter().enumerate() {
        assert!(store.record(id).unwrap().is_none(), "{id:?}");
        store.put_record(&Record { published_at: number as u64, ..record(id) }).unwrap();
    }
    let mount = MountIdentity { boot_id: "b".into(), dev: u64::MAX, ino: 2 };
    let changed = Record { mount: Some(mount), seal: Seal::Bind, ..record("csi-0123abcd") };
    store.put_record(&changed).unwrap();
    drop(store);
    let store = state.open();
    assert_eq!(store.record("csi-0123abcd").unwrap().unwrap(), changed);
    for (number, id) in ids.iter().enumerate().skip(1) {
        let expected = Record { published_at: number as u64, ..record(id) };
        assert_eq!(store.record(id).unwrap().unwrap(), expected, "{id:?}");
    }
    assert_eq!(store.records().unwrap().len(), ids.len());
    assert!(state.exists("volumes/csi-0123abcd.json"));
    assert_eq!(state.names("volumes").len(), ids.len());
    for id in ids {
        store.remove_record(id).unwrap();
        store.remove_record(id).unwrap();
    }
    assert!(store.records().unwrap().is_empty());
    assert_eq!(state.names("quarantine"), [""; 0]);
}

#[test]
fn the_salt_stays() {
    let state = State::new();
    let login = Login::Basic { username: "u".into(), password: "p".into() };
    let credential = Credential::new("x", login);
    let identity = || credential.identity(state.open().salt());
    let first = identity();
    assert_eq!(identity(), first);
    fs::write(state.path("salt"), "short").unwrap();
    let second = identity();
    assert_ne!(second, first);
    assert_eq!(identity(), second);
}
