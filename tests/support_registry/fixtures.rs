//! Archives, compressions and artifacts.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use serde_json::Value;
use skillmount::reference::Digest;

use crate::support::artifacts::{self, Children, Layer};
use crate::support::{self, Options, Registry, Tar, blobs, skills};
use crate::{get, json};

/// What GNU tar makes of an archive.
fn untar(archive: &[u8]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let mut tar = Command::new("tar")
        .args(["-x", "-p", "--no-same-owner", "-C"])
        .arg(directory.path())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    tar.stdin.take().unwrap().write_all(archive).unwrap();
    assert!(tar.wait().unwrap().success());
    directory
}

#[test]
fn archives_are_what_tar_reads() {
    let skill = skills::code_review();
    let plain = skill.tar().build();
    assert_eq!(support::listing(untar(&plain)), skill.listing());
    assert_eq!(plain, skill.tar().build(), "equal calls give equal bytes");
    assert_eq!(
        skill.listing(),
        [
            "-rw-r--r-- SKILL.md 81".to_owned(),
            "drwxr-xr-x references".into(),
            "-rw-r--r-- references/REFERENCE.md 6".into(),
            "drwxr-xr-x scripts".into(),
            "-rwxr-xr-x scripts/run.sh 18".into(),
            "-rw-r--r-- skill.yaml 145".into(),
        ]
    );
    let long = "n".repeat(120);
    let odd = Tar::new()
        .pax_global(&[("comment", b"git".as_slice())])
        .file(&long, "a", 0o600)
        .gnu_long_name(&format!("{long}2"))
        .file("cut", "bb", 0o644)
        .symlink("link", "cut")
        .hardlink("hard", &long)
        .fifo("pipe")
        .sparse("sparse", 2048)
        .pad_to(10_240)
        .build();
    assert_eq!(odd.len() % 10_240, 0);
    assert_eq!(
        support::listing(untar(&odd)),
        [
            "-rw------- hard 1".to_owned(),
            "lrwxrwxrwx link -> cut".into(),
            format!("-rw------- {long} 1"),
            format!("-rw-r--r-- {long}2 2"),
            "prw-r--r-- pipe".into(),
            "-rw-r--r-- sparse 2048".into(),
        ]
    );
    let open = Tar::new().file("a", "a", 0o644).no_end_marker().trailing(*b"tail").build();
    assert_eq!((open.len(), &open[1024..]), (1028, b"tail".as_slice()));
}

#[test]
fn compressions_can_be_read_back() {
    let mut text = String::new();
    let members = blobs::gzip_members(&[b"one ", b"two"]);
    flate2::read::MultiGzDecoder::new(members.as_slice()).read_to_string(&mut text).unwrap();
    assert_eq!(text, "one two");
    assert_eq!(zstd::decode_all(support::zstd(b"text").as_slice()).unwrap(), b"text");
    let window = |log| zstd::decode_all(blobs::zstd_window(b"text", log).as_slice());
    assert_eq!(window(20).unwrap(), b"text");
    assert!(window(31).is_err(), "zstd's own limit is 27");
    let mut bomb = vec![];
    let packed = blobs::gzip_bomb("zeros", 1 << 20);
    flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut bomb).unwrap();
    assert_eq!(std::fs::metadata(untar(&bomb).path().join("zeros")).unwrap().len(), 1 << 20);
    assert!(packed.len() < 8192, "{}", packed.len());
}

