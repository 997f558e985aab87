//! Nothing that a container can do changes a file that other pods see.

use nix::mount::{MsFlags, mount};
use std::io;
use std::process::Command;

use super::*;

const NONE: Option<&str> = None;

fn errno(error: &io::Error) -> nix::Error {
    nix::Error::from_raw(error.raw_os_error().unwrap())
}

#[test]
fn a_read_write_remount_of_a_published_volume_cannot_change_a_file() {
    run("seal::a_read_write_remount_of_a_published_volume_cannot_change_a_file", async {
        let (registry, driver) = start(Options::default()).await;
        let reference = registry.reference("team/code-review", "v1");
        for read_only in [true, false] {
            let volume = driver.volume(&format!("csi-{read_only}"), &reference);
            let volume = volume.read_only(read_only);
            driver.publish(&volume).await.unwrap();
            let before = tree::contents(&volume.target);
            // What a container runtime does with a volumeMount without readOnly.
            let rootfs = driver.root.join(format!("rootfs-{read_only}"));
            fs::create_dir(&rootfs).unwrap();
            mount(Some(&volume.target), &rootfs, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE)
                .unwrap();
            let rw = MsFlags::MS_BIND | MsFlags::MS_REMOUNT;
            mount(NONE, &rootfs, NONE, rw, NONE).unwrap();
            for outcome in [
                fs::write(rootfs.join("SKILL.md"), "changed"),
                fs::write(rootfs.join("new"), "new"),
                fs::remove_file(rootfs.join("SKILL.md")),
                fs::set_permissions(
                    rootfs.join("SKILL.md"),
                    std::os::unix::fs::PermissionsExt::from_mode(0o777),
                ),
                fs::create_dir(rootfs.join("directory")),
            ] {
                assert_eq!(errno(&outcome.unwrap_err()), nix::Error::EROFS);
            }
            // Neither can a remount of the superblock change that.
            let error = mount(NONE, &rootfs, NONE, MsFlags::MS_REMOUNT, NONE).unwrap_err();
            assert_eq!(error, nix::Error::EROFS);
            assert_eq!(tree::contents(&volume.target), before);
            nix::mount::umount(&rootfs).unwrap();
            driver.unpublish(&volume).await.unwrap();
        }
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
