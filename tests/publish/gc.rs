//! What no volume uses goes, and nothing else does.

use std::time::Duration;

use nix::mount::MsFlags;
use serde_json::json;
use skillmount::pull::{CollectPolicy, Collected};
use tokio::process::Command;

use super::*;
use crate::node::Node;
use crate::support::Skill;

/// Trees may have so many bytes in all; their age does not count.
fn budget(bytes: u64) -> Setup {
    let collect = CollectPolicy {
        high_threshold: 100,
        min_age: Duration::ZERO,
        max_bytes: Some(bytes),
        ..CollectPolicy::default()
    };
    Setup { collect, ..Setup::default() }
}

/// A skill of the same size whatever its one-letter name.
fn skill(name: &str) -> Skill {
    Skill::new(name, "Is large.").file("data", name.repeat(10_000), 0o644)
}

fn bytes(skill: &Skill) -> u64 {
    skill.files.values().map(|file| file.content.len() as u64).sum()
}

/// A registry with the skills a, b and c, and a driver with a volume for each.
async fn three(setup: Setup) -> (Registry, Driver, [Volume; 3]) {
    let registry = Registry::start(Options::default());
    let driver = Driver::start(&namespace::scratch(), setup).await;
    let volumes = ["a", "b", "c"].map(|name| {
        artifacts::skillimage(&registry, &format!("team/{name}"), "v1", &skill(name));
        driver.volume(name, &registry.reference(&format!("team/{name}"), "v1"))
    });
    (registry, driver, volumes)
}

fn assert_shows(volume: &Volume, name: &str) {
    assert_eq!(tree::listing(&volume.target), skill(name).listing());
    assert_eq!(fs::read(volume.target.join("data")).unwrap(), name.repeat(10_000).as_bytes());
}

/// How many trees are stored.
fn trees(root: &Path) -> usize {
    stored(root).len()
}

#[test]
fn an_unpublished_skill_goes_and_a_mounted_one_stays() {
    run("gc::an_unpublished_skill_goes_and_a_mounted_one_stays", async {
        let (registry, driver, [a, b, _]) = three(budget(1)).await;
        driver.publish(&a).await.unwrap();
        driver.publish(&b).await.unwrap();
        driver.in_use(2).await;
        assert_eq!(driver.collect().await, Collected::default());
        driver.unpublish(&a).await.unwrap();
        let one = Collected { trees: 1, bytes: bytes(&skill("a")), failed: 0, files: 0 };
        assert_eq!(driver.collect().await, one);
        assert_eq!(driver.collect().await, Collected::default());
        assert_shows(&b, "b");
        assert_whole(&driver.root);
        assert_eq!(trees(&driver.root), 1);

        // It comes back, by another pull.
        driver.publish(&a).await.unwrap();
        assert_shows(&a, "a");
        let layer = &registry.layers("team/a", "v1")[0];
        assert_eq!(registry.count("GET", &format!("/blobs/{layer}")), 2);
        driver.unpublish(&a).await.unwrap();
        driver.unpublish(&b).await.unwrap();
        driver.in_use(0).await;
        assert_eq!(driver.collect().await.trees, 2);
        assert_eq!(trees(&driver.root), 0);
        assert_clean(&driver.root);
        driver.stop().await;
    });
}

#[test]
fn the_least_recently_used_goes_first_also_after_a_restart() {
    run("gc::the_least_recently_used_goes_first_also_after_a_restart", async {
        let two = 2 * bytes(&skill("a"));
        let (registry, driver, [a, b, c]) = three(budget(two)).await;
        for volume in [&a, &b, &c, &a] {
            driver.publish(volume).await.unwrap();
            driver.unpublish(volume).await.unwrap();
        }
        driver.in_use(0).await;
        let root = driver.root.clone();
        driver.stop().await;
        let driver = Driver::start(&root, budget(two)).await;
        assert_eq!(driver.collect().await.trees, 1);
        registry.clear();
        let pulls = |name: &str| {
            let layer = &registry.layers(&format!("team/{name}"), "v1")[0];
            registry.count("GET", &format!("/blobs/{layer}"))
        };
        for volume in [&a, &b, &c] {
            driver.publish(volume).await.unwrap();
        }
        assert_eq!(["a", "b", "c"].map(pulls), [0, 1, 0]);
        driver.stop().await;
    });
}

