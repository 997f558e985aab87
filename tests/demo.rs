//! `make demo` works as whoever runs the tests, and leaves nothing in its temporary directory.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests assert")]
#![allow(clippy::print_stdout, reason = "a skipped test says so")]

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// As in `support/namespace.rs`.
const NO_NAMESPACES: &str = "SKILLMOUNT_TEST_NO_NAMESPACES";

#[test]
fn the_demo_succeeds_and_leaves_nothing() {
    let Some(demo) = demo() else { return };
    let temporary = tempfile::tempdir().unwrap();
    let output = command(&demo, temporary.path()).output().unwrap();
    let (text, errors) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    assert!(output.status.success(), "{}\n{text}\n{errors}", output.status);
    for line in [
        "the same again, as after a restart of kubelet: no request to the registry",
        "a second pod shares the files: no request to the registry",
        "a wrong password is refused (Unauthenticated)",
        "the other owner's login is refused (PermissionDenied)",
        "Read-only file system",
        "nothing is mounted below the demo's directory",
    ] {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
    let last = text.trim_end().lines().last().unwrap();
    assert!(last.contains("nothing is left"), "{text}");
    assert!(!text.contains('\x1b'), "colours in a pipe: {text:?}");
    assert_eq!(errors, "");
    assert!(text.lines().count() <= 70, "the output is short:\n{text}");
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
}

#[test]
fn an_interrupted_demo_leaves_nothing() {
    let Some(demo) = demo() else { return };
    let temporary = tempfile::tempdir().unwrap();
    let mut child = command(&demo, temporary.path()).stdout(Stdio::piped()).spawn().unwrap();
    // Interrupted while the driver runs, at the latest when the first line about it is read.
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let mut text = String::new();
    for line in lines.by_ref() {
        let line = line.unwrap();
        text.push_str(&line);
        if line.contains("`skillmount node` serves") {
            break;
        }
    }
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    let status = child.wait().unwrap();
    // A demo that was quicker than the signal has succeeded.
    assert!(matches!(status.code(), Some(130 | 0)), "{status} {:?}\n{text}", status.signal());
    assert!(rest.last().is_some_and(|last| last.contains("nothing is left")), "{text} {rest:?}");
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
}

fn command(demo: &Path, temporary: &Path) -> Command {
    let mut command = Command::new(demo);
    command.env("TMPDIR", temporary);
    command
}

/// The demo, built: `cargo test` builds examples, but not when it is told which targets to test.
fn demo() -> Option<PathBuf> {
    if std::env::var_os(NO_NAMESPACES).is_some_and(|value| value == "1") {
        println!("skipped: the demo needs a mount namespace, and {NO_NAMESPACES}=1");
        return None;
    }
    let profile = Path::new(env!("CARGO_BIN_EXE_skillmount")).parent().unwrap();
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--bin", "skillmount", "--example", "demo", "--target-dir"]);
    build.arg(profile.parent().unwrap());
    if profile.ends_with("release") {
        build.arg("--release");
    }
    let status = build.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap();
    assert!(status.success(), "{build:?}: {status}");
    Some(profile.join("examples/demo"))
}
