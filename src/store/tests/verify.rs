//! Trees whose files are not what they were.

use std::os::fd::AsFd;
use std::os::unix::fs::symlink;

use super::*;

const NESTED: &str = "0/skill/SKILL.md";

/// A tree on the disk with three files, one of which may be executed.
fn flushed(store: &Store, key: &str) {
    let staging = store.stage().unwrap();
    fill(&staging, "hello");
    let out = PathBuf::from(format!("/proc/self/fd/{}", fd_number(staging.out_fd())));
    fs::create_dir(out.join("0/skill/scripts")).unwrap();
    fs::write(out.join("0/skill/scripts/a\\b"), "").unwrap();
    fs::write(out.join("0/skill/scripts/run"), "#!/bin/sh\n").unwrap();
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(out.join("0/skill/scripts/run"), executable).unwrap();
    staging.commit(key, info(key)).unwrap();
    assert!(store.flush(&[key.to_owned()]).is_empty());
}

fn verify(store: &Store, key: &str) -> Verdict {
    let verdict = store.verify(key, &mut |_| Ok(())).unwrap();
    assert_eq!(peek_verify(store.root(), key).unwrap(), verdict);
    verdict
}

#[test]
fn the_list_is_what_sha256sum_reads() {
    let state = State::new();
    let store = state.open();
    flushed(&store, KEY);
    assert_eq!(
        fs::read_to_string(state.path(&format!("trees/{KEY}.sha256"))).unwrap(),
        "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824  0/skill/SKILL.md\n\
         \\e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  0/skill/scripts/a\\\\b\n\
         a8076d3d28d21e02012b20eaf7dbf75409a6277134439025f282e368e3305abf *0/skill/scripts/run\n"
    );
    assert_eq!(verify(&store, KEY), Verdict::Whole);
    assert_eq!(peek_trees(&state.root).unwrap(), [KEY]);
}

