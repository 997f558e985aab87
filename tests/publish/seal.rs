//! Nothing that a container can do changes a file that other pods see.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::*;

const NONE: Option<&str> = None;

fn errno(error: &io::Error) -> nix::Error {
    nix::Error::from_raw(error.raw_os_error().unwrap())
}

/// Every way to change something of a skill that a program in a container has.
fn changes(root: &Path) -> Vec<(&'static str, io::Result<()>)> {
    let (file, directory) = (root.join("SKILL.md"), root.join("references"));
    let epoch = std::time::UNIX_EPOCH;
    vec![
        ("write", fs::write(&file, "changed")),
        ("append", fs::OpenOptions::new().append(true).open(&file).map(drop)),
        ("create", fs::write(root.join("new"), "new")),
        ("create below", fs::write(directory.join("new"), "new")),
        ("delete", fs::remove_file(&file)),
        ("delete below", fs::remove_file(directory.join("REFERENCE.md"))),
        ("rename", fs::rename(&file, root.join("new"))),
        ("make a directory", fs::create_dir(root.join("new"))),
        ("make a link", std::os::unix::fs::symlink("/etc/passwd", root.join("new"))),
        ("make a hard link", fs::hard_link(&file, root.join("new"))),
        ("chmod", fs::set_permissions(&file, fs::Permissions::from_mode(0o777))),
        ("chmod the root", fs::set_permissions(root, fs::Permissions::from_mode(0o777))),
        ("chown", std::os::unix::fs::chown(&file, Some(0), Some(0))),
        ("touch", fs::File::open(&file).and_then(|file| file.set_modified(epoch))),
    ]
}

/// What a container runtime does with a `volumeMount` that does not say `readOnly`, in a mount
/// namespace of its own: bind the volume into the container's root, and remount that writable.
fn in_a_container(volume: &Path, rootfs: &Path) {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE).unwrap();
    mount(Some(volume), rootfs, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE).unwrap();
    mount(NONE, rootfs, NONE, MsFlags::MS_BIND | MsFlags::MS_REMOUNT, NONE).unwrap();

    // The remount took: it is not the mount that keeps the files as they are.
    let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let place = format!(" {} ", rootfs.display());
    let line = table.lines().find(|line| line.contains(&place)).unwrap();
    assert!(line.split(&place).nth(1).unwrap().starts_with("rw"), "{line}");

    for (change, outcome) in changes(rootfs) {
        let error = outcome.expect_err(change);
        assert_eq!(errno(&error), nix::Error::EROFS, "{change}");
    }
    // Neither can a remount of the superblock make it writable.
    let error = mount(NONE, rootfs, NONE, MsFlags::MS_REMOUNT, NONE).unwrap_err();
    assert_eq!(error, nix::Error::EROFS);
}

#[test]
fn a_container_style_read_write_remount_of_a_published_volume_cannot_change_a_file() {
    let name =
        "seal::a_container_style_read_write_remount_of_a_published_volume_cannot_change_a_file";
    run(name, async {
        let (registry, driver) = start(Options::default()).await;
        let reference = registry.reference("team/code-review", "v1");
        let other = driver.volume("other", &reference);
        driver.publish(&other).await.unwrap();
        for read_only in [true, false] {
            let volume = driver.volume(&format!("csi-{read_only}"), &reference);
            let volume = volume.read_only(read_only);
            driver.publish(&volume).await.unwrap();
            let before = (tree::listing(&volume.target), tree::contents(&volume.target));
            let rootfs = driver.root.join(format!("rootfs-{read_only}"));
            fs::create_dir(&rootfs).unwrap();
            let (target, container) = (volume.target.clone(), rootfs.clone());
            // The namespace is the thread's, and goes with it.
            std::thread::spawn(move || in_a_container(&target, &container)).join().unwrap();
            assert_eq!(names(&rootfs), [""; 0], "nothing of it reaches the node");
            for volume in [&volume, &other] {
                let now = (tree::listing(&volume.target), tree::contents(&volume.target));
                assert_eq!(now, before, "{}", volume.id);
            }
            driver.unpublish(&volume).await.unwrap();
        }
        driver.unpublish(&other).await.unwrap();
        assert_clean(&driver.root);
    });
}

#[test]
fn the_mounts_say_what_they_are() {
    run("seal::the_mounts_say_what_they_are", async {
        let (registry, driver) = start(Options::default()).await;
        let reference = registry.reference("team/code-review", "v1");
        for (id, attributes, expected) in [
            ("plain", vec![], ("overlay", "skillmount", "ro,nosuid,nodev")),
            (
                "noexec",
                vec![("noexec", "true")],
                ("overlay", "skillmount", "ro,nosuid,nodev,noexec"),
            ),
            ("bind", vec![("seal", "bind")], ("tmpfs", "scratch", "ro,nosuid,nodev")),
            (
                "both",
                vec![("seal", "bind"), ("noexec", "true")],
                ("tmpfs", "scratch", "ro,nosuid,nodev,noexec"),
            ),
        ] {
            let mut volume = driver.volume(id, &reference);
            for (key, value) in &attributes {
                volume = volume.attribute(key, value);
            }
            driver.publish(&volume).await.unwrap();
            let found = &mounts(&driver.root)[0];
            let options: Vec<_> =
                found.options.split(',').filter(|o| !o.ends_with("atime")).collect();
            assert_eq!(
                (found.fs_type.as_str(), found.source.as_str(), options.join(",").as_str()),
                expected,
                "{id}"
            );
            assert_eq!(tree::listing(&volume.target), skills::code_review().listing());
            let script = Command::new(volume.target.join("scripts/run.sh")).output();
            match attributes.contains(&("noexec", "true")) {
                false => assert_eq!(script.unwrap().stdout, b"hi\n"),
                true => assert_eq!(errno(&script.unwrap_err()), nix::Error::EACCES),
            }
            driver.unpublish(&volume).await.unwrap();
        }
        assert_clean(&driver.root);
    });
}

#[test]
fn without_overlays_a_bind_serves_volumes_that_are_read_only() {
    run("seal::without_overlays_a_bind_serves_volumes_that_are_read_only", async {
        let registry = Registry::start(Options::default());
        artifacts::skillimage(&registry, "team/code-review", "v1", &skills::code_review());
        artifacts::skillimage(&registry, "team/docs-writer", "v1", &skills::docs_writer());
        let driver = Driver::start(&namespace::scratch(), NoOverlay::setup()).await;
        let reference = registry.reference("team/code-review", "v1");
        let volume = driver.volume("csi-1", &reference);
        driver.publish(&volume).await.unwrap();
        assert_eq!(tree::listing(&volume.target), skills::code_review().listing());
        assert_eq!(mounts(&driver.root)[0].fs_type, "tmpfs");
        assert_eq!(
            errno(&fs::write(volume.target.join("SKILL.md"), "x").unwrap_err()),
            nix::Error::EROFS
        );
        driver.publish(&volume).await.unwrap();
        driver.unpublish(&volume).await.unwrap();

        let two = format!("{reference} {}", registry.reference("team/docs-writer", "v1"));
        assert_eq!(
            refused(driver.publish(&driver.volume("csi-2", &two)).await).0,
            Code::FailedPrecondition
        );
        let writable = driver.volume("csi-3", &reference).read_only(false);
        assert_eq!(refused(driver.publish(&writable).await).0, Code::FailedPrecondition);
        assert_clean(&driver.root);
    });
}
