use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::mkdirat;

use super::*;

#[test]
fn removal_stays_inside() {
    let dir = tempfile::tempdir().unwrap();
    let outside = dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("precious"), "x").unwrap();
    let inside = dir.path().join("inside");
    fs::create_dir_all(inside.join("a/b/c")).unwrap();
    for link in ["link", "a/link", "a/b/c/link"] {
        symlink(&outside, inside.join(link)).unwrap();
        symlink(outside.join("precious"), inside.join(format!("{link}-file"))).unwrap();
    }
    // Names like those that removal gives to what it moves up.
    fs::create_dir_all(inside.join(".0/x")).unwrap();
    fs::write(inside.join("a/.1"), "").unwrap();
    fs::create_dir_all(inside.join("a/.2/y/z")).unwrap();
    symlink(&outside, dir.path().join("link")).unwrap();
    let fd = fs::File::open(dir.path()).unwrap();
    for name in ["inside", "link", "absent"] {
        remove_tree(fd.as_fd(), OsStr::new(name)).unwrap();
        assert!(fs::symlink_metadata(dir.path().join(name)).is_err(), "{name}");
    }
    assert_eq!(fs::read_to_string(outside.join("precious")).unwrap(), "x");
}

#[test]
fn removal_does_not_mind_depth() {
    let dir = tempfile::tempdir().unwrap();
    let top = fs::File::open(dir.path()).unwrap();
    let mut at = std::os::fd::OwnedFd::from(top.try_clone().unwrap());
    // Deeper than a path can name.
    for _ in 0..2500 {
        mkdirat(&at, "d", Mode::RWXU).unwrap();
        at = openat(&at, "d", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    drop(at);
    remove_tree(top.as_fd(), OsStr::new("d")).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn removal_refuses_another_file_system() {
    // A directory of procfs, named from a descriptor on another file system, through no link.
    let root = fs::File::open("/").unwrap();
    let error = remove_tree(root.as_fd(), OsStr::new("proc")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EXDEV));
}

/// Needs `CAP_SYS_ADMIN`; without it there is nothing to test, as nobody can mount.
#[test]
fn privileged_removal_refuses_a_bind_of_the_same_file_system() {
    let dir = tempfile::tempdir().unwrap();
    for path in ["outside", "below/a/mounted", "top"] {
        fs::create_dir_all(dir.path().join(path)).unwrap();
    }
    let precious = dir.path().join("outside/precious");
    fs::write(&precious, "x").unwrap();
    let bind = |target: &str| {
        let target = dir.path().join(target);
        let outside = dir.path().join("outside");
        mount(Some(&outside), &target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
    };
    let test = || {
        // For this thread alone, and it ends with it.
        if unshare(CloneFlags::CLONE_NEWNS).is_err() {
            return;
        }
        let private = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
        bind("below/a/mounted").unwrap();
        bind("top").unwrap();
        let fd = fs::File::open(dir.path()).unwrap();
        for (name, expected) in [("top", libc::EXDEV), ("below", libc::EBUSY)] {
            let error = remove_tree(fd.as_fd(), OsStr::new(name)).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(expected), "{name}");
        }
    };
    std::thread::scope(|scope| scope.spawn(test).join().unwrap());
    assert_eq!(fs::read_to_string(precious).unwrap(), "x");
}
