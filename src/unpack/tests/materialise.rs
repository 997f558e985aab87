//! From the staged tree to the directories that are mounted.

use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use super::support::*;
use crate::unpack::{
    DiskSink, Limits, MaterialiseError, Placement, Unpacked, materialise, materialise_raw,
};

fn unpacked(bench: &Bench, tar: Tar) -> Unpacked<DiskSink> {
    unpack_into(bench.sink(), &Limits::default(), &vec![(tar_layer(), tar.end())]).unwrap()
}

fn placement(root: &str, name: &str, skill_md: &str, links: &[(&str, &str)]) -> Placement {
    Placement {
        root: path(root),
        name: name.into(),
        skill_md: path(skill_md),
        links: links.iter().map(|(link, file)| (path(link), path(file))).collect(),
    }
}

#[test]
fn the_root_is_a_skill() {
    let bench = Bench::new();
    let tar = Tar::new()
        .file("skill.md", "s")
        .mode("scripts/run.sh", 0o755, "r")
        .symlink("scripts/link", "run.sh")
        .symlink("top", "scripts/run.sh")
        .symlink("outside", "/etc/passwd");
    let Unpacked { mut sink, tree, .. } = unpacked(&bench, tar);
    let links = [("scripts/link", "scripts/run.sh"), ("top", "scripts/run.sh")];
    let skill = placement(".", "review", "skill.md", &links);
    materialise(&mut sink, &tree, &[skill], open(&bench.out()).as_fd()).unwrap();
    assert_eq!(
        listing(&bench.out()),
        [
            "d755 0/",
            "d755 0/review/",
            "f644 0/review/SKILL.md s",
            "d755 0/review/scripts/",
            "f755 0/review/scripts/link r",
            "f755 0/review/scripts/run.sh r",
            "f755 0/review/top r",
        ]
    );
    assert_eq!(listing(&bench.staging()), Vec::<String>::new());
    let inode =
        |name: &str| std::fs::metadata(bench.out().join("0/review").join(name)).unwrap().ino();
    assert_eq!(inode("top"), inode("scripts/run.sh"));
}

#[test]
fn skills_are_moved_to_their_slots() {
    let bench = Bench::new();
    let tar = Tar::new()
        .file("skills/a/SKILL.md", "a")
        .file("skills/b/README.md", "b")
        .symlink("skills/b/SKILL.md", "README.md")
        .file("skills/c/docs/skill.md", "c")
        .file("Dockerfile", "FROM scratch");
    let Unpacked { mut sink, tree, .. } = unpacked(&bench, tar);
    let skills = [
        placement(
            "skills/b",
            "bee",
            "skills/b/SKILL.md",
            &[("skills/b/SKILL.md", "skills/b/README.md")],
        ),
        placement("skills/a", "a", "skills/a/SKILL.md", &[]),
        placement("skills/c", "c", "skills/c/docs/skill.md", &[]),
    ];
    materialise(&mut sink, &tree, &skills, open(&bench.out()).as_fd()).unwrap();
    assert_eq!(
        listing(&bench.out()),
        [
            "d755 0/",
            "d755 0/bee/",
            "f644 0/bee/README.md b",
            "f644 0/bee/SKILL.md b",
            "d755 1/",
            "d755 1/a/",
            "f644 1/a/SKILL.md a",
            "d755 2/",
            "d755 2/c/",
            "f644 2/c/SKILL.md c",
            "d755 2/c/docs/",
        ]
    );
    assert_eq!(listing(&bench.staging()), ["f644 Dockerfile FROM scratch", "d755 skills/"]);
}

#[test]
fn a_raw_tree_is_moved_whole() {
    let bench = Bench::new();
    let tar = Tar::new().file("a/b", "x").dir("empty").symlink("l", "a/b").symlink("m", "/");
    let Unpacked { mut sink, tree, .. } = unpacked(&bench, tar);
    let links = [(path("l"), path("a/b"))];
    materialise_raw(&mut sink, &tree, &links, open(&bench.out()).as_fd()).unwrap();
    assert_eq!(
        listing(&bench.out()),
        ["d755 root/", "d755 root/a/", "f644 root/a/b x", "d755 root/empty/", "f644 root/l x"]
    );
}

#[test]
fn mistakes_are_refused_before_anything_moves() {
    let bench = Bench::new();
    let tar = Tar::new().file("a/SKILL.md", "a").file("a/skill.md", "b").file("a/b/SKILL.md", "c");
    let Unpacked { mut sink, tree, .. } = unpacked(&bench, tar);
    let before = listing(&bench.staging());
    let a = || placement("a", "a", "a/SKILL.md", &[]);
    let b = || placement("a/b", "b", "a/b/SKILL.md", &[]);
    let mut refuse = |placements: &[Placement]| {
        materialise(&mut sink, &tree, placements, open(&bench.out()).as_fd()).unwrap_err()
    };
    use MaterialiseError::*;
    assert!(matches!(refuse(&[a(), b()]), Nested { .. }));
    assert!(matches!(refuse(&[b(), a()]), Nested { .. }));
    assert!(matches!(refuse(&[a(), a()]), Nested { .. }));
    for name in ["", ".", "..", "x/y", "/x", "x/", "a\0"] {
        assert!(matches!(refuse(&[Placement { name: name.into(), ..a() }]), Name { .. }), "{name}");
    }
    assert!(matches!(refuse(&[placement("no", "no", "no/SKILL.md", &[])]), Missing { .. }));
    assert!(matches!(refuse(&[placement("a/b", "b", "a/SKILL.md", &[])]), Missing { .. }));
    assert!(matches!(refuse(&[placement("a", "a", "a/b", &[])]), Missing { .. }));
    let links = [("a/SKILL.md", "a/b/SKILL.md")];
    assert!(matches!(refuse(&[placement("a", "a", "a/SKILL.md", &links)]), Missing { .. }));
    assert!(matches!(refuse(&[placement("a", "a", "a/skill.md", &[])]), Occupied { .. }));
    assert_eq!(listing(&bench.staging()), before);
    assert_eq!(listing(&bench.out()), Vec::<String>::new());
}
