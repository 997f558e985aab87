//! `skillmount pull` as its user meets it: the directory, the report, and an early end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests assert")]

#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::tree::names;
use support::{Fault, Gate, On, Options, Registry, artifacts, skills, tree};

fn command(reference: &str, output: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skillmount"));
    command.env_clear().args(["pull", reference, "--output"]).arg(output);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What it printed, once it has ended as it should.
fn printed(mut command: Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_and_an_empty_directory_get_the_same_files() {
    let registry = Registry::start(Options::default());
    artifacts::skillimage(&registry, "team/code-review", "v1", &skills::code_review());
    let reference = registry.reference("team/code-review", "v1");
    let root = tempfile::tempdir().unwrap();
    let (new, empty) = (root.path().join("new"), root.path().join("empty"));
    fs::create_dir(&empty).unwrap();
    for output in [&new, &empty] {
        printed(command(&reference, output));
        assert_eq!(tree::listing(output), skills::code_review().listing());
    }
    assert_eq!(names(root.path()), ["empty", "new"]);

    let again = command(&reference, &new).output().unwrap();
    assert_eq!(again.status.code(), Some(64));
    assert_eq!(
        String::from_utf8(again.stderr).unwrap(),
        format!("error: --output {}: it is not empty\n", new.display())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_report_counts_what_was_written() {
    let registry = Registry::start(Options::default());
    let both = [skills::code_review(), skills::docs_writer()];
    artifacts::skillimage_bundle(&registry, "team/all", "v1", &both);
    let reference = registry.reference("team/all", "v1");
    let root = tempfile::tempdir().unwrap();
    let output = root.path().join("out");
    let mut command = command(&reference, &output);
    command.args(["--skills", "docs-writer"]);
    let text = printed(command);
    let files = tree::listing(&output).iter().filter(|line| line.starts_with('-')).count();
    let expected = format!("wrote skill docs-writer to {}: {files} files, ", output.display());
    assert!(text.lines().last().unwrap().starts_with(&expected), "{text}\nnot {expected}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sub_path_is_the_artifact() {
    let registry = Registry::start(Options::default());
    let both = [skills::code_review(), skills::docs_writer()];
    artifacts::skillimage_bundle(&registry, "team/all", "v1", &both);
    let reference = registry.reference("team/all", "v1");
    let root = tempfile::tempdir().unwrap();
    let run = |path: &str, output: &Path| {
        let mut command = command(&reference, output);
        command.args(["--sub-path", path]);
        command
    };
    let output = root.path().join("out");
    printed(run("docs-writer", &output));
    assert_eq!(tree::listing(&output), skills::docs_writer().listing());
    for (path, code, expected) in [
        (
            "nobody",
            1,
            format!(
                "cannot pull {reference}: looking for skills: the artifact has no directory nobody"
            ),
        ),
        (
            "../x",
            64,
            "attribute \"subPath\" is \"../x\"; it must be a path inside the artifact: path \
             \"../x\" has a \"..\" component"
                .into(),
        ),
    ] {
        let ended = run(path, &root.path().join("none")).output().unwrap();
        assert_eq!(String::from_utf8(ended.stderr).unwrap(), format!("error: {expected}\n"));
        assert_eq!(ended.status.code(), Some(code));
    }
    assert_eq!(names(root.path()), ["out"]);
}

#[test]
fn a_listed_mirror_has_to_be_a_host() {
    let root = tempfile::tempdir().unwrap();
    for listed in ["https://m.example", "m.example/cache", "*.example", "m.example:x", "a b", ""] {
        let mut command = command("r.example/a:v1", &root.path().join("out"));
        let ended = command.arg(format!("--mirror-credentials={listed}")).output().unwrap();
        assert_eq!(ended.status.code(), Some(64), "{listed}");
        let text = String::from_utf8(ended.stderr).unwrap();
        let expected = format!(
            "error: invalid value '{listed}' for '--mirror-credentials <HOST>': \
             it is not host or host:port\n"
        );
        assert!(text.starts_with(&expected), "{text}");
    }
    assert_eq!(names(root.path()), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_pull_leaves_nothing() {
    for (signal, name) in [(Signal::SIGTERM, "SIGTERM"), (Signal::SIGINT, "SIGINT")] {
        let registry = Registry::start(Options::default());
        artifacts::skillimage(&registry, "team/code-review", "v1", &skills::code_review());
        let gate = Gate::held();
        let layer = &registry.layers("team/code-review", "v1")[0];
        registry.fault(On::blob(layer), Fault::Stall(gate.clone()));
        let root = tempfile::tempdir().unwrap();
        let output = root.path().join("out");
        let child =
            command(&registry.reference("team/code-review", "v1"), &output).spawn().unwrap();
        gate.wait_for_waiting(1).await;
        assert_eq!(names(root.path()), [format!(".skillmount-pull-{}", child.id())]);
        kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
        let ended = child.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(1));
        assert_eq!(String::from_utf8(ended.stderr).unwrap(), format!("error: stopped by {name}\n"));
        assert_eq!(names(root.path()), [""; 0]);
    }
}
