//! `skillmount inspect` as the linter of a skill's author: through the binary, on artifacts that
//! were never pushed.

// Helpers outside `#[test]` functions assert too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use skillmount::reference::Digest;
use support::{Tar, gzip};

/// What is wrong: a name that is not the specification's, no description, a field of Claude Code.
const POOR: &str = "---\nname: Code_Review\nversion: 1.0.0\n---\n# Review\n";
const GOOD: &str = "---\nname: code-review\ndescription: Reviews code.\n---\n# Review\n";

/// The files of an OCI layout of one image, `v1`, of this SKILL.md and a script.
fn files(skill_md: &str) -> Vec<(String, Vec<u8>)> {
    let tar =
        Tar::new().file("SKILL.md", skill_md, 0o644).file("scripts/run.sh", "#!/bin/sh\n", 0o755);
    let tar = tar.build();
    let layer = gzip(&tar);
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [Digest::sha256(&tar).to_string()]},
    });
    let mut files = vec![("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec())];
    let mut blob = |media_type: &str, bytes: Vec<u8>| {
        let digest = Digest::sha256(&bytes);
        let descriptor =
            json!({"mediaType": media_type, "digest": digest.to_string(), "size": bytes.len()});
        files.push((format!("blobs/sha256/{}", digest.hex()), bytes));
        descriptor
    };
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob("application/vnd.oci.image.config.v1+json", config.to_string().into_bytes()),
        "layers": [blob("application/vnd.oci.image.layer.v1.tar+gzip", layer)],
    });
    let mut manifest =
        blob("application/vnd.oci.image.manifest.v1+json", manifest.to_string().into_bytes());
    manifest["annotations"] = json!({"org.opencontainers.image.ref.name": "v1"});
    let index = json!({"schemaVersion": 2, "manifests": [manifest]});
    files.push(("index.json".into(), index.to_string().into_bytes()));
    files
}

/// Writes a layout `code-review` and an archive `code-review.tar` of it.
fn layouts(scratch: &Path, skill_md: &str) -> (PathBuf, PathBuf) {
    let (dir, archive) = (scratch.join("code-review"), scratch.join("code-review.tar"));
    let mut tar = Tar::new();
    for (path, bytes) in files(skill_md) {
        let file = dir.join(&path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, &bytes).unwrap();
        tar = tar.file(&path, &bytes, 0o644);
    }
    fs::write(&archive, tar.build()).unwrap();
    (dir, archive)
}

