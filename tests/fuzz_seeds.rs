//! The fuzz targets' seeds, made by the builders of the fixtures, through the targets' own code.
//!
//! With `SKILLMOUNT_FUZZ_CORPUS=fuzz/corpus` each seed is also written there, to start a
//! fuzzer from (docs/testing.md).
// Helpers outside `#[test]` functions assert too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../fuzz/src/lib.rs"]
mod fuzz;
mod support;

use std::path::PathBuf;

use fuzz::{Packing, frame};
use support::artifacts::{self, Children};
use support::blobs::{Entry, Tar, gzip, zstd};
use support::{Options, Registry, skills};

/// Runs the seeds of one target, and keeps them if asked to.
fn seed(target: &str, run: fn(&[u8]), seeds: &[Vec<u8>]) {
    let corpus =
        std::env::var_os("SKILLMOUNT_FUZZ_CORPUS").map(|dir| PathBuf::from(dir).join(target));
    for (number, seed) in seeds.iter().enumerate() {
        run(seed);
        if let Some(corpus) = &corpus {
            std::fs::create_dir_all(corpus).unwrap();
            std::fs::write(corpus.join(format!("seed-{number:03}")), seed).unwrap();
        }
    }
}

fn controlled(body: &[u8], control: u8) -> Vec<u8> {
    [body, &[control]].concat()
}

