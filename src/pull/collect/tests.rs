use super::*;

const GB: u64 = 1_000_000_000;
const NOW: u64 = 1_000_000_000_000;

/// A tree of `bytes` in one inode, used `age` seconds ago.
fn tree(name: &str, bytes: u64, age: u64) -> TreeUse {
    TreeUse {
        key: name.into(),
        totals: Totals { files: 1, bytes, inodes: 1 },
        used_at: NOW - age * 1_000_000_000,
        in_use: false,
    }
}

fn used(tree: TreeUse) -> TreeUse {
    TreeUse { in_use: true, ..tree }
}

/// A disk of 100 GB and as many inodes, with so many percent free.
fn disk(free_bytes: u64, free_inodes: u64) -> Disk {
    Disk { bytes: 100 * GB, free_bytes: free_bytes * GB, inodes: 100, free_inodes }
}

fn chosen(choice: &Choice) -> String {
    let names: Vec<_> = choice.trees.iter().map(|tree| tree.key.as_str()).collect();
    names.join(" ")
}

#[test]
fn the_least_recently_used_go_first_and_no_more_than_needed() {
    use Occasion::{Claimed, FullDisk, Regular};
    let all = || {
        vec![
            tree("young", GB, 119),
            tree("c", 3 * GB, 300),
            tree("a", 3 * GB, 500),
            used(tree("used", 9 * GB, 900)),
            tree("b", 3 * GB, 400),
            tree("just", GB, 120),
        ]
    };
    let default = CollectPolicy::default();
    let budget = |gb| CollectPolicy { max_bytes: Some(gb * GB), ..default };
    let max_age = CollectPolicy { max_age: Some(Duration::from_secs(400)), ..default };
    let never = CollectPolicy { high_threshold: 100, ..default };
    // The trees have 20 GB.
    for (policy, occasion, disk, expected, why, short) in [
        (default, Regular, Some(disk(16, 50)), "", "", false),
        (default, Regular, Some(disk(15, 50)), "a b", "85% of bytes used", false),
        (default, Regular, Some(disk(11, 50)), "a b c", "89% of bytes used", false),
        (default, Regular, Some(disk(1, 50)), "a b c just", "99% of bytes used", true),
        (default, Regular, Some(disk(50, 16)), "", "", false),
        (default, Regular, Some(disk(50, 15)), "a b c just", "85% of inodes used", true),
        (default, Regular, Some(disk(50, 0)), "a b c just", "100% of inodes used", true),
        (default, Regular, None, "", "", false),
        (never, Regular, Some(disk(0, 0)), "", "", false),
        (budget(20), Regular, Some(disk(50, 50)), "", "", false),
        (budget(17), Regular, None, "a", "20.0 GB of trees, with a budget of 17.0 GB", false),
        (budget(16), Regular, None, "a b", "20.0 GB of trees, with a budget of 16.0 GB", false),
        (budget(9), Regular, None, "a b c just", "20.0 GB of trees, with a budget of 9.0 GB", true),
        (max_age, Regular, Some(disk(50, 50)), "a b", "unused for too long: 2", false),
        (default, FullDisk, Some(disk(16, 50)), "a b", "the disk is full", false),
        (never, FullDisk, Some(disk(16, 50)), "a b", "the disk is full", false),
        // Free space, and yet full: a quota.
        (default, FullDisk, Some(disk(50, 50)), "a", "the disk is full", false),
        (default, Claimed(4 * GB), Some(disk(1, 0)), "a", "a pull needs 4.0 GB", false),
        (never, Claimed(5 * GB), Some(disk(1, 50)), "a b", "a pull needs 5.0 GB", false),
        (default, Claimed(GB), Some(disk(1, 50)), "a", "a pull needs 1.0 GB", false),
        // In vain, so nothing goes.
        (default, Claimed(12 * GB), Some(disk(1, 50)), "", "a pull needs 12.0 GB", true),
    ] {
        let found = choose(&policy, occasion, disk, all(), NOW);
        let case = format!("{policy:?} {occasion:?} {disk:?}");
        assert_eq!(chosen(&found), expected, "{case}");
        assert_eq!(found.why.join(", "), why, "{case}");
        assert_eq!(found.short, short, "{case}");
    }
    assert_eq!(
        chosen(&choose(&CollectPolicy::everything(), Regular, None, all(), NOW)),
        "a b c just young"
    );
}

#[test]
fn odd_numbers_do_no_harm() {
    let policy = CollectPolicy { max_bytes: Some(1), ..CollectPolicy::default() };
    let zero = Disk { bytes: 0, free_bytes: 0, inodes: 0, free_inodes: 0 };
    let most = Disk { bytes: u64::MAX, free_bytes: 0, inodes: u64::MAX, free_inodes: u64::MAX };
    for disk in [zero, most] {
        for bytes in [0, u64::MAX] {
            let ahead = TreeUse { used_at: u64::MAX, ..tree("ahead", bytes, 0) };
            let all = vec![tree("a", bytes, 200), tree("b", bytes, 300), ahead];
            let found = choose(&policy, Occasion::FullDisk, Some(disk), all, NOW);
            assert!(found.trees.len() <= 2, "one is used in a time to come");
        }
    }
}