#[test]
fn every_change_is_seen() {
    type Change = fn(&Path);
    let changes: [(Change, &[&str]); 12] = [
        (
            |t| fs::write(t.join(KEY).join(NESTED), "hellO").unwrap(),
            &[r#""0/skill/SKILL.md" has other bytes"#],
        ),
        (
            |t| fs::write(t.join(KEY).join(NESTED), "").unwrap(),
            &[r#""0/skill/SKILL.md" has other bytes"#],
        ),
        (
            |t| fs::remove_file(t.join(KEY).join(NESTED)).unwrap(),
            &[r#""0/skill/SKILL.md" is missing"#],
        ),
        (|t| fs::write(t.join(KEY).join("0/more"), "").unwrap(), &[r#""0/more" was not there"#]),
        (
            |t| {
                let path = t.join(KEY).join(NESTED);
                fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
            },
            &[r#""0/skill/SKILL.md" has another mode"#],
        ),
        (
            |t| {
                let path = t.join(KEY).join(NESTED);
                fs::remove_file(&path).unwrap();
                symlink("scripts/run", &path).unwrap();
            },
            &[r#""0/skill/SKILL.md" was not there"#],
        ),
        (
            |t| remove(&t.join(KEY).join("0/skill/scripts")),
            &[r#""0/skill/scripts/a\\b" is missing"#, r#""0/skill/scripts/run" is missing"#],
        ),
        (|t| remove(&t.join(KEY)), &[r#""." is missing"#]),
        (|t| fs::remove_file(t.join(format!("{KEY}.sha256"))).unwrap(), &["LIST is missing"]),
        (|t| fs::write(t.join(format!("{KEY}.sha256")), "").unwrap(), &["LIST has other bytes"]),
        (
            |t| {
                let path = t.join(format!("{KEY}.sha256"));
                let list = fs::read_to_string(&path).unwrap().replace("2cf2", "0000");
                fs::write(&path, list).unwrap();
            },
            &["LIST has other bytes"],
        ),
        (
            |t| fs::write(t.join(format!("{KEY}.json")), "{").unwrap(),
            &["DESCRIPTION has other bytes"],
        ),
    ];
    for (number, (change, expected)) in changes.into_iter().enumerate() {
        let state = State::new();
        let store = state.open();
        flushed(&store, KEY);
        change(&state.path("trees"));
        let expected: Vec<_> = expected
            .iter()
            .map(|text| text.replace("LIST", &format!("{:?}", format!("{KEY}.sha256"))))
            .map(|text| text.replace("DESCRIPTION", &format!("{:?}", format!("{KEY}.json"))))
            .collect();
        let Verdict::Damaged(damages) = verify(&store, KEY) else { panic!("{number}") };
        let found: Vec<_> = damages.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{number}");
    }
}

fn remove(dir: &Path) {
    let parent = fs::File::open(dir.parent().unwrap()).unwrap();
    remove_tree(parent.as_fd(), dir.file_name().unwrap()).unwrap();
}

#[test]
fn what_nobody_knows_is_no_damage() {
    let state = State::new();
    let store = state.open();
    assert_eq!(verify(&store, KEY), Verdict::Gone);
    commit(&store, KEY);
    assert_eq!(verify(&store, KEY), Verdict::Unlisted);
    flushed(&store, OTHER);
    let mut pieces = 0;
    let stopped = store.verify(OTHER, &mut |_| {
        pieces += 1;
        if pieces < 3 { Ok(()) } else { Err(io::ErrorKind::Interrupted.into()) }
    });
    assert!(matches!(stopped, Err(VerifyError::Stopped)));
    // Collected while it was read: after its first file the others are missing.
    let used_at = store.trees().iter().find(|t| t.key == OTHER).unwrap().used_at;
    let verdict = store.verify(OTHER, &mut |_| {
        store.discard(OTHER, used_at).unwrap();
        Ok(())
    });
    assert_eq!(verdict.unwrap(), Verdict::Gone);
}

#[test]
fn a_damaged_tree_leaves_the_store_and_mounts_stay() {
    let state = State::new();
    let store = state.open();
    flushed(&store, KEY);
    flushed(&store, OTHER);
    store.put_record(&record("csi-1")).unwrap();
    let (tree, other) = (store.hold(KEY).unwrap(), store.hold(OTHER).unwrap());
    assert_eq!(store.condemn(store.hold(OTHER).unwrap()).unwrap(), Some(true), "held by a publish");
    assert_eq!(store.condemn(other).unwrap(), None);
    assert_eq!(store.condemn(tree).unwrap(), Some(true));
    assert!(store.tree(KEY).is_none() && store.tree(OTHER).is_none());
    let [orphan, held] = [KEY, OTHER].map(|key| format!("{key}.orphan.0"));
    assert_eq!(state.names("trees"), [orphan.clone(), held.clone()]);
    assert_eq!(state.names("staging"), [""; 0]);
    assert_eq!(store.damaged("csi-1").unwrap(), KEY);
    assert_eq!(store.damaged("csi-2"), None);
    // It is pulled again, and the next volume is well.
    flushed(&store, KEY);
    store.put_record(&record("csi-2")).unwrap();
    assert_eq!(store.damaged("csi-1").unwrap(), KEY);
    assert_eq!(store.damaged("csi-2"), None);
    // Its files go with the last of its volumes.
    assert!(state.exists(&format!("trees/{orphan}")));
    store.remove_record("csi-1").unwrap();
    assert_eq!(store.damaged("csi-1"), None);
    assert!(!state.exists(&format!("trees/{orphan}")));
    let lasting = [KEY.to_owned(), format!("{KEY}.json"), format!("{KEY}.sha256")];
    // Of the other nobody was known to show it; the next open knows.
    assert!(state.exists(&format!("trees/{held}")));
    drop(store);
    let store = state.open();
    assert_eq!(state.names("trees"), lasting);
    assert_eq!(verify(&store, KEY), Verdict::Whole);
    // A volume that shows a damaged tree, and a driver that starts again.
    store.condemn(store.hold(KEY).unwrap()).unwrap();
    drop(store);
    let store = state.open();
    assert!(state.exists(&format!("trees/{orphan}")));
    store.remove_record("csi-2").unwrap();
    drop(store);
    // A list without its tree goes.
    fs::write(state.path(&format!("trees/{OTHER}.sha256")), "").unwrap();
    drop(state.open());
    assert_eq!(state.names("trees"), [""; 0]);
    assert_eq!(state.names("quarantine"), [""; 0]);
}

#[test]
fn a_damaged_tree_that_cannot_be_moved_stays() {
    let state = State::new();
    let store = state.open();
    flushed(&store, KEY);
    store.put_record(&record("csi-1")).unwrap();
    // No name is free.
    let trees = state.path("trees");
    let away = state.path("away");
    fs::rename(&trees, &away).unwrap();
    fs::write(&trees, "").unwrap();
    store.condemn(store.hold(KEY).unwrap()).unwrap_err();
    fs::remove_file(&trees).unwrap();
    fs::rename(&away, &trees).unwrap();
    assert!(store.tree(KEY).is_some());
    assert_eq!(verify(&store, KEY), Verdict::Whole);
}

#[test]
fn a_list_is_bounded() {
    let state = State::new();
    let store = state.open();
    let staging = store.stage().unwrap();
    fill(&staging, "hello");
    let name = "d".repeat(250);
    let mut dir = PathBuf::from(format!("/proc/self/fd/{}", fd_number(staging.out_fd())));
    dir.push("0/skill");
    for _ in 0..15 {
        dir.push(&name);
        fs::create_dir(&dir).unwrap();
    }
    for number in 0..2300 {
        fs::write(dir.join(number.to_string()), "").unwrap();
    }
    staging.commit(KEY, info(KEY)).unwrap();
    assert!(store.flush(&[KEY.to_owned()]).is_empty());
    assert_eq!(verify(&store, KEY), Verdict::Unlisted);
    assert_eq!(state.names("trees"), [KEY.to_owned(), format!("{KEY}.json")]);
}
