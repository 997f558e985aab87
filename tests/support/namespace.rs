//! Tests that mount: each runs its body in a mount namespace of its own, and without root in a
//! user namespace of its own too, so that nothing of the machine's is touched or left behind.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used
)]
#![allow(dead_code)] // Not every test binary needs all of it.

use std::env;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use nix::mount::{MsFlags, mount};

/// Set in the child: which test it is to run the body of, and at which stage (`name/stage`).
const STAGE: &str = "SKILLMOUNT_TEST_STAGE";
/// Set in the child: the directory that [`scratch`] mounts a tmpfs on.
const SCRATCH: &str = "SKILLMOUNT_TEST_SCRATCH";
/// Set by people whose machine has no namespaces to give: such tests are skipped, and say so.
const NO_NAMESPACES: &str = "SKILLMOUNT_TEST_NO_NAMESPACES";

/// Runs `body` in a new mount namespace: re-executes this test binary below `unshare`
/// (util-linux) for the one test named `test`, which must be the calling one.
///
/// # Panics
/// If the body does, or if namespaces are refused.
pub(crate) fn in_namespace(test: &str, body: impl FnOnce()) {
    let stage = format!("{test}/1");
    match env::var(STAGE) {
        Ok(found) if found == stage => body(),
        Ok(found) => panic!("{STAGE} is {found:?}, but the test is {test:?}"),
        Err(_) => first_stage(test, &stage),
    }
}

/// As [`in_namespace`], then `body` in a user namespace below it, for which the kernel locks the
/// mounts that `prepare` made.
pub(crate) fn in_nested_namespace(test: &str, prepare: impl FnOnce(), body: impl FnOnce()) {
    let [first, second] = [1, 2].map(|stage| format!("{test}/{stage}"));
    match env::var(STAGE) {
        Ok(found) if found == first => {
            prepare();
            reexecute(test, &second, &scratch_path(), true);
        }
        Ok(found) if found == second => body(),
        Ok(found) => panic!("{STAGE} is {found:?}, but the test is {test:?}"),
        Err(_) => first_stage(test, &first),
    }
}

/// An empty tmpfs, gone with the namespace. Not the machine's file system: whether that can be a
/// lower directory of an overlay, and with what flags it is mounted, is not the tests' concern.
pub(crate) fn scratch() -> PathBuf {
    let path = scratch_path();
    let flags = MsFlags::empty();
    mount(Some("scratch"), &path, Some("tmpfs"), flags, Some("mode=0755")).unwrap();
    path
}

/// The path of [`scratch`], mounted or not.
pub(crate) fn scratch_path() -> PathBuf {
    env::var_os(SCRATCH).expect("in a namespace").into()
}

/// Set in the process of a benchmark that is in a namespace.
const INSIDE: &str = "SKILLMOUNT_BENCH_INSIDE";

/// Runs the benchmark `name` in a new mount namespace: this program again, below `unshare`. It says
/// on standard error if it cannot.
pub(crate) fn bench_in_namespace(name: &str, measure: impl FnOnce()) -> ExitCode {
    if env::var_os(INSIDE).is_some() {
        measure();
        return ExitCode::SUCCESS;
    }
    if env::var_os(NO_NAMESPACES).is_some_and(|value| value == "1") {
        eprintln!("{name} is not measured: {NO_NAMESPACES}=1");
        return ExitCode::SUCCESS;
    }
    let mut command = unshare(!nix::unistd::geteuid().is_root());
    command.arg(env::current_exe().unwrap()).args(env::args_os().skip(1));
    match command.env(INSIDE, "1").status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        outcome => {
            eprintln!("{name} needs a mount namespace of its own, or it failed: {outcome:?}");
            ExitCode::FAILURE
        }
    }
}

/// What makes the namespaces; the command follows.
fn unshare(user: bool) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private"]);
    if user {
        command.args(["--user", "--map-root-user"]);
    }
    command.arg("--");
    command
}

fn first_stage(test: &str, stage: &str) {
    if env::var_os(NO_NAMESPACES).is_some_and(|value| value == "1") {
        println!("skipped: {test} needs a mount namespace, and {NO_NAMESPACES}=1");
        return;
    }
    // Removed by this process, which does not see what was mounted on it.
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().canonicalize().unwrap();
    reexecute(test, stage, &path, !nix::unistd::geteuid().is_root());
}

fn reexecute(test: &str, stage: &str, scratch: &std::path::Path, user: bool) {
    let mut command = unshare(user);
    command
        .arg(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1", "--include-ignored"])
        .env(STAGE, stage)
        .env(SCRATCH, scratch);
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => panic!("cannot run unshare, of util-linux: {error}"),
    };
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stdout.contains("\nrunning "),
        "this machine refuses namespaces, which {test} needs: {command:?}: {}: {stderr}\n\
         (set {NO_NAMESPACES}=1 to skip such tests)",
        output.status,
    );
    assert!(
        output.status.success() && stdout.contains("test result: ok. 1 passed; 0 failed"),
        "{test} in its namespace ({stage}): {}\n{stdout}\n{stderr}",
        output.status,
    );
    // For `--nocapture` runs: what the body printed.
    print!("{stdout}");
}
