//! Mounts in a real kernel, by both APIs, as root and in an unprivileged user namespace.

#![allow(clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

#[path = "support/namespace.rs"]
mod namespace;

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use namespace::{in_namespace, in_nested_namespace, scratch, scratch_path};
use nix::mount::{MsFlags, mount};
use nix::sys::statvfs::{FsFlags, statvfs};
use skillmount::mount::{
    Api, KernelMounter, MAX_STACKED, MountError, MountOptions, Mounter, SOURCE, identity,
};

const BOTH: [Api; 2] = [Api::New, Api::Classic];
const PLAIN: MountOptions = MountOptions { noexec: false };
const NOEXEC: MountOptions = MountOptions { noexec: true };
const NONE: Option<&str> = None;

/// Runs `body` with each API on directories of its own, in one namespace.
fn with_both(test: &str, body: impl Fn(KernelMounter, &Path)) {
    in_namespace(test, || {
        let root = scratch();
        for api in BOTH {
            println!("{test}: {api:?}");
            let root = root.join(format!("{api:?}"));
            fs::create_dir(&root).unwrap();
            body(KernelMounter::with_api(api), &root);
        }
    });
}

fn directory(path: PathBuf) -> PathBuf {
    fs::create_dir_all(&path).unwrap();
    path
}

/// A directory `name` with one file, named and filled as given.
fn tree(root: &Path, name: &str, file: &str, content: &str) -> PathBuf {
    let path = directory(root.join(name));
    fs::write(path.join(file), content).unwrap();
    path
}

fn raw(error: &io::Error) -> nix::Error {
    nix::Error::from_raw(error.raw_os_error().unwrap())
}

fn write_error(path: &Path) -> nix::Error {
    raw(&fs::write(path, "changed").unwrap_err())
}

fn flags(path: &Path) -> FsFlags {
    statvfs(path).unwrap().flags()
}

fn chain(error: &dyn std::error::Error) -> String {
    let source = error.source().map(|source| format!(": {}", chain(source)));
    format!("{error}{}", source.unwrap_or_default())
}

#[test]
fn a_seal_shows_its_directories_as_one() {
    with_both("a_seal_shows_its_directories_as_one", |mounter, root| {
        let upper = tree(root, "upper", "same", "from upper");
        let lower = tree(root, "lower", "same", "from lower");
        tree(&lower, "skill", "SKILL.md", "text");
        let target = directory(root.join("target"));
        mounter.seal(&[upper, lower], &target, PLAIN).unwrap();
        assert_eq!(fs::read_to_string(target.join("same")).unwrap(), "from upper");
        assert_eq!(fs::read_to_string(target.join("skill/SKILL.md")).unwrap(), "text");
        assert_eq!(mounter.unmount(&target).unwrap(), 1);
        assert_eq!(fs::read_dir(&target).unwrap().count(), 0);
    });
}

#[test]
fn a_seal_cannot_be_written() {
    with_both("a_seal_cannot_be_written", |mounter, root| {
        let skill = tree(root, "skill", "SKILL.md", "text");
        let target = directory(root.join("target"));
        mounter.seal(&[skill.clone(), directory(root.join("empty"))], &target, PLAIN).unwrap();
        let erofs = nix::Error::EROFS;
        assert_eq!(write_error(&target.join("SKILL.md")), erofs);
        assert_eq!(write_error(&target.join("new")), erofs);
        assert_eq!(raw(&fs::remove_file(target.join("SKILL.md")).unwrap_err()), erofs);
        assert_eq!(raw(&fs::create_dir(target.join("new")).unwrap_err()), erofs);
        let mode = fs::Permissions::from_mode(0o777);
        assert_eq!(raw(&fs::set_permissions(target.join("SKILL.md"), mode).unwrap_err()), erofs);
        assert_eq!(fs::read_to_string(skill.join("SKILL.md")).unwrap(), "text");
        assert!(flags(&target).contains(FsFlags::ST_RDONLY | FsFlags::ST_NOSUID));
        let mounts = mounter.mounts().unwrap();
        let found = mounts.iter().find(|mount| mount.mount_point == target).unwrap();
        assert!(found.super_options.starts_with("ro,"), "{found:?}");
        assert!(found.options.starts_with("ro,nosuid,nodev"), "{found:?}");
    });
}