/// Every family's manifests and indexes, as they are served.
#[tokio::test]
async fn documents() {
    let registry = Registry::start(Options::default());
    let (one, two) = (skills::code_review(), skills::docs_writer());
    let both = [one.clone(), two];
    let repo = "acme/code-review";
    let digests = [
        artifacts::skillimage(&registry, repo, "1", &one),
        artifacts::skillimage_redhat(&registry, repo, "2", &one),
        artifacts::skillimage_old(&registry, repo, "3", &one),
        artifacts::skillimage_bundle(&registry, repo, "4", &both),
        artifacts::skillimage_status(&registry, repo, "5", &one, "deprecated"),
        artifacts::salaboy(&registry, repo, "6", &one),
        artifacts::arconia(&registry, repo, "7", &one),
        artifacts::docsclaw(&registry, repo, "8", &one),
        artifacts::cumasach(&registry, repo, "9", &one),
        artifacts::nested_index(&registry, repo, "10"),
        artifacts::agentskills_collection(&registry, repo, "11", &both, Children::SameRepository),
        artifacts::docker(&registry, repo, "12", &one),
        artifacts::docker_list(&registry, repo, "13", &one),
        artifacts::buildkit(&registry, repo, "14", &one),
        artifacts::toolhive(&registry, repo, "15", &one),
        artifacts::toolhive_plugin(&registry, repo, "16", &both),
        artifacts::oras_dir(&registry, repo, "17", &one),
        artifacts::oras_files(&registry, repo, "18", &one),
        artifacts::flux(&registry, repo, "19", &both),
        artifacts::alibaba(&registry, repo, "20", &one),
        artifacts::ramalama(&registry, repo, "21", &one, "folder"),
        artifacts::lola(&registry, repo, "22", &both),
        artifacts::modelpack(&registry, repo, "23", &one),
        artifacts::helm_chart(&registry, repo, "24"),
        artifacts::wasm(&registry, repo, "25"),
        artifacts::foreign_layer(&registry, repo, "26", "https://example.org/layer"),
        artifacts::no_layers(&registry, repo, "27"),
    ];
    let bodies = digests.iter().map(|digest| {
        let body = registry.manifest(repo, &digest.to_string()).expect("what was pushed");
        controlled(&body, 0)
    });
    let mut seeds: Vec<_> = bodies.collect();
    // The same document under the types that it is and is not.
    let body = seeds[0][..seeds[0].len() - 1].to_vec();
    seeds.extend((1..8).map(|control| controlled(&body, control)));
    seeds.push(controlled(br#"{"schemaVersion":1,"fsLayers":[]}"#, 0));
    seed("document", fuzz::document, &seeds);
}

#[test]
fn configs() {
    let zeros = "0".repeat(64);
    let image = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{"Labels":{{"io.agentskills.skill.name":"a","dev.toolhive.skills.name":"b"}}}},"rootfs":{{"type":"layers","diff_ids":["sha256:{zeros}"]}}}}"#
    );
    let skill = r#"{"schemaVersion":"1","name":"code-review","version":"1.0.0","description":"d","license":"MIT","allowedTools":["Bash"],"metadata":{}}"#;
    let mut seeds = vec![];
    for control in 0..5 {
        for body in [image.as_str(), skill, "{}", "{}\n", r#"{"config":null,"rootfs":null}"#] {
            seeds.push(controlled(body.as_bytes(), control));
            seeds.push(controlled(format!("other\0{body}").as_bytes(), control));
        }
    }
    seeds.push(controlled(br#"{"schemaVersion":"2","name":"x"}"#, 3));
    seed("config", fuzz::config, &seeds);
}

const MATTER: [&str; 12] = [
    "---\nname: code-review\ndescription: Reviews code.\n---\n\n# Do it\n",
    "---\r\nname: code-review\r\ndescription: Reviews code.\r\n---\r\n",
    "\u{feff}---\nname: 'a b'\ndescription: >-\n  folded\n  text\n---\n",
    "\n\n---\nname: x\ndescription: use when: it has a colon\n---\n",
    "---\nname: a\nname: b\ndescription: &a text\nlicense: *a\n---\n",
    "---\nname: [list]\ndescription: {map: 1}\nmetadata:\n  a: {b: [c, d, {e: f}]}\n---\n",
    "---\nname: not-closed\ndescription: |\n  literal\n",
    "---\n{name: flow, description: \"q\\u00e9\", allowed-tools: Bash Read}\n---\n",
    "---\n- a\n- b\n---\n",
    "---\n---\n",
    "no front matter",
    "---\nname: ../../etc\ndescription: !!binary aGVsbG8=\ncompatibility: x\nextra: ~\n---\n",
];

#[test]
fn front_matters() {
    let seeds: Vec<_> = MATTER.iter().map(|text| text.as_bytes().to_vec()).collect();
    seed("front_matter", fuzz::front_matter, &seeds);
}

#[test]
fn collections() {
    let head = "apiVersion: skillimage.io/v1alpha1\nkind: SkillCollection\nmetadata:\n  name: hr\n  version: 1.0.0\nskills:\n";
    let seeds: Vec<_> = [
        "  - name: a\n    image: reg.io/acme/a:1.0.0\n  - name: b\n    image: reg.io/acme/b@sha256:0000000000000000000000000000000000000000000000000000000000000000\n",
        "  - {name: a, image: 'localhost:5000/a'}\n  - name: c\n    source: https://git.example.org/c\n",
        "  - name: a\n    image: reg.io/a\n  - name: A\n    image: reg.io/b\n",
        "  - name: a\n    image: ACME/a:1\n",
        "  - name: ../a\n    image: reg.io/a\n",
        "  []\n",
        "  - &x {name: a, image: b/c}\n  - *x\n",
        "  - name: a\n    image: |\n      reg.io/a\n...\n---\nskills: []\n",
    ]
    .iter()
    .map(|items| format!("{head}{items}").into_bytes())
    .chain([b"kind: Other\n".to_vec(), b"\xef\xbb\xbfkind: SkillCollection\nskills: x\n".to_vec()])
    .collect();
    seed("collection", fuzz::collection, &seeds);
}

/// Archives of every kind of entry, good and bad.
fn archives() -> Vec<Vec<u8>> {
    let skill = skills::code_review();
    let long = "d/".repeat(60) + "f";
    let mut archives = vec![
        skill.tar().build(),
        skill.tar_below_name().build(),
        skill.tar().pad_to(10_240).build(),
        skill.tar().trailing(*b"rubbish").build(),
        skill.tar().no_end_marker().build(),
        Tar::new().build(),
    ];
    let text = "---\nname: x\ndescription: y\n---\n";
    let tars = [
        Tar::new().file("x/README.md", text, 0o644).symlink("x/SKILL.md", "README.md"),
        Tar::new().file("x/data.txt", text, 0o644).hardlink("x/SKILL.md", "x/data.txt"),
        Tar::new()
            .file("x/Skill.md", text, 0o755)
            .symlink("x/l", "../x/./l2")
            .symlink("x/l2", "Skill.md"),
        Tar::new().file("a", "1", 0o644).file("a", "1", 0o755).file("b", "1", 0o644).dir("b"),
        Tar::new().file("a", "1", 0o644).file("a", "2", 0o644),
        Tar::new().symlink("l", "/etc").file("l/passwd", "x", 0o644),
        Tar::new().symlink("l", "../../..").dir("l/x"),
        Tar::new().file("../escape", "x", 0o644),
        Tar::new().file("/abs", "x", 0o4755),
        Tar::new().device("dev", b'3', 1, 3).fifo("pipe").device("blk", b'4', 8, 0),
        Tar::new()
            .file(".wh.SKILL.md", "", 0o644)
            .file("d/.wh..wh..opq", "", 0o644)
            .file("d/e", "", 0o644),
        Tar::new().file("SKILL.md", text, 0o644).file(".wh.SKILL.md", "", 0o644),
        Tar::new().pax(&[("path", long.as_bytes())]).file("x", "x", 0o644),
        Tar::new()
            .pax(&[("size", b"3"), ("mtime", b"1.5"), ("linkpath", b"a")])
            .file("x", "abc", 0o644),
        Tar::new().pax_global(&[("comment", b"c"), ("path", b"g")]).file("x", "abc", 0o644),
        Tar::new()
            .gnu_long_name("n/long")
            .file("x", "abc", 0o644)
            .gnu_long_link("n/long")
            .hardlink("y", "z"),
        Tar::new().sparse("s", 1 << 20),
        Tar::new().entry(Entry { size: Some(1 << 40), ..Entry::new("huge", b'0', 0o644) }),
        Tar::new().pax(&[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0")]).file(
            "x",
            "1\n0\n5\n",
            0o644,
        ),
    ];
    archives.extend(tars.map(Tar::build));
    archives
}

/// Artifacts of one to four layers.
fn layers(packings: &[Packing], actions: std::ops::Range<u8>) -> Vec<Vec<u8>> {
    let archives = archives();
    let mut seeds = vec![];
    for (number, archive) in archives.iter().enumerate() {
        let action = actions.start + number as u8 % (actions.end - actions.start);
        let packing = packings[number % packings.len()];
        seeds.push(frame(&[(archive.clone(), action, packing)]));
        let below = skills::code_review().tar().build();
        seeds.push(frame(&[(below.clone(), 1, Packing::Raw), (archive.clone(), 1, packing)]));
    }
    let four: Vec<_> = archives[..4].iter().map(|tar| (tar.clone(), 0, packings[0])).collect();
    seeds.push(frame(&four));
    seeds
}

#[test]
fn tars() {
    seed("tar", fuzz::tar, &layers(&[Packing::Raw], 0..2));
}

#[test]
fn artifacts_of_layers() {
    use Packing::{Gzip, Lying, Raw, Wrong, Zstd};
    let mut seeds = layers(&[Raw, Gzip, Zstd], 0..8);
    let tar = skills::code_review().tar_below_name().build();
    let text = MATTER[0].as_bytes().to_vec();
    for action in 0..8 {
        for blob in [tar.clone(), gzip(&tar), zstd(&tar), text.clone()] {
            seeds.push(frame(&[(blob, action, Raw)]));
        }
        for packing in [Wrong, Lying] {
            seeds.push(frame(&[(tar.clone(), action, packing)]));
        }
    }
    seed("unpack", fuzz::unpack, &seeds);
}

#[test]
fn references() {
    let digest = format!("sha256:{}", "0".repeat(64));
    let seeds: Vec<_> = [
        "alpine",
        "docker.io/library/alpine:3",
        "reg.io/a/b:tag",
        "localhost:5000/a",
        "127.0.0.1:5000/a-b_c.d/e__f:1.0",
        "[::1]:5000/a/b:c",
        "reg.io/a@sha256:0",
        "REG.io/a",
        "reg.io/A",
        "ACME/skill",
        "reg.io/a//b",
        "oci://reg.io/a",
        "reg.io/a:b/c",
        "a/..",
        "",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .chain([format!("reg.io/a@{digest}").into_bytes(), format!("reg.io/a:t@{digest}").into_bytes()])
    .collect();
    seed("reference", fuzz::reference, &seeds);
}

#[test]
fn docker_configs() {
    let config = r#"{"auths":{"reg.io":{"auth":"dTpw"},"https://index.docker.io/v1/":{"username":"u","password":"p"},"*.b.reg.io/x":{"identitytoken":"t"},"reg.io:5000/a":{"registrytoken":"r","auth":""},"[::1]:5000":{"auth":"dTpw"}},"credsStore":"osxkeychain","credHelpers":{"gcr.io":"gcloud"}}"#;
    let legacy = r#"{"https://reg.io/v1/":{"username":"u","password":"p","email":"e"},"r?g.[a-z]o/a":{"auth":"dTpwOng="}}"#;
    let lines = "https://reg.io/v2/\nuser\npassword\ntoken";
    let mut seeds = vec![];
    for control in 0..4 {
        for body in [config, legacy, lines, "{}", r#"{"auths":null}"#] {
            seeds.push(controlled(body.as_bytes(), control));
        }
    }
    seed("docker_config", fuzz::docker_config, &seeds);
}

#[test]
fn mount_tables() {
    let seeds: Vec<_> = [
        "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n",
        "1 1 0:1 / / rw - rootfs rootfs rw\n24 1 0:22 / /a\\040b\\011c\\134d ro shared:1 master:2 propagate_from:3 unbindable - overlay overlay ro,lowerdir=/x\\072y:/z\n",
        "36 35 98:0 /gone//deleted /mnt2 rw -  none rw\n",
        "36 35 98:0 / / rw\n",
        "",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    seed("mountinfo", fuzz::mountinfo, &seeds);
}

/// The parser is private, so its seeds are only kept, and run by its unit tests.
#[test]
fn challenges() {
    let seeds: Vec<_> = [
        "Bearer realm=\"https://auth.example.org/token\",service=\"reg.io\",scope=\"repository:a/b:pull\"",
        "basic realm=\"a, Bearer realm=\\\"x\\\"\"",
        "Negotiate abc==, Bearer realm=https://x/token,service=y, BASIC realm=\"x\"",
        "Bearer realm=\"unterminated",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    seed("challenge", |_| {}, &seeds);
}