/// Exit code, standard output and standard error, with the scratch directory left out.
fn inspect(scratch: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_skillmount"))
        .arg("inspect")
        .args(arguments)
        .env_clear()
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap().replace(scratch.to_str().unwrap(), "");
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// Digests have no place in a test of words.
fn plain(text: &str) -> String {
    let words = text.split_inclusive([' ', '\n', '"']).map(|word| match word.find("sha256:") {
        Some(at) => format!("{}sha256:…{}", &word[..at], &word[word.len() - 1..]),
        None => word.to_owned(),
    });
    words.collect()
}

#[test]
fn a_good_skill_has_no_findings() {
    let scratch = tempfile::tempdir().unwrap();
    let (dir, archive) = layouts(scratch.path(), GOOD);
    for place in [
        format!("oci:{}", dir.display()),
        format!("oci:{}:v1", dir.display()),
        format!("oci-archive:{}", archive.display()),
        format!("oci-archive:{}:v1", archive.display()),
    ] {
        let arguments = [place.as_str(), "--validation", "strict"];
        let (code, text, error) = inspect(scratch.path(), &arguments);
        let shown = place.replace(scratch.path().to_str().unwrap(), "");
        let expected = format!(
            "reference  {shown}\ndigest     sha256:…\nformat     image\nshape      single\n\
             size       189 B to download, 72 B in 2 files\n\
             skill      code-review: Reviews code.\n"
        );
        assert_eq!((code, plain(&text), error), (0, expected, String::new()), "{place}");
    }
}

#[test]
fn warnings_are_for_people_and_name_their_rule() {
    let scratch = tempfile::tempdir().unwrap();
    let (dir, _) = layouts(scratch.path(), POOR);
    let (code, text, error) = inspect(scratch.path(), &[&format!("oci:{}", dir.display())]);
    let expected = "\
reference  oci:/code-review
digest     sha256:…
format     image
shape      single
size       188 B to download, 60 B in 2 files
skill      Code_Review: (no description)
warning    SKILL.md: name \"Code_Review\" is not lower-case [agentskills.io: name]
warning    SKILL.md: has no description [agentskills.io: description]
";
    assert_eq!((code, plain(&text).as_str(), error.as_str()), (0, expected, ""));
}

#[test]
fn a_strict_validation_tells_all_findings_and_fails() {
    let scratch = tempfile::tempdir().unwrap();
    let (dir, _) = layouts(scratch.path(), POOR);
    let place = format!("oci:{}", dir.display());
    let (code, text, error) = inspect(scratch.path(), &[&place, "--validation", "strict"]);
    let findings = [
        "SKILL.md: name \"Code_Review\" is not lower-case [agentskills.io: name]",
        "SKILL.md: has no description [agentskills.io: description]",
        "SKILL.md: field \"version\" is not in the specification [agentskills.io: front matter]",
    ];
    let lines = findings.map(|finding| format!("finding    {finding}\n")).concat();
    let summary = "cannot inspect oci:/code-review: strict validation found 3 problems";
    assert_eq!((code, text, error), (1, lines, format!("error: {summary}\n")));
    let arguments = [place.as_str(), "--validation", "strict", "--output", "json"];
    let (code, text, error) = inspect(scratch.path(), &arguments);
    let found: Value = serde_json::from_str(&text).unwrap();
    let expected = json!({"reference": "oci:/code-review", "error": summary, "findings": findings});
    assert_eq!((code, found, error.as_str()), (1, expected, ""));
}

#[test]
fn the_output_for_programs_is_stable() {
    let scratch = tempfile::tempdir().unwrap();
    let (_, archive) = layouts(scratch.path(), POOR);
    let place = format!("oci-archive:{}", archive.display());
    let (code, text, error) = inspect(scratch.path(), &[&place, "--output", "json"]);
    let found: Value = serde_json::from_str(&plain(&text)).unwrap();
    let expected = json!({
        "reference": "oci-archive:/code-review.tar",
        "digest": "sha256:…",
        "collection": false,
        "artifacts": [{
            "repository": "oci-archive:/code-review.tar",
            "digest": "sha256:…",
            "format": "image",
            "shape": "single",
            "layers": [{
                "digest": "sha256:…",
                "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                "size": 188,
            }],
            "skills": [{
                "name": "Code_Review",
                "description": null,
                "path": ".",
                "files": 2,
                "bytes": 60,
            }],
            "files": 2,
            "bytes": 60,
            "warnings": [
                "SKILL.md: name \"Code_Review\" is not lower-case [agentskills.io: name]",
                "SKILL.md: has no description [agentskills.io: description]",
            ],
        }],
    });
    assert_eq!((code, found, error.as_str()), (0, expected, ""));
}

#[test]
fn what_cannot_be_had_is_told_on_one_line() {
    let scratch = tempfile::tempdir().unwrap();
    let (code, text, error) = inspect(scratch.path(), &["oci:/nowhere/at/all"]);
    let expected = "error: cannot inspect oci:/nowhere/at/all: resolving the reference: cannot open \
                    /nowhere/at/all: No such file or directory (os error 2)\n";
    assert_eq!((code, text.as_str(), error.as_str()), (1, "", expected));
    let (code, text, error) = inspect(scratch.path(), &["oci:"]);
    let expected =
        "error: \"oci:\" names no path: write oci:PATH[:TAG] or oci-archive:PATH[:TAG]\n";
    assert_eq!((code, text.as_str(), error.as_str()), (64, "", expected));
}