#[tokio::test]
async fn every_artifact_names_blobs_that_are_there() {
    let registry = Registry::start(Options::default());
    let skill = skills::code_review();
    let two = [skill.clone(), skills::docs_writer()];
    let r = &registry;
    let mut pushed: BTreeMap<&str, Digest> = BTreeMap::new();
    for (repo, digest) in [
        ("f/skillimage", artifacts::skillimage(r, "f/skillimage", "1", &skill)),
        ("f/redhat", artifacts::skillimage_redhat(r, "f/redhat", "1", &skill)),
        ("f/old", artifacts::skillimage_old(r, "f/old", "1", &skill)),
        ("f/team", artifacts::skillimage_collection(r, "f/team", "1", &[("a", "h/a:1")])),
        ("f/bundle", artifacts::skillimage_bundle(r, "f/bundle", "1", &two)),
        ("f/salaboy", artifacts::salaboy(r, "f/salaboy", "1", &skill)),
        ("f/arconia", artifacts::arconia(r, "f/arconia", "1", &skill)),
        ("f/docsclaw", artifacts::docsclaw(r, "f/docsclaw", "1", &skill)),
        ("f/bare", artifacts::bare_skill_md(r, "f/bare", "1", &skill)),
        ("f/cumasach", artifacts::cumasach(r, "f/cumasach", "1", &skill)),
        ("f/dir", artifacts::oras_dir(r, "f/dir", "1", &skill)),
        ("f/dot", artifacts::oras_dot(r, "f/dot", "1", &skill)),
        ("f/dirs", artifacts::oras_dirs(r, "f/dirs", "1", &two)),
        ("f/files", artifacts::oras_files(r, "f/files", "1", &skill)),
        ("f/toolhive", artifacts::toolhive(r, "f/toolhive", "1", &skill)),
        ("f/plugin", artifacts::toolhive_plugin(r, "f/plugin", "1", &two)),
        ("f/flux", artifacts::flux(r, "f/flux", "1", &two)),
        ("f/docker", artifacts::docker(r, "f/docker", "1", &skill)),
        ("f/whiteouts", artifacts::docker_whiteouts(r, "f/whiteouts", "1", &skill)),
        ("f/list", artifacts::docker_list(r, "f/list", "1", &skill)),
        ("f/buildkit", artifacts::buildkit(r, "f/buildkit", "1", &skill)),
        ("f/zstd", artifacts::skill_image(r, "f/zstd", "1", &skill, Layer::zstd)),
        ("f/alibaba", artifacts::alibaba(r, "f/alibaba", "1", &skill)),
        ("f/ramalama", artifacts::ramalama(r, "f/ramalama", "1", &skill, "folder")),
        ("f/lola", artifacts::lola(r, "f/lola", "1", &two)),
        ("f/modelpack", artifacts::modelpack(r, "f/modelpack", "1", &skill)),
        ("f/agent", artifacts::agent_plugin(r, "f/agent", "1", &two)),
        ("f/helm", artifacts::helm_chart(r, "f/helm", "1")),
        ("f/wasm", artifacts::wasm(r, "f/wasm", "1")),
    ] {
        pushed.insert(repo, digest);
    }
    let kinds = [
        ("same", Children::SameRepository),
        ("by-name", Children::RefName),
        ("by-ref", Children::SkillRef),
    ];
    for (tag, children) in kinds {
        artifacts::agentskills_collection(r, "f/collection", tag, &two, children);
    }
    let subject = &pushed["f/skillimage"];
    let (tag, _) = artifacts::cosign_signature(r, "f/skillimage", subject);
    assert_eq!(tag, format!("sha256-{}.sig", subject.hex()));
    artifacts::sbom(r, "f/skillimage", "sbom", subject);
    artifacts::attestation(r, "f/skillimage", "attestation", subject);
    let referrers = get(r, &format!("/v2/f/skillimage/referrers/{subject}")).await;
    assert_eq!(json(referrers).await["manifests"].as_array().unwrap().len(), 2);

    for (repo, digest) in &pushed {
        let body = registry.manifest(repo, "1").unwrap();
        assert_eq!(Digest::sha256(&body), *digest, "{repo}");
        let top: Value = serde_json::from_slice(&body).unwrap();
        let children = top["manifests"].as_array().cloned().unwrap_or_default();
        let children = children.iter().map(|child| {
            let body = registry.manifest(repo, child["digest"].as_str().unwrap()).unwrap();
            assert_eq!(child["size"], body.len(), "{repo}");
            serde_json::from_slice(&body).unwrap()
        });
        for document in children.collect::<Vec<Value>>().iter().chain([&top]) {
            let layers = document["layers"].as_array().cloned().unwrap_or_default();
            let blobs: Vec<_> = layers.iter().chain(document.get("config")).collect();
            assert_eq!(blobs.len() < 2, document["manifests"].is_array(), "{repo}");
            for blob in blobs {
                let path = format!("/v2/{repo}/blobs/{}", blob["digest"].as_str().unwrap());
                assert_eq!(
                    get(r, &path).await.bytes().await.unwrap().len(),
                    blob["size"],
                    "{repo}"
                );
            }
        }
    }
    // The same layer under two profiles is one blob: what stores key by.
    assert_eq!(registry.layers("f/skillimage", "1"), registry.layers("f/redhat", "1"));
    // Alibaba's config is not the well-known empty one.
    let alibaba: Value =
        serde_json::from_slice(&registry.manifest("f/alibaba", "1").unwrap()).unwrap();
    assert_eq!(alibaba["config"]["size"], 3);
    assert!(alibaba["config"]["digest"].as_str().unwrap().starts_with("sha256:ca3d163b"));
}

#[test]
fn the_example_skills_are_named_by_their_directories() {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/skills");
    for name in ["code-review", "log-triage", "release-notes"] {
        let skill = support::Skill::from_dir(format!("{examples}/{name}"));
        let text = String::from_utf8(skill.files["SKILL.md"].content.clone()).unwrap();
        assert!(text.starts_with(&format!("---\nname: {name}\ndescription: ")), "{name}");
        assert!((1..=1024).contains(&skill.description.len()), "{name}");
        assert!(text.lines().count() < 80, "{name}");
        let scripts = skill.files.iter().filter(|(path, _)| path.starts_with("scripts/"));
        let scripts: Vec<_> = scripts.map(|(path, file)| (path, file.mode)).collect();
        assert_eq!(scripts.len(), 1, "{name}");
        assert_eq!(scripts[0].1, 0o755, "{name}");
        // What SKILL.md tells an agent to run or to read is there.
        for path in skill.files.keys().filter(|path| *path != "SKILL.md") {
            assert!(text.contains(path.as_str()), "{name} does not mention {path}");
        }
    }
}