/// Two volumes come and go while all that may go goes all the time.
#[test]
fn a_pull_never_loses_its_tree_to_a_collection() {
    run("gc::a_pull_never_loses_its_tree_to_a_collection", async {
        let (registry, driver, [a, b, _]) = three(budget(1)).await;
        let driver = std::sync::Arc::new(driver);
        let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
        let collecting = tokio::spawn({
            let driver = driver.clone();
            async move {
                let mut gone = 0;
                while stopped.try_recv() == Err(tokio::sync::oneshot::error::TryRecvError::Empty) {
                    let done = driver.collect().await;
                    assert_eq!(done.failed, 0);
                    gone += done.trees;
                }
                gone
            }
        });
        let volumes = [(a, "a"), (b, "b")].map(|(volume, name)| {
            let client = driver.client();
            tokio::spawn(async move {
                for round in 0..200 {
                    let policy = if round % 2 == 0 { "Always" } else { "IfNotPresent" };
                    let volume = volume.clone().attribute("pullPolicy", policy);
                    client.publish(&volume).await.unwrap();
                    assert_shows(&volume, name);
                    client.unpublish(&volume).await.unwrap();
                }
            })
        });
        for volume in volumes {
            volume.await.unwrap();
        }
        drop(stop);
        let gone = collecting.await.unwrap();
        driver.in_use(0).await;
        let gone = gone + driver.collect().await.trees;
        assert_eq!(trees(&driver.root), 0);
        assert_clean(&driver.root);
        // Each was pulled as often as it has gone, and that was often.
        let pulls = ["a", "b"].map(|name| {
            let layer = &registry.layers(&format!("team/{name}"), "v1")[0];
            registry.count("GET", &format!("/blobs/{layer}"))
        });
        assert_eq!(pulls.iter().sum::<usize>() as u64, gone);
        assert!(gone > 20, "{pulls:?}");
    });
}

#[test]
fn a_full_disk_is_made_space_on() {
    run("gc::a_full_disk_is_made_space_on", async {
        let root = namespace::scratch();
        let state = root.join("state");
        fs::create_dir(&state).unwrap();
        let (tmpfs, size) = (Some("tmpfs"), Some("size=1600k"));
        nix::mount::mount(tmpfs, &state, tmpfs, MsFlags::empty(), size).unwrap();
        let registry = Registry::start(Options::default());
        let large = |name: &str| {
            let content = skills::large(10, 100_000).files;
            Skill { files: content, ..Skill::new(name, "") }.file("name", name, 0o644)
        };
        // No thresholds, and no budget: nothing but the full disk.
        let setup = budget(u64::MAX);
        let driver = Driver::start(&root, setup).await;
        let [a, b, c] = ["a", "b", "c"].map(|name| {
            artifacts::skillimage(&registry, &format!("team/{name}"), "v1", &large(name));
            driver.volume(name, &registry.reference(&format!("team/{name}"), "v1"))
        });
        driver.publish(&a).await.unwrap();
        driver.unpublish(&a).await.unwrap();
        driver.in_use(0).await;
        // There is space for one only.
        driver.publish(&b).await.unwrap();
        assert_eq!(tree::listing(&b.target), large("b").listing());
        assert_eq!(trees(&root), 1);
        let (code, _) = refused(driver.publish(&c).await);
        assert_eq!(code, Code::ResourceExhausted, "what is mounted stays");
        assert_eq!(tree::listing(&b.target), large("b").listing());
        driver.unpublish(&b).await.unwrap();
        driver.in_use(0).await;
        driver.publish(&c).await.unwrap();
        driver.unpublish(&c).await.unwrap();
        driver.stop().await;
    });
}

#[test]
fn a_mounted_tree_stays_without_its_record() {
    run("gc::a_mounted_tree_stays_without_its_record", async {
        let (_registry, driver, [a, b, _]) = three(budget(1)).await;
        driver.publish(&a).await.unwrap();
        driver.publish(&b).await.unwrap();
        driver.in_use(2).await;
        let root = driver.root.clone();
        driver.stop().await;
        fs::write(root.join("state/volumes/a.json"), "{").unwrap();
        let driver = Driver::start(&root, budget(1)).await;
        assert_eq!(driver.collect().await.trees, 0);
        assert_shows(&a, "a");
        driver.unpublish(&a).await.unwrap();
        driver.unpublish(&b).await.unwrap();
        driver.in_use(1).await;
        assert_eq!(driver.collect().await.trees, 1, "the mount is looked for at start only");
        driver.stop().await;
        let driver = Driver::start(&root, budget(1)).await;
        assert_eq!(driver.collect().await.trees, 1);
        driver.stop().await;
    });
}

