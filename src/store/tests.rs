use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::artifact::skill::Shape;

mod files;
mod gc;
mod sweep;
mod verify;

const KEY: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const OTHER: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

struct State {
    _dir: TempDir,
    root: PathBuf,
}

impl State {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { root: dir.path().join("state"), _dir: dir }
    }

    fn open(&self) -> Store {
        Store::open(&self.root).unwrap()
    }

    fn error(&self) -> String {
        Store::open(&self.root).unwrap_err().to_string()
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    fn exists(&self, path: &str) -> bool {
        fs::symlink_metadata(self.path(path)).is_ok()
    }

    fn names(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(path)).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// An attribute that anybody may set stands for SELinux', which only the kernel's module handles.
#[test]
fn the_directories_of_trees_are_labelled_and_no_other() {
    let state = State::new();
    let store = state.open();
    let labels = || -> Vec<(String, String)> {
        let mut found = Vec::new();
        for name in state.names("") {
            let mut value = [0; 64];
            let path = state.path(&name);
            if let Ok(length) = rustix::fs::lgetxattr(path, "user.label", &mut value) {
                found.push((name, String::from_utf8(value[..length].to_vec()).unwrap()));
            }
        }
        found
    };
    let expected = |label: &str| -> Vec<(String, String)> {
        ["empty", "staging", "trees"].map(|name| (name.to_owned(), format!("{label}\0"))).into()
    };
    let apply = |label| label::apply_as(&store.shared.layout, "user.label", label);
    assert_eq!(labels(), []);
    for (label, changed) in [("u:r:one_t:s0", true), ("u:r:one_t:s0", false), ("u:r:b_t", true)] {
        assert_eq!(apply(label).unwrap(), changed, "{label}");
        assert_eq!(labels(), expected(label));
    }
    // The kernel knows no such attributes.
    let error = label::apply_as(&store.shared.layout, "nobody.label", "u:r:t").unwrap_err();
    let staging = state.path("staging");
    assert_eq!(error.to_string(), format!("cannot label {} as u:r:t", staging.display()));
}

fn digest(text: &str) -> Digest {
    Digest::sha256(text.as_bytes())
}

const TOTALS: Totals = Totals { files: 1, bytes: 5, inodes: 3 };

fn info(key: &str) -> TreeInfo {
    TreeInfo {
        key: key.into(),
        format: "image".into(),
        shape: Shape::Single,
        skills: vec![SkillInfo { name: "skill".into(), description: None, totals: TOTALS }],
        repository: None,
        layers: vec![digest("layer")],
        totals: TOTALS,
        warnings: vec!["odd".into()],
        created_at: 1,
    }
}

/// Writes `out/0/skill/SKILL.md` through the staging's descriptor, and a leftover into `tree`.
fn fill(staging: &Staging, content: &str) {
    let out = PathBuf::from(format!("/proc/self/fd/{}", fd_number(staging.out_fd())));
    fs::create_dir_all(out.join("0/skill")).unwrap();
    fs::write(out.join("0/skill/SKILL.md"), content).unwrap();
    let tree = PathBuf::from(format!("/proc/self/fd/{}", fd_number(staging.tree_fd())));
    fs::create_dir_all(tree.join("left/over")).unwrap();
}

fn fd_number(fd: std::os::fd::BorrowedFd<'_>) -> i32 {
    std::os::fd::AsRawFd::as_raw_fd(&fd)
}

fn commit(store: &Store, key: &str) -> Arc<StoredTree> {
    let staging = store.stage().unwrap();
    fill(&staging, "hello");
    staging.commit(key, info(key)).unwrap()
}

fn record(volume_id: &str) -> Record {
    Record {
        version: RECORD_VERSION,
        volume_id: volume_id.into(),
        target: "/var/lib/kubelet/pods/x/mount".into(),
        state: RecordState::Published,
        references: vec![RecordedReference {
            reference: "ghcr.io/acme/skill:v1".parse().unwrap(),
            digest: digest("manifest"),
        }],
        skills: vec!["code-review".into()],
        trees: vec![KEY.into()],
        totals: TOTALS,
        seal: Seal::Overlay,
        read_only: true,
        mount: None,
        pod: Pod { name: "pod".into(), ..Pod::default() },
        published_at: 7,
        warnings: vec![],
        damaged: None,
    }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_new_directory_is_laid_out() {
    let state = State::new();
    let store = state.open();
    assert_eq!(store.root(), state.root);
    assert_eq!(fs::read_to_string(state.path("format")).unwrap(), "1\n");
    for (path, expected) in [
        ("", 0o700),
        ("trees", 0o700),
        ("staging", 0o700),
        ("volumes", 0o700),
        ("empty", 0o755),
        ("salt", 0o600),
        ("lock", 0o600),
    ] {
        assert_eq!(mode(&state.path(path)), expected, "{path}");
    }
    assert_eq!(store.empty(), state.path("empty"));
    fs::write(state.path("empty/x"), "").unwrap();
    drop(store);
    assert!(state.error().ends_with("/empty must be empty but holds \"x\"; remove that"));
}

#[test]
fn a_second_instance_is_refused() {
    let state = State::new();
    let first = state.open();
    assert!(state.error().contains("another skillmount uses this state directory"));
    // A staging keeps the directory too: it still writes there.
    let staging = first.stage().unwrap();
    drop(first);
    assert!(matches!(Store::open(&state.root), Err(OpenError::Locked { .. })));
    drop(staging);
    state.open();
}

#[test]
fn only_known_formats_are_opened() {
    let state = State::new();
    drop(state.open());
    for (text, expected) in [
        ("2\n", "says layout version 2, and this skillmount knows versions up to 1"),
        ("0", "holds \"0\", which is no layout version"),
        ("", "holds \"\", which is no layout version"),
        ("1.0", "holds \"1.0\", which is no layout version"),
        ("\u{0}\u{ff}", "which is no layout version"),
    ] {
        fs::write(state.path("format"), text).unwrap();
        assert!(state.error().contains(expected), "{text}: {}", state.error());
    }
    fs::write(state.path("format"), "1").unwrap();
    state.open();
}

#[test]
fn somebody_elses_directory_is_left_alone() {
    let state = State::new();
    fs::create_dir_all(state.path("staging/precious")).unwrap();
    fs::set_permissions(&state.root, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(state.error().contains("is no state directory: it has no file `format` but holds"));
    assert_eq!(state.names(""), ["staging"]);
    assert_eq!(mode(&state.root), 0o755);
    // What a start that was cut short leaves, and a file system's own directory, are fine.
    fs::remove_dir(state.path("staging/precious")).unwrap();
    fs::remove_dir(state.path("staging")).unwrap();
    fs::create_dir(state.path("lost+found")).unwrap();
    fs::write(state.path("lock"), "").unwrap();
    fs::write(state.path(".tmp-1-0"), "").unwrap();
    state.open();
    assert!(!state.exists(".tmp-1-0"));
}

#[test]
fn a_tree_is_committed_once_and_found_again() {
    let state = State::new();
    let store = state.open();
    assert!(store.tree(KEY).is_none());
    let tree = commit(&store, KEY);
    assert_eq!(tree.nested(0), state.path(&format!("trees/{KEY}/0")));
    assert_eq!(tree.flat(0), state.path(&format!("trees/{KEY}/0/skill")));
    assert_eq!(fs::read_to_string(tree.flat(0).join("SKILL.md")).unwrap(), "hello");
    assert_eq!(mode(&state.path(&format!("trees/{KEY}"))), 0o755);
    assert_eq!(state.names("staging"), [""; 0]);
    // A second commit returns the first tree and leaves nothing.
    let inode = fs::metadata(tree.flat(0)).unwrap().ino();
    let staging = store.stage().unwrap();
    fill(&staging, "other");
    assert!(Arc::ptr_eq(&staging.commit(KEY, info(KEY)).unwrap(), &tree));
    assert_eq!(fs::metadata(tree.flat(0)).unwrap().ino(), inode);
    assert_eq!(state.names("staging"), [""; 0]);
    drop((store, tree));
    let store = state.open();
    assert_eq!(store.tree(KEY).unwrap().info, info(KEY));
    let info = TreeInfo { shape: Shape::Raw, ..info(KEY) };
    let raw = StoredTree::new(info, "/t".into(), false, SystemTime::now());
    assert_eq!(raw.flat(0), Path::new("/t/root"));
}

#[test]
fn keys_and_names_are_no_paths() {
    let state = State::new();
    let store = state.open();
    let upper = KEY.to_uppercase();
    for key in ["", "..", "../../../../tmp/x", &KEY[1..], upper.as_str(), &format!("{KEY}/")] {
        let error = store.stage().unwrap().commit(key, info(key)).unwrap_err();
        assert!(matches!(error, CommitError::Key(_)), "{key}");
        assert!(store.tree(key).is_none());
    }
    for name in ["", ".", "..", "a/b", "a\0b", &"x".repeat(256)] {
        let mut info = info(KEY);
        info.skills[0].name = name.into();
        let error = store.stage().unwrap().commit(KEY, info).unwrap_err();
        assert!(matches!(error, CommitError::Name { .. }), "{name}");
    }
    assert_eq!(state.names("trees"), [""; 0]);
    assert_eq!(state.names("staging"), [""; 0]);
}

#[test]
fn racing_commits_make_one_tree() {
    let state = State::new();
    let store = state.open();
    for round in 0..20 {
        let key = format!("{round:064x}");
        let barrier = std::sync::Barrier::new(2);
        let race = |content: &str| {
            let staging = store.stage().unwrap();
            fill(&staging, content);
            barrier.wait();
            staging.commit(&key, info(&key)).unwrap()
        };
        let (one, two) = std::thread::scope(|scope| {
            let one = scope.spawn(|| race("one"));
            let two = scope.spawn(|| race("two"));
            (one.join().unwrap(), two.join().unwrap())
        });
        assert!(Arc::ptr_eq(&one, &two));
    }
    assert_eq!(state.names("trees").len(), 40);
    assert_eq!(state.names("staging"), [""; 0]);
}

#[test]
fn a_failed_commit_leaves_nothing() {
    let state = State::new();
    let store = state.open();
    // The description cannot replace a directory.
    fs::create_dir_all(state.path(&format!("trees/{KEY}.json/x"))).unwrap();
    let staging = store.stage().unwrap();
    fill(&staging, "x");
    let error = staging.commit(KEY, info(KEY)).unwrap_err();
    assert!(matches!(error, CommitError::Describe(FileError::Write { .. })), "{error:?}");
    assert!(!error.is_full());
    assert!(store.tree(KEY).is_none());
    assert_eq!(state.names("trees"), [format!("{KEY}.json")]);
    assert_eq!(state.names("staging"), [""; 0]);
    // And a directory that was left behind is no obstacle.
    fs::remove_dir(state.path(&format!("trees/{KEY}.json/x"))).unwrap();
    fs::remove_dir(state.path(&format!("trees/{KEY}.json"))).unwrap();
    fs::create_dir_all(state.path(&format!("trees/{KEY}/stale/x"))).unwrap();
    commit(&store, KEY);
    assert_eq!(state.names(&format!("trees/{KEY}")), ["0"]);
    assert_eq!(state.names("staging"), [""; 0]);
}

#[test]
fn full_disks_are_recognised() {
    for (code, expected) in [(libc::ENOSPC, true), (libc::EDQUOT, true), (libc::EIO, false)] {
        let source = || io::Error::from_raw_os_error(code);
        let path = || PathBuf::from("/x");
        let file = || FileError::Write { path: path(), source: source() };
        assert_eq!(file().is_full(), expected);
        assert_eq!(OpenError::File(file()).is_full(), expected);
        assert_eq!(OpenError::Prepare { path: path(), source: source() }.is_full(), expected);
        assert_eq!(CommitError::Describe(file()).is_full(), expected);
        assert_eq!(CommitError::Move { path: path(), source: source() }.is_full(), expected);
        assert_eq!(FlushError::Sync { path: path(), source: source() }.is_full(), expected);
    }
}

#[test]
fn what_a_crash_leaves_is_removed_at_open() {
    let state = State::new();
    let store = state.open();
    commit(&store, KEY);
    commit(&store, OTHER);
    drop(store);
    // A directory alone, a description alone, staging, temporary files, what nobody knows.
    fs::remove_file(state.path(&format!("trees/{KEY}.json"))).unwrap();
    let alone = format!("{:064x}", 1);
    fs::copy(
        state.path(&format!("trees/{OTHER}.json")),
        state.path(&format!("trees/{alone}.json")),
    )
    .unwrap();
    let mut description: serde_json::Value =
        serde_json::from_slice(&fs::read(state.path(&format!("trees/{OTHER}.json"))).unwrap())
            .unwrap();
    description["tree"]["key"] = alone.clone().into();
    fs::write(state.path(&format!("trees/{alone}.json")), description.to_string()).unwrap();
    fs::create_dir_all(state.path("staging/7/tree/a/b")).unwrap();
    for dir in ["trees", "grants", "references", "volumes", "manifests"] {
        fs::write(state.path(&format!("{dir}/.tmp-1-1")), "{").unwrap();
    }
    fs::write(state.path("trees/strange"), "").unwrap();
    let store = state.open();
    assert!(store.tree(KEY).is_none() && store.tree(&alone).is_none());
    assert!(store.tree(OTHER).is_some());
    assert_eq!(state.names("trees"), [OTHER.to_owned(), format!("{OTHER}.json")]);
    assert_eq!(state.names("staging"), [""; 0]);
    for dir in ["grants", "references", "volumes", "manifests"] {
        assert_eq!(state.names(dir), [""; 0], "{dir}");
    }
    let quarantine = state.names("quarantine");
    assert!(quarantine.len() == 1 && quarantine[0].ends_with("-strange"), "{quarantine:?}");
}

#[test]
fn a_mounted_tree_outlives_its_description() {
    let state = State::new();
    let store = state.open();
    let tree = commit(&store, KEY);
    let inode = fs::metadata(tree.flat(0)).unwrap().ino();
    store.put_record(&record("v1")).unwrap();
    drop((store, tree));
    fs::write(state.path(&format!("trees/{KEY}.json")), "garbage").unwrap();
    let store = state.open();
    assert!(store.tree(KEY).is_none());
    let aside = format!("trees/{KEY}.orphan.0");
    assert_eq!(fs::metadata(state.path(&aside).join("0/skill")).unwrap().ino(), inode);
    // The key is free again; the old files go with the volume.
    commit(&store, KEY);
    drop(store);
    let store = state.open();
    assert!(state.exists(&aside) && store.tree(KEY).is_some());
    store.remove_record("v1").unwrap();
    drop(store);
    let store = state.open();
    assert!(!state.exists(&aside) && store.tree(KEY).is_some());
}

#[test]
fn unflushed_trees_do_not_outlive_the_boot() {
    let state = State::new();
    let open = |boot: &str| Store::open_in_boot(&state.root, boot.into()).unwrap();
    let store = open("boot-1");
    assert_eq!(store.boot_id(), "boot-1");
    commit(&store, KEY);
    commit(&store, OTHER);
    assert_eq!(store.unflushed(), [KEY, OTHER]);
    assert!(store.flush(&[OTHER.to_owned()]).is_empty());
    assert!(store.flush(&[OTHER.to_owned()]).is_empty());
    let failed = store.flush(&["x".to_owned()]);
    assert!(matches!(failed.as_slice(), [(key, FlushError::Unknown(_))] if key == "x"));
    assert_eq!(store.unflushed(), [KEY]);
    drop(store);
    // A restart in the same boot keeps both, and still knows which is not flushed.
    let store = open("boot-1");
    assert_eq!(store.unflushed(), [KEY]);
    assert!(store.tree(OTHER).unwrap().is_durable());
    drop(store);
    let store = open("boot-2");
    assert!(store.tree(KEY).is_none() && store.tree(OTHER).is_some());
    assert_eq!(
        state.names("trees"),
        [OTHER.to_owned(), format!("{OTHER}.json"), format!("{OTHER}.sha256")]
    );
}
