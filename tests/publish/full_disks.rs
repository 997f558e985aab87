//! A file system of the state directory that has no space, or no inodes.

use nix::mount::MsFlags;

use super::*;
use crate::support::Skill;

/// A driver whose state directory is on a small file system of its own.
async fn small(options: &str) -> (Registry, Driver) {
    let root = namespace::scratch();
    let state = root.join("state");
    fs::create_dir(&state).unwrap();
    let tmpfs = Some("tmpfs");
    nix::mount::mount(tmpfs, &state, tmpfs, MsFlags::empty(), Some(options)).unwrap();
    (Registry::start(Options::default()), Driver::start(&root, Setup::default()).await)
}

#[test]
fn too_few_bytes_or_inodes_are_told_and_pass() {
    run("full_disks::too_few_bytes_or_inodes_are_told_and_pass", async {
        for (options, large, size) in [
            ("size=512k,nr_inodes=1000", skills::large(10, 100_000), ["524.3 kB", "1000"]),
            ("size=1m,nr_inodes=60", skills::large(100, 10), ["1.0 MB", "60"]),
        ] {
            let (registry, driver) = small(options).await;
            let small = Skill::new("small", "Fits.");
            artifacts::skillimage(&registry, "team/large", "v1", &large);
            artifacts::skillimage(&registry, "team/small", "v1", &small);
            let [kept, other, large] = [("kept", "small"), ("other", "small"), ("large", "large")]
                .map(|(id, name)| {
                    driver.volume(id, &registry.reference(&format!("team/{name}"), "v1"))
                });
            driver.publish(&kept).await.unwrap();
            let (code, message) = refused(driver.publish(&large).await);
            assert_eq!(code, Code::ResourceExhausted);
            let (numbers, cause) = message
                .strip_prefix(&format!(
                    "cannot pull {}/team/large:v1: the state directory's disk is full (without this \
                     pull ",
                    registry.host()
                ))
                .and_then(|rest| rest.split_once(" inodes are free): "))
                .unwrap_or_else(|| panic!("{message}"));
            let of = numbers.split(" and ").map(|part| part.split_once(" of ").unwrap().1);
            assert_eq!(of.collect::<Vec<_>>(), size, "{message}");
            assert!(cause.starts_with("cannot unpack layer "), "{message}");
            assert!(cause.ends_with(": No space left on device (os error 28)"), "{message}");
            assert_eq!(names(&driver.root.join("state/staging")), [""; 0]);
            assert_eq!(names(&driver.root.join("pods/large")), [""; 0]);
            assert_eq!(stored(&driver.root).len(), 1);
            assert_eq!(tree::listing(&kept.target), small.listing());
            driver.publish(&other).await.unwrap();
            let state = driver.root.join("state");
            let (none, more) = (None::<&str>, Some("size=4m,nr_inodes=1000"));
            nix::mount::mount(none, &state, none, MsFlags::MS_REMOUNT, more).unwrap();
            driver.publish(&large).await.unwrap();
            for volume in [&kept, &other, &large] {
                driver.unpublish(volume).await.unwrap();
            }
            driver.stop().await;
            nix::mount::umount(&state).unwrap();
        }
    });
}