/// What a container runtime does with a volume whose mount in the pod does not say `readOnly`.
fn remount_read_write_elsewhere(target: &Path, elsewhere: &Path) -> nix::Result<()> {
    mount(Some(target), elsewhere, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE).unwrap();
    mount(NONE, elsewhere, NONE, MsFlags::MS_REMOUNT | MsFlags::MS_BIND, NONE)
}

#[test]
fn a_read_write_remount_of_a_sealed_volume_cannot_change_a_file() {
    with_both("a_read_write_remount_of_a_sealed_volume_cannot_change_a_file", |mounter, root| {
        let skill = tree(root, "skill", "SKILL.md", "text");
        let target = directory(root.join("target"));
        let container = directory(root.join("container"));
        mounter.seal(&[skill.clone(), directory(root.join("empty"))], &target, PLAIN).unwrap();
        remount_read_write_elsewhere(&target, &container).unwrap();
        let mounts = mounter.mounts().unwrap();
        let remounted = mounts.iter().find(|mount| mount.mount_point == container).unwrap();
        assert!(remounted.options.starts_with("rw"), "the remount took place: {remounted:?}");
        assert_eq!(write_error(&container.join("SKILL.md")), nix::Error::EROFS);
        assert_eq!(write_error(&container.join("new")), nix::Error::EROFS);
        // Nor does a remount of the superblock help: there is no upper directory to write to.
        let _refused = mount(NONE, &container, NONE, MsFlags::MS_REMOUNT, NONE);
        assert_eq!(write_error(&container.join("SKILL.md")), nix::Error::EROFS);
        assert_eq!(fs::read_to_string(skill.join("SKILL.md")).unwrap(), "text");
    });
}

/// Why the seal exists: the same remount, of a volume that is only bound.
#[test]
fn a_read_write_remount_of_a_bound_volume_changes_a_file() {
    with_both("a_read_write_remount_of_a_bound_volume_changes_a_file", |mounter, root| {
        let skill = tree(root, "skill", "SKILL.md", "text");
        let target = directory(root.join("target"));
        let container = directory(root.join("container"));
        mounter.bind(&skill, &target, PLAIN).unwrap();
        assert_eq!(write_error(&target.join("SKILL.md")), nix::Error::EROFS);
        remount_read_write_elsewhere(&target, &container).unwrap();
        fs::write(container.join("SKILL.md"), "changed").unwrap();
        assert_eq!(fs::read_to_string(skill.join("SKILL.md")).unwrap(), "changed");
        assert_eq!(fs::read_to_string(target.join("SKILL.md")).unwrap(), "changed");
    });
}

#[test]
fn a_user_namespace_locks_what_is_bound_and_binds_what_is_locked() {
    let here = || scratch_path().join("locked");
    let prepare = || {
        let root = scratch();
        tree(&root, "locked", "SKILL.md", "text");
        let locked = root.join("locked");
        mount(Some(&locked), &locked, NONE, MsFlags::MS_BIND, NONE).unwrap();
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(NONE, &locked, NONE, MsFlags::MS_REMOUNT | MsFlags::MS_BIND | flags, NONE).unwrap();
        fs::create_dir(root.join("bound")).unwrap();
        KernelMounter::detect().bind(&locked, &root.join("bound"), PLAIN).unwrap();
    };
    in_nested_namespace(
        "a_user_namespace_locks_what_is_bound_and_binds_what_is_locked",
        prepare,
        || {
            let root = scratch_path();
            let locked = FsFlags::ST_NOSUID | FsFlags::ST_NODEV | FsFlags::ST_NOEXEC;
            for api in BOTH {
                let mounter = KernelMounter::with_api(api);
                let target = directory(root.join(format!("{api:?}")));
                mounter.bind(&here(), &target, PLAIN).unwrap();
                assert!(flags(&target).contains(locked | FsFlags::ST_RDONLY), "{api:?}");
                let container = directory(root.join(format!("container-{api:?}")));
                let bound = root.join("bound");
                let refused = remount_read_write_elsewhere(&bound, &container);
                assert_eq!(refused, Err(nix::Error::EPERM));
                // A mount of the namespace above cannot be taken away, and that is an error.
                let error = mounter.unmount(&bound).unwrap_err();
                assert!(matches!(error, MountError::Locked { .. }), "{error:?}");
                assert!(mounter.is_mount_point(&bound).unwrap());
            }
        },
    );
}

