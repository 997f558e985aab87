//! What a start makes of what it finds: mounts, records and target directories, in every
//! combination. The table is that of docs/reliability.md.

use super::*;
use crate::gc::skillmount;
use crate::node::Node;
use crate::support::{Fault, Gate, On, Skill};

/// What the record of the volume says before the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recorded {
    Nothing,
    Publishing,
    Published,
    /// The same, in a boot that is over.
    Earlier,
}

/// What is where kubelet wants the volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Directory {
    There,
    /// It is not; the one above it is.
    Absent,
    /// Neither is: kubelet has forgotten the volume.
    Forgotten,
    /// The one above it is below another mount, so that no path leads to it any more. Otherwise
    /// what is mounted has a directory: the kernel lets nobody remove that.
    Covered,
}

struct Row {
    mounted: bool,
    recorded: Recorded,
    directory: Directory,
    /// What the start counts.
    counts: &'static str,
    /// Whether a mount, a record and a directory are left by it.
    left: [bool; 3],
}

use Directory::{Absent, Covered, Forgotten, There};
use Recorded::{Earlier, Nothing, Published, Publishing};

const fn row(
    (mounted, recorded, directory): (bool, Recorded, Directory),
    counts: &'static str,
    left: [bool; 3],
) -> Row {
    Row { mounted, recorded, directory, counts, left }
}

const NONE: &str = "published=0 unmounted=0 unclear=0 half_made=0 forgotten=0";
const PUBLISHED: &str = "published=1 unmounted=0 unclear=0 half_made=0 forgotten=0";
const UNMOUNTED: &str = "published=0 unmounted=1 unclear=0 half_made=0 forgotten=0";
const HALF_MADE: &str = "published=0 unmounted=0 unclear=0 half_made=1 forgotten=0";
const FORGOTTEN: &str = "published=0 unmounted=0 unclear=0 half_made=0 forgotten=1";

const ROWS: [Row; 18] = [
    row((false, Nothing, Absent), NONE, [false, false, false]),
    row((false, Nothing, Forgotten), NONE, [false, false, false]),
    // It is kubelet's: an unpublish removes it.
    row((false, Nothing, There), NONE, [false, false, true]),
    row((false, Publishing, Absent), HALF_MADE, [false, false, false]),
    row((false, Publishing, Forgotten), HALF_MADE, [false, false, false]),
    row((false, Publishing, There), HALF_MADE, [false, false, false]),
    row((false, Published, Absent), UNMOUNTED, [false, true, false]),
    // A container of this boot may still show it, in its own namespace.
    row((false, Published, Forgotten), UNMOUNTED, [false, true, false]),
    row((false, Published, There), UNMOUNTED, [false, true, true]),
    row((false, Earlier, Absent), UNMOUNTED, [false, true, false]),
    row((false, Earlier, Forgotten), FORGOTTEN, [false, false, false]),
    row((false, Earlier, There), UNMOUNTED, [false, true, true]),
    // A pod may show it: it stays, and its tree with it.
    row((true, Nothing, There), NONE, [true, false, true]),
    row((true, Publishing, There), HALF_MADE, [false, false, false]),
    row((true, Published, There), PUBLISHED, [true, true, true]),
    // Of this boot, and so not what the record means.
    row((true, Earlier, There), UNMOUNTED, [true, true, true]),
    row((true, Nothing, Covered), NONE, [true, false, false]),
    row((true, Published, Covered), UNMOUNTED, [true, true, false]),
];

/// Changes what a published volume has to what the row says.
fn make(root: &Path, volume: &Volume, row: &Row) {
    let above = volume.target.parent().unwrap();
    record_as(root, &volume.id, row.recorded);
    if !row.mounted {
        nix::mount::umount(&volume.target).unwrap();
    }
    match row.directory {
        There => {}
        Absent => fs::remove_dir(&volume.target).unwrap(),
        Forgotten => {
            fs::remove_dir(&volume.target).unwrap();
            fs::remove_dir(above).unwrap();
        }
        Covered => {
            let (tmpfs, flags) = (Some("tmpfs"), nix::mount::MsFlags::empty());
            nix::mount::mount(tmpfs, above, tmpfs, flags, None::<&str>).unwrap();
        }
    }
}