pub(crate) async fn skillmount(root: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_skillmount"))
        .env_clear()
        .args(arguments)
        .arg(format!("--state-dir={}", root.join("state").display()))
        .output()
        .await
        .unwrap();
    let text = |bytes: Vec<u8>| {
        let root = root.display().to_string();
        String::from_utf8(bytes).unwrap().replace(&root, "ROOT")
    };
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn an_operator_sees_volumes_and_prunes() {
    run("gc::an_operator_sees_volumes_and_prunes", async {
        let root = namespace::scratch();
        let registry = Registry::start(Options::default());
        let node = Node::start(&root, &[]).await;
        let volumes = ["a", "b"].map(|name| {
            artifacts::skillimage(&registry, &format!("team/{name}"), "v1", &skill(name));
            Volume::new(&root, name, &registry.reference(&format!("team/{name}"), "v1"))
        });
        for volume in &volumes {
            node.client.publish(volume).await.unwrap();
        }
        node.client.unpublish(&volumes[1]).await.unwrap();

        let reference = registry.reference("team/a", "v1");
        let (code, stdout, stderr) = skillmount(&root, &["volumes", "--output=json"]).await;
        assert_eq!((code, stderr.as_str()), (Some(0), ""));
        let mut found: serde_json::Value = serde_json::from_str(&stdout).unwrap();
        let digest = found["volumes"][0]["references"][0]["digest"].take();
        let digest = digest.as_str().unwrap();
        assert!(found["volumes"][0]["publishedAt"].take().is_u64());
        let expected = json!({
            "volumes": [{
                "volumeId": "a",
                "target": "ROOT/pods/a/mount",
                "state": "published",
                "pod": {
                    "namespace": "team",
                    "name": "agent",
                    "uid": "0768eb6d-4803-492e-91ed-aa92be06dc18",
                    "serviceAccount": "default",
                },
                "references": [{ "reference": reference, "digest": null }],
                "skills": ["a"],
                "files": 2,
                "bytes": bytes(&skill("a")),
                "seal": "overlay",
                "readOnly": true,
                "publishedAt": null,
                "warnings": [],
            }],
            "unreadable": [],
        });
        assert_eq!(found, expected);
        let (code, stdout, _) = skillmount(&root, &["volumes"]).await;
        let expected = format!(
            "volume     a\npod        team/agent\nstate      published\nreference  {reference}\n\
             digest     {digest}\nskills     a\nsize       10.1 kB in 2 files\n\n1 volume\n"
        );
        assert_eq!((code, stdout), (Some(0), expected));

        let (code, stdout, stderr) = skillmount(&root, &["prune"]).await;
        let locked = "error: ROOT/state/lock is locked: another skillmount uses this state \
                      directory; stop it, or give this one another directory\n";
        assert_eq!((code, stdout.as_str(), stderr.as_str()), (Some(1), "", locked));
        node.terminate().await;
        for (arguments, expected) in [
            (&["prune", "--dry-run"][..], "trees to remove: 1, 10.1 kB; in use: 1\n"),
            (&["prune"], "trees removed: 1, 10.1 kB; in use: 1\n"),
            (&["prune"], "trees removed: 0, 0 B; in use: 1\n"),
        ] {
            let (code, stdout, stderr) = skillmount(&root, arguments).await;
            assert_eq!((code, stdout.as_str(), stderr.as_str()), (Some(0), expected, ""));
        }
        assert_eq!(trees(&root), 1);
        assert_shows(&volumes[0], "a");

        let nowhere = root.join("nowhere");
        for command in ["prune", "volumes"] {
            let (code, _, _) = skillmount(&nowhere, &[command]).await;
            assert_eq!(code, Some(1));
            assert!(!nowhere.exists());
        }
    });
}

/// The real binary collects when it starts, and says so.
#[test]
fn the_driver_collects_by_itself() {
    run("gc::the_driver_collects_by_itself", async {
        let root = namespace::scratch();
        let registry = Registry::start(Options::default());
        artifacts::skillimage(&registry, "team/a", "v1", &skill("a"));
        let volume = Volume::new(&root, "a", &registry.reference("team/a", "v1"));
        let node = Node::start(&root, &[]).await;
        node.client.publish(&volume).await.unwrap();
        node.client.unpublish(&volume).await.unwrap();
        node.terminate().await;
        assert_eq!(trees(&root), 1);
        let flags = ["--gc-max-bytes=1", "--gc-min-age=0", "--gc-high-threshold=100"];
        let node = Node::start(&root, &flags).await;
        while trees(&root) > 0 {
            tokio::task::yield_now().await;
        }
        let (_, log) = node.terminate().await;
        let line = log.lines().find(|line| line.contains("collected garbage")).expect(&log);
        let bytes = bytes(&skill("a"));
        let told = format!(
            "trees=1 bytes={bytes} failed=0 files=0 why=\"10.1 kB of trees, with a budget of 1 B\""
        );
        assert!(line.contains(&told), "{line}");
    });
}