#[test]
fn mounts_have_the_flags_asked_for() {
    with_both("mounts_have_the_flags_asked_for", |mounter, root| {
        let skill = tree(root, "skill", "run", "#!/bin/sh\nexit 7\n");
        fs::set_permissions(skill.join("run"), fs::Permissions::from_mode(0o755)).unwrap();
        let lowers = [skill.clone(), directory(root.join("empty"))];
        let target = directory(root.join("target"));
        let base = FsFlags::ST_RDONLY | FsFlags::ST_NOSUID | FsFlags::ST_NODEV;
        for sealed in [true, false] {
            for (options, expected) in [(PLAIN, base), (NOEXEC, base | FsFlags::ST_NOEXEC)] {
                if sealed {
                    mounter.seal(&lowers, &target, options).unwrap();
                } else {
                    mounter.bind(&skill, &target, options).unwrap();
                }
                let asked = base | FsFlags::ST_NOEXEC;
                assert_eq!(flags(&target) & asked, expected, "sealed {sealed} {options:?}");
                let run = Command::new(target.join("run")).status();
                if options.noexec {
                    assert_eq!(raw(&run.unwrap_err()), nix::Error::EACCES);
                } else {
                    assert_eq!(run.unwrap().code(), Some(7));
                }
                assert_eq!(mounter.unmount(&target).unwrap(), 1);
            }
        }
        // Only the mount is restricted, not the directory that it shows.
        fs::write(skill.join("run"), "").unwrap();
    });
}