/// The line of the mount makes a record *published*.
fn record_as(root: &Path, id: &str, recorded: Recorded) {
    let path = root.join("state/volumes").join(format!("{id}.json"));
    let text = fs::read_to_string(&path).unwrap();
    match recorded {
        Nothing => fs::remove_file(&path).unwrap(),
        Publishing => fs::write(&path, text.split_inclusive('\n').next().unwrap()).unwrap(),
        Published => {}
        Earlier => fs::write(&path, text.replace(&boot_id(), EARLIER_BOOT)).unwrap(),
    }
}

const EARLIER_BOOT: &str = "00000000-0000-4000-8000-000000000000";

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim().to_owned()
}

/// Whether something is mounted at the target, a record is there, and a path leads to the target.
fn left(root: &Path, volume: &Volume) -> [bool; 3] {
    let mounted = mounts(root).iter().any(|mount| mount.mount_point == volume.target);
    let record = root.join("state/volumes").join(format!("{}.json", volume.id));
    [mounted, record.exists(), volume.target.exists()]
}

#[test]
fn every_combination_of_mount_record_and_directory_is_decided() {
    run("recovery::every_combination_of_mount_record_and_directory_is_decided", async {
        let root = namespace::scratch();
        let registry = Registry::start(Options::default());
        let skill = skills::code_review();
        artifacts::skillimage(&registry, "team/code-review", "v1", &skill);
        let reference = registry.reference("team/code-review", "v1");
        for row in &ROWS {
            // What kubelet may do next: ask for the volume, or say that it is over.
            for again in [true, false] {
                let Row { mounted, recorded, directory, .. } = row;
                let name = format!("{mounted} {recorded:?} {directory:?}, publish: {again}");
                let volume = Volume::new(&root, "csi-1", &reference);
                let node = Node::start(&root, &[]).await;
                node.client.publish(&volume).await.expect(&name);
                flushed(&root).await;
                node.terminate().await;
                make(&root, &volume, row);
                let before = mounts(&root).len();

                let node = Node::start(&root, &[]).await;
                assert_eq!(left(&root, &volume), row.left, "{name}");
                assert_eq!(stored(&root).len(), 1, "{name}: a tree is lost");
                registry.clear();
                if again {
                    // Kubelet makes it before each call.
                    fs::create_dir_all(volume.target.parent().unwrap()).unwrap();
                    for _ in 0..2 {
                        node.client.publish(&volume).await.expect(&name);
                        assert_eq!(tree::listing(&volume.target), skill.listing(), "{name}");
                        assert!(!node.client.condition(&volume).await.abnormal, "{name}");
                    }
                    let covered = usize::from(*directory == Covered);
                    assert_eq!(mounts(&root).len(), 1 + 2 * covered, "{name}: leaked mounts");
                }
                for _ in 0..2 {
                    node.client.unpublish(&volume).await.expect(&name);
                    assert!(!volume.target.exists(), "{name}");
                }
                if *directory == Covered {
                    // Nobody can reach it until what covers it goes.
                    assert_eq!(mounts(&root).len(), before, "{name}");
                    nix::mount::umount(volume.target.parent().unwrap()).unwrap();
                    node.client.unpublish(&volume).await.expect(&name);
                }
                assert_clean(&root);
                assert_eq!(registry.lines(), [""; 0], "{name}");
                let (_, log) = node.terminate().await;
                assert!(log.contains(row.counts), "{name}: {log}");
            }
        }
    });
}

