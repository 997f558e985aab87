//! Unpublish works whatever it finds, and removes nothing that is not the driver's.

use std::os::unix::fs::symlink;

use nix::mount::{MsFlags, mount};
use skillmount::store::{RecordState, Store};

use super::*;

fn tmpfs(target: &Path) {
    mount(Some("x"), target, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
}

#[test]
fn whatever_is_found_is_cleared() {
    run("unpublish::whatever_is_found_is_cleared", async {
        let (registry, driver) = start(Options::default()).await;
        let reference = registry.reference("team/code-review", "v1");
        let cases: [(&str, bool, fn(&Path)); 7] = [
            ("unknown", false, |_| ()),
            ("unknown, without a parent", false, |t| fs::remove_dir(t.parent().unwrap()).unwrap()),
            ("an empty directory", false, |t| fs::create_dir(t).unwrap()),
            ("a mount without a record", false, |t| {
                fs::create_dir(t).unwrap();
                tmpfs(t);
            }),
            ("a record without a mount", true, |t| nix::mount::umount(t).unwrap()),
            ("a record without a target", true, |t| {
                nix::mount::umount(t).unwrap();
                fs::remove_dir(t).unwrap();
            }),
            ("stacked mounts", true, |t| {
                tmpfs(t);
                tmpfs(t);
            }),
        ];
        for (number, (name, publish, change)) in cases.into_iter().enumerate() {
            let volume = driver.volume(&format!("csi-{number}"), &reference);
            if publish {
                driver.publish(&volume).await.unwrap();
            }
            change(&volume.target);
            driver.unpublish(&volume).await.expect(name);
            assert!(!volume.target.exists(), "{name}");
            assert_clean(&driver.root);
            driver.unpublish(&volume).await.expect(name);
        }
    });
}

#[test]
fn it_needs_neither_registry_nor_store() {
    run("unpublish::it_needs_neither_registry_nor_store", async {
        let (registry, driver) = start(Options::default()).await;
        let volume = driver.volume("csi-1", &registry.reference("team/code-review", "v1"));
        driver.publish(&volume).await.unwrap();
        registry.stop().await;
        let state = driver.root.join("state");
        fs::write(state.join("volumes/csi-1.json"), "{ broken").unwrap();
        for directory in ["trees", "manifests", "references", "grants"] {
            #[expect(clippy::disallowed_methods, reason = "nothing is mounted below it")]
            fs::remove_dir_all(state.join(directory)).unwrap();
        }
        driver.unpublish(&volume).await.unwrap();
        assert!(!volume.target.exists());
        assert_eq!(mounts(&driver.root), []);
        assert_eq!(names(&state.join("volumes")), [""; 0]);
    });
}

#[test]
fn a_link_in_the_targets_place_is_not_followed() {
    run("unpublish::a_link_in_the_targets_place_is_not_followed", async {
        let (registry, driver) = start(Options::default()).await;
        let volume = driver.volume("csi-1", &registry.reference("team/code-review", "v1"));
        let precious = driver.root.join("precious");
        fs::create_dir(&precious).unwrap();
        tmpfs(&precious);
        fs::write(precious.join("file"), "precious").unwrap();
        symlink(&precious, &volume.target).unwrap();
        let before = mounts(&driver.root);
        let at = volume.target.display();
        assert_eq!(
            refused(driver.unpublish(&volume).await),
            (
                Code::Internal,
                format!(
                    "cannot unpublish volume csi-1: cannot remove the target directory {at}: Not \
                     a directory (os error 20)"
                )
            )
        );
        assert_eq!(
            refused(driver.publish(&volume).await),
            (
                Code::Internal,
                format!("cannot make the target directory {at}: File exists (os error 17)")
            )
        );
        assert_eq!(mounts(&driver.root), before);
        assert_eq!(fs::read_link(&volume.target).unwrap(), precious);
        assert_eq!(fs::read(precious.join("file")).unwrap(), b"precious");
        assert_eq!(names(&driver.root.join("state/volumes")), [""; 0]);
    });
}

#[test]
fn a_foreign_file_is_never_removed() {
    run("unpublish::a_foreign_file_is_never_removed", async {
        let (registry, driver) = start(Options::default()).await;
        let volume = driver.volume("csi-1", &registry.reference("team/code-review", "v1"));
        fs::create_dir(&volume.target).unwrap();
        fs::write(volume.target.join("file"), "precious").unwrap();
        driver.publish(&volume).await.unwrap();
        assert_eq!(tree::listing(&volume.target), skills::code_review().listing());
        let at = volume.target.display();
        for _ in 0..2 {
            assert_eq!(
                refused(driver.unpublish(&volume).await),
                (
                    Code::Internal,
                    format!(
                        "cannot unpublish volume csi-1: cannot remove the target directory {at}: \
                         Directory not empty (os error 39)"
                    )
                )
            );
            assert_eq!(mounts(&driver.root), [], "it is unmounted all the same");
            assert_eq!(fs::read(volume.target.join("file")).unwrap(), b"precious");
        }
        fs::remove_file(volume.target.join("file")).unwrap();
        driver.unpublish(&volume).await.unwrap();
        assert_clean(&driver.root);
    });
}

/// A publish with a final code must leave nothing, or kubelet's removal of the directory fails.
#[test]
fn a_refused_publish_leaves_nothing() {
    run("unpublish::a_refused_publish_leaves_nothing", async {
        let (registry, driver) = start(Options::default()).await;
        let volume = driver.volume("csi-1", &registry.reference("team/code-review", "v2"));
        assert_eq!(refused(driver.publish(&volume).await).0, Code::NotFound);
        assert_clean(&driver.root);
    });
}

/// The states that a crash can leave between the steps of publish, made by hand.
#[test]
fn half_made_volumes_are_undone_at_the_start() {
    run("unpublish::half_made_volumes_are_undone_at_the_start", async {
        let (registry, mut driver) = start(Options::default()).await;
        let reference = registry.reference("team/code-review", "v1");
        let root = driver.root.clone();
        let changes: [(&str, fn(&Path)); 3] = [
            ("mounted, but not recorded as such", |_| ()),
            ("recorded, with a target", |target| nix::mount::umount(target).unwrap()),
            ("recorded", |target| {
                nix::mount::umount(target).unwrap();
                fs::remove_dir(target).unwrap();
            }),
        ];
        for (name, change) in changes {
            let volume = driver.volume("csi-1", &reference);
            driver.publish(&volume).await.unwrap();
            driver.stop().await;
            {
                let store = Store::open(&root.join("state")).unwrap();
                let mut record = store.record("csi-1").unwrap().unwrap();
                record.state = RecordState::Publishing;
                record.mount = None;
                store.put_record(&record).unwrap();
            }
            change(&volume.target);
            driver = Driver::start(&root, Setup::default()).await;
            assert_clean(&root);
            driver.publish(&volume).await.expect(name);
            assert_eq!(tree::listing(&volume.target), skills::code_review().listing());
            driver.unpublish(&volume).await.expect(name);
            assert_clean(&root);
        }
    });
}