#[test]
fn any_name_can_be_sealed() {
    with_both("any_name_can_be_sealed", |mounter, root| {
        for name in ["a:b", "a,b", r"a\b", "a b", r"\", ":", "a\\:b,c d", "tab\tnewline\n#é\u{1}"]
        {
            let skill = tree(&root.join(name), "skill", "SKILL.md", name);
            let other = tree(&root.join(name), "other:", "other", name);
            let target = directory(root.join(name).join(name));
            mounter.seal(&[skill, other], &target, PLAIN).unwrap();
            assert_eq!(fs::read_to_string(target.join("SKILL.md")).unwrap(), name);
            assert_eq!(fs::read_to_string(target.join("other")).unwrap(), name);
            assert!(mounter.mounts().unwrap().iter().any(|mount| mount.mount_point == target));
            assert_eq!(mounter.unmount(&target).unwrap(), 1, "{name:?}");
        }
        std::env::set_current_dir(root).unwrap();
        let [upper, lower] = ["a b/skill", "a b/other:"].map(PathBuf::from);
        let target = Path::new("a b/a b");
        mounter.seal(&[upper, lower], target, PLAIN).unwrap();
        assert_eq!(fs::read_to_string(root.join(target).join("SKILL.md")).unwrap(), "a b");
        assert_eq!(mounter.unmount(target).unwrap(), 1);
    });
}

#[test]
fn many_directories_with_long_paths_are_sealed() {
    with_both("many_directories_with_long_paths_are_sealed", |mounter, root| {
        let long = "x".repeat(200);
        let deep = root.join(&long).join(&long).join(&long);
        let target = directory(root.join("target"));
        let before = std::env::current_dir().unwrap();
        for count in [2_usize, 10, 100, 500] {
            let lowers: Vec<PathBuf> = (0..count)
                .map(|index| tree(&deep, &index.to_string(), &format!("file-{index}"), ""))
                .collect();
            mounter.seal(&lowers, &target, PLAIN).unwrap();
            assert_eq!(fs::read_dir(&target).unwrap().count(), count);
            assert_eq!(write_error(&target.join("file-0")), nix::Error::EROFS);
            // mountinfo has a line of over 100 KiB now.
            assert!(mounter.mounts().unwrap().iter().any(|mount| mount.mount_point == target));
            assert_eq!(mounter.unmount(&target).unwrap(), 1);
        }
        assert_eq!(std::env::current_dir().unwrap(), before);
        for (count, expected) in [(501, "at most 500"), (1, "at least 2"), (0, "at least 2")] {
            let error = mounter.seal(&vec![deep.clone(); count], &target, PLAIN).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    });
}

#[test]
fn plain_paths_show_in_the_mount_table() {
    with_both("plain_paths_show_in_the_mount_table", |mounter, root| {
        let skill = tree(root, "skill", "SKILL.md", "text");
        let empty = directory(root.join("empty"));
        let target = directory(root.join("target"));
        mounter.seal(&[skill.clone(), empty.clone()], &target, PLAIN).unwrap();
        let mounts = mounter.mounts().unwrap();
        let found = mounts.iter().find(|mount| mount.mount_point == target).unwrap();
        assert_eq!((found.source.as_str(), found.fs_type.as_str()), (SOURCE, "overlay"));
        assert!(found.super_options.contains("redirect_dir=nofollow"), "{found:?}");
        for path in [skill, empty] {
            assert!(found.super_options.contains(path.to_str().unwrap()), "{found:?}");
        }
        let (device, _) = identity(&target).unwrap();
        let expected = nix::libc::makedev(found.device.0, found.device.1);
        assert_eq!(device, expected);
        assert_ne!(identity(&target).unwrap(), identity(root).unwrap());
    });
}

#[test]
fn all_stacked_mounts_are_unmounted_and_again_is_fine() {
    with_both("all_stacked_mounts_are_unmounted_and_again_is_fine", |mounter, root| {
        let skill = tree(root, "skill", "SKILL.md", "");
        let lowers = [skill.clone(), directory(root.join("empty"))];
        let target = directory(root.join("target"));
        mounter.seal(&lowers, &target, PLAIN).unwrap();
        mounter.bind(&skill, &target, PLAIN).unwrap();
        mounter.seal(&lowers, &target, PLAIN).unwrap();
        assert_eq!(mounter.unmount(&target.join(".")).unwrap(), 3);
        assert_eq!(mounter.unmount(&target).unwrap(), 0);
        assert!(!mounter.is_mount_point(&target).unwrap());
        assert_eq!(mounter.unmount(&root.join("missing")).unwrap(), 0);
        assert_eq!(mounter.unmount(&skill.join("SKILL.md/below-a-file")).unwrap(), 0);
        for _ in 0..=MAX_STACKED {
            mounter.bind(&skill, &target, PLAIN).unwrap();
        }
        let error = mounter.unmount(&target).unwrap_err();
        assert!(matches!(error, MountError::Stacked { .. }), "{error:?}");
        assert_eq!(mounter.unmount(&target).unwrap(), 1);
        fs::remove_dir(&target).unwrap();
    });
}

#[test]
fn a_busy_mount_is_detached() {
    with_both("a_busy_mount_is_detached", |mounter, root| {
        let skill = tree(root, "skill", "SKILL.md", "text");
        let target = directory(root.join("target"));
        mounter.seal(&[skill, directory(root.join("empty"))], &target, PLAIN).unwrap();
        let held = fs::File::open(target.join("SKILL.md")).unwrap();
        assert_eq!(mounter.unmount(&target).unwrap(), 1);
        assert!(!mounter.is_mount_point(&target).unwrap());
        assert_eq!(io::read_to_string(held).unwrap(), "text");
        fs::remove_dir(&target).unwrap();
    });
}

/// The driver's container has kubelet's directory by `mountPropagation: Bidirectional`: what it
/// mounts and unmounts there must come and go on the node too.
#[test]
fn mounts_come_and_go_in_a_peer() {
    with_both("mounts_come_and_go_in_a_peer", |mounter, root| {
        let skill = tree(root, "skill", "SKILL.md", "text");
        let lowers = [skill.clone(), directory(root.join("empty"))];
        let [ours, node] = ["ours", "node"].map(|name| directory(root.join(name)));
        mount(Some(&ours), &ours, NONE, MsFlags::MS_BIND, NONE).unwrap();
        mount(NONE, &ours, NONE, MsFlags::MS_SHARED, NONE).unwrap();
        mount(Some(&ours), &node, NONE, MsFlags::MS_BIND, NONE).unwrap();
        let target = directory(ours.join("target"));
        let seen = node.join("target");
        for sealed in [true, false] {
            if sealed {
                mounter.seal(&lowers, &target, PLAIN).unwrap();
            } else {
                mounter.bind(&skill, &target, PLAIN).unwrap();
            }
            assert_eq!(fs::read_to_string(seen.join("SKILL.md")).unwrap(), "text");
            let expected = FsFlags::ST_RDONLY | FsFlags::ST_NOSUID | FsFlags::ST_NODEV;
            assert!(flags(&seen).contains(expected), "sealed {sealed}: {:?}", flags(&seen));
            assert_eq!(write_error(&seen.join("SKILL.md")), nix::Error::EROFS);
            assert_eq!(mounter.unmount(&target).unwrap(), 1);
            assert!(!mounter.is_mount_point(&seen).unwrap());
        }
    });
}

#[test]
fn volumes_of_one_tree_are_mounted_at_once() {
    with_both("volumes_of_one_tree_are_mounted_at_once", |mounter, root| {
        let skill = tree(root, "skill", "SKILL.md", "text");
        let lowers = [skill.clone(), directory(root.join("empty"))];
        let before = mounter.mounts().unwrap();
        let targets: Vec<PathBuf> =
            (0..16).map(|index| directory(root.join(format!("target-{index}")))).collect();
        std::thread::scope(|scope| {
            for (index, target) in targets.iter().enumerate() {
                let (skill, lowers) = (&skill, &lowers);
                scope.spawn(move || match index % 2 {
                    0 => mounter.seal(lowers, target, PLAIN).unwrap(),
                    _ => mounter.bind(skill, target, PLAIN).unwrap(),
                });
            }
        });
        let mounts = mounter.mounts().unwrap();
        // One each: nothing is left of what the classic bind needs on its way.
        assert_eq!(mounts.len(), before.len() + targets.len());
        assert!(!mounter.is_mount_point(&skill).unwrap());
        for target in &targets {
            assert_eq!(write_error(&target.join("SKILL.md")), nix::Error::EROFS);
            assert_eq!(fs::read_to_string(target.join("SKILL.md")).unwrap(), "text");
            assert_eq!(mounter.unmount(target).unwrap(), 1);
        }
        assert_eq!(mounter.mounts().unwrap(), before);
        // A file cannot be a target; nor does the attempt leave anything.
        let error = mounter.bind(&skill, &skill.join("SKILL.md"), PLAIN).unwrap_err();
        assert!(matches!(error, MountError::Target { .. }), "{error:?}");
        fs::write(skill.join("SKILL.md"), "the tree itself stays writable").unwrap();
        assert_eq!(mounter.mounts().unwrap(), before);
    });
}

#[test]
fn a_symbolic_link_is_never_followed() {
    with_both("a_symbolic_link_is_never_followed", |mounter, root| {
        let skill = tree(root, "skill", "SKILL.md", "");
        let lowers = [skill.clone(), directory(root.join("empty"))];
        let victim = directory(root.join("victim"));
        let link = root.join("link");
        symlink(&victim, &link).unwrap();
        for path in [link.clone(), root.join("link/"), root.join("link/.")] {
            for result in [mounter.seal(&lowers, &path, PLAIN), mounter.bind(&skill, &path, PLAIN)]
            {
                let error = result.unwrap_err();
                assert!(matches!(error, MountError::Target { .. }), "{error:?}");
            }
            assert!(!mounter.is_mount_point(&victim).unwrap());
            mounter.seal(&lowers, &victim, PLAIN).unwrap();
            assert!(!mounter.is_mount_point(&path).unwrap());
            assert_eq!(mounter.unmount(&path).unwrap(), 0);
            assert_ne!(identity(&path).unwrap(), identity(&victim).unwrap());
            assert_eq!(mounter.unmount(&victim).unwrap(), 1);
        }
        let error = mounter.bind(&link, &victim, PLAIN).unwrap_err();
        assert!(matches!(error, MountError::Source { .. }), "{error:?}");
    });
}

#[test]
fn what_is_a_mount_point() {
    with_both("what_is_a_mount_point", |mounter, root| {
        let skill = tree(root, "skill", "SKILL.md", "");
        let target = directory(root.join("target"));
        let cases = [
            (root.to_owned(), false),
            (root.parent().unwrap().to_owned(), true),
            ("/".into(), true),
            ("/proc".into(), true),
            (skill.join("SKILL.md"), false),
            (skill.join("SKILL.md/x"), false),
            (root.join("missing/x"), false),
            (target.clone(), false),
        ];
        for (path, expected) in cases {
            assert_eq!(mounter.is_mount_point(&path).unwrap(), expected, "{path:?}");
        }
        mounter.bind(&skill, &target, PLAIN).unwrap();
        assert!(mounter.is_mount_point(&target).unwrap());
        assert!(mounter.is_mount_point(&target.join(".")).unwrap());
        assert!(!mounter.is_mount_point(&target.join("SKILL.md")).unwrap());
    });
}

#[test]
fn a_refused_overlay_is_told_apart_and_leaves_nothing() {
    with_both("a_refused_overlay_is_told_apart_and_leaves_nothing", |mounter, root| {
        // The kernel stacks two overlays on each other, and refuses the third.
        let empty = directory(root.join("empty"));
        let mut uppermost = tree(root, "skill", "SKILL.md", "");
        for depth in 0..2 {
            let target = directory(root.join(format!("depth-{depth}")));
            mounter.seal(&[uppermost, empty.clone()], &target, PLAIN).unwrap();
            uppermost = target;
        }
        let target = directory(root.join("target"));
        let before = mounter.mounts().unwrap();
        let error = mounter.seal(&[uppermost, empty.clone()], &target, PLAIN).unwrap_err();
        assert!(error.is_overlay_refused(), "{error:?}");
        assert!(error.to_string().contains("dmesg"), "{error}");
        assert_eq!(chain(&error).matches("Invalid argument").count(), 1, "{}", chain(&error));
        // A missing directory is no refusal, and is named.
        let missing = root.join("missing");
        let error = mounter.seal(&[missing.clone(), empty], &target, PLAIN).unwrap_err();
        assert!(!error.is_overlay_refused());
        assert!(chain(&error).contains(missing.to_str().unwrap()), "{}", chain(&error));
        assert_eq!(mounter.mounts().unwrap(), before);
        assert_eq!(fs::read_dir(&target).unwrap().count(), 0);
    });
}

/// An automount point cannot be a lower directory; of this the new API says why.
#[test]
fn a_refusal_has_the_words_of_the_kernel() {
    with_both("a_refusal_has_the_words_of_the_kernel", |mounter, root| {
        let automount = directory(root.join("automount"));
        let (_reader, writer) = io::pipe().unwrap();
        // This process is the automounter, to which the kernel shows the directory as it is.
        let options = format!(
            "fd={},pgrp={},minproto=5,maxproto=5,direct",
            writer.as_raw_fd(),
            nix::unistd::getpgrp()
        );
        let none = MsFlags::empty();
        match mount(Some("test"), &automount, Some("autofs"), none, Some(options.as_str())) {
            // EPERM: autofs cannot be mounted in a user namespace.
            Err(error @ (nix::Error::ENODEV | nix::Error::EPERM)) => {
                return println!("skipped: no autofs to be refused: {error}");
            }
            result => result.unwrap(),
        }
        let target = directory(root.join("target"));
        let lowers = [directory(root.join("empty")), automount];
        let error = mounter.seal(&lowers, &target, PLAIN).unwrap_err();
        assert!(error.is_overlay_refused(), "{error:?}");
        let words = match mounter.api() {
            Api::New => "/automount not supported\"",
            Api::Classic => "dmesg",
        };
        assert!(error.to_string().contains(words), "{error}");
    });
}

#[test]
fn a_mount_comes_without_the_mounts_below_its_source() {
    with_both("a_mount_comes_without_the_mounts_below_its_source", |mounter, root| {
        let skill = tree(root, "skill", "SKILL.md", "");
        let other = tree(root, "other", "other", "");
        mounter.bind(&other, &directory(skill.join("below")), PLAIN).unwrap();
        let target = directory(root.join("target"));
        mounter.bind(&skill, &target, PLAIN).unwrap();
        assert_eq!(fs::read_dir(target.join("below")).unwrap().count(), 0);
    });
}

#[test]
fn without_privilege_the_error_says_what_is_needed() {
    if nix::unistd::geteuid().is_root() {
        println!("skipped: root has the privilege");
        return;
    }
    assert_eq!(KernelMounter::detect().api(), Api::Classic);
    let root = tempfile::tempdir().unwrap();
    let [a, b, target] = ["a", "b", "target"].map(|name| directory(root.path().join(name)));
    for api in BOTH {
        let mounter = KernelMounter::with_api(api);
        let error = mounter.seal(&[a.clone(), b.clone()], &target, PLAIN).unwrap_err();
        assert!(error.is_overlay_refused() && error.to_string().contains("needs CAP_SYS_ADMIN"));
        let error = mounter.bind(&a, &target, PLAIN).unwrap_err();
        assert!(matches!(error, MountError::Bind { .. }), "{error:?}");
        assert!(error.to_string().contains("needs CAP_SYS_ADMIN"), "{error}");
        // Without privilege umount2 says EPERM before it looks.
        let error = mounter.unmount(&target).unwrap_err();
        assert!(error.to_string().contains("needs CAP_SYS_ADMIN"), "{error}");
    }
}

#[test]
fn this_kernel_is_detected_to_have_the_new_api() {
    in_namespace("this_kernel_is_detected_to_have_the_new_api", || {
        assert_eq!(KernelMounter::detect().api(), Api::New);
    });
}

/// Not a test of anything: `cargo test --test mounts -- --ignored --nocapture cost`.
#[test]
#[ignore = "a measurement"]
fn cost() {
    with_both("cost", |mounter, root| {
        let skill = tree(root, "skill", "SKILL.md", "");
        let lowers = [skill.clone(), directory(root.join("empty"))];
        let target = directory(root.join("target"));
        let measure = |name: &str, call: &dyn Fn()| {
            let mut times: Vec<_> = (0..1000)
                .map(|_| {
                    let start = Instant::now();
                    call();
                    start.elapsed()
                })
                .collect();
            times.sort();
            println!("{name}: median {:?}, 99th {:?}", times[500], times[990]);
        };
        measure("seal + unmount", &|| {
            mounter.seal(&lowers, &target, PLAIN).unwrap();
            mounter.unmount(&target).unwrap();
        });
        measure("bind + unmount", &|| {
            mounter.bind(&skill, &target, PLAIN).unwrap();
            mounter.unmount(&target).unwrap();
        });
        measure("is_mount_point", &|| assert!(!mounter.is_mount_point(&target).unwrap()));
    });
}