/// The mounts are gone, and what was not flushed; directories and records are there.
#[test]
fn a_node_that_has_rebooted_gives_its_pods_the_same_volumes() {
    run("recovery::a_node_that_has_rebooted_gives_its_pods_the_same_volumes", async {
        let root = namespace::scratch();
        let registry = Registry::start(Options::default());
        let node = Node::start(&root, &[]).await;
        let [stays, ends, forgotten, unflushed] =
            ["stays", "ends", "forgotten", "unflushed"].map(|name| {
                let (repository, skill) = (format!("team/{name}"), Skill::new(name, "Is one."));
                artifacts::skillimage(&registry, &repository, "v1", &skill);
                Volume::new(&root, name, &registry.reference(&repository, "v1"))
            });
        for volume in [&stays, &ends, &forgotten, &unflushed] {
            node.client.publish(volume).await.unwrap();
        }
        flushed(&root).await;
        node.kill().await;
        for volume in [&stays, &ends, &forgotten, &unflushed] {
            nix::mount::umount(&volume.target).unwrap();
            record_as(&root, &volume.id, Earlier);
        }
        fs::remove_dir(&forgotten.target).unwrap();
        fs::remove_dir(forgotten.target.parent().unwrap()).unwrap();
        for key in stored(&root) {
            let path = root.join("state/trees").join(format!("{key}.json"));
            let mut text = fs::read_to_string(&path).unwrap().replace(&boot_id(), EARLIER_BOOT);
            if text.contains(r#""name":"unflushed""#) {
                text = text.replace(r#""durable":true"#, r#""durable":false"#);
            }
            fs::write(&path, text).unwrap();
        }
        registry.clear();

        // Before the driver is there, the operator sees what kubelet has not asked for yet.
        let (code, stdout, _) = skillmount(&root, &["volumes"]).await;
        assert_eq!((code, stdout.lines().last()), (Some(0), Some("4 volumes")));
        let node = Node::start(&root, &[]).await;
        assert_eq!(stored(&root).len(), 3, "what was not flushed is not believed");
        let (_, stdout, _) = skillmount(&root, &["volumes"]).await;
        assert_eq!(stdout.lines().last(), Some("3 volumes"));
        let condition = node.client.condition(&stays).await;
        let told = format!("it is not mounted at {} any more", stays.target.display());
        assert_eq!((condition.abnormal, condition.message), (true, told));
        node.client.publish(&stays).await.unwrap();
        assert_eq!(registry.lines(), [""; 0]);
        node.client.publish(&unflushed).await.unwrap();
        assert!(registry.lines().iter().any(|line| line.contains("/blobs/")));
        for (volume, name) in [(&stays, "stays"), (&unflushed, "unflushed")] {
            let expected = Skill::new(name, "Is one.").listing();
            assert_eq!(tree::listing(&volume.target), expected);
        }
        for volume in [&stays, &ends, &unflushed] {
            node.client.unpublish(volume).await.unwrap();
        }
        assert_clean(&root);
        flushed(&root).await;
        let (_, log) = node.terminate().await;
        let counts = "published=0 unmounted=3 unclear=0 half_made=0 forgotten=1";
        assert!(log.contains(counts), "{log}");
        // The forgotten one keeps nothing.
        let (code, stdout, _) = skillmount(&root, &["prune"]).await;
        assert_eq!(code, Some(0));
        assert!(stdout.starts_with("trees removed: 4, "), "{stdout}");
        assert!(stdout.ends_with("; in use: 0\n"), "{stdout}");
    });
}

/// A publish that was cut off, and one that is at work: neither loses its tree to a prune.
#[test]
fn a_prune_takes_nothing_from_a_publish() {
    run("recovery::a_prune_takes_nothing_from_a_publish", async {
        let (root, registry) = (namespace::scratch(), Registry::start(Options::default()));
        artifacts::skillimage(&registry, "team/code-review", "v1", &skills::code_review());
        let volume = Volume::new(&root, "csi-1", &registry.reference("team/code-review", "v1"));
        let gate = Gate::held();
        let layer = &registry.layers("team/code-review", "v1")[0];
        let stall = Fault::Stall(gate.clone());
        registry.fault(On::blob(layer).times(1), stall);
        let node = Node::start(&root, &[]).await;
        let publishing = tokio::spawn({
            let (client, volume) = (node.client.clone(), volume.clone());
            async move { client.publish(&volume).await }
        });
        gate.wait_for_waiting(1).await;
        for arguments in [&["prune"][..], &["prune", "--dry-run"]] {
            let (code, stdout, stderr) = skillmount(&root, arguments).await;
            assert_eq!((code, stdout.as_str()), (Some(1), ""));
            assert!(stderr.starts_with("error: ROOT/state/lock is locked: "), "{stderr}");
        }
        gate.release();
        publishing.await.unwrap().unwrap();
        flushed(&root).await;
        node.kill().await;
        record_as(&root, &volume.id, Publishing);
        let (code, stdout, _) = skillmount(&root, &["prune"]).await;
        assert_eq!((code, stdout.as_str()), (Some(0), "trees removed: 0, 0 B; in use: 1\n"));
        assert_eq!(tree::listing(&volume.target), skills::code_review().listing());
        let node = Node::start(&root, &[]).await;
        assert_clean(&root);
        node.terminate().await;
        let (_, stdout, _) = skillmount(&root, &["prune"]).await;
        assert!(stdout.starts_with("trees removed: 1, "), "{stdout}");
    });
}
