use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::process::test_kill_process;
use tokio::time::{advance, pause, resume};

use super::*;

/// A program that is a script.
fn script(directory: &Path, text: &str) -> Exec {
    let path = directory.join("provider");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    Exec { path, args: vec![], env: vec![], timeout: Duration::from_secs(60) }
}

async fn outcome(text: &str) -> Result<String, String> {
    let scratch = tempfile::tempdir().unwrap();
    let exec = script(scratch.path(), text);
    let output = exec.run("p", b"CANARY question\n").await;
    output.map(|bytes| String::from_utf8(bytes).unwrap()).map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_program_answers_or_its_end_is_told() {
    let long = "it wrote more than 1048576 bytes";
    for (text, expected) in [
        ("cat", Ok("CANARY question\n")),
        ("echo unasked", Ok("unasked\n")),
        ("exec 0<&-; echo deaf", Ok("deaf\n")),
        ("cat; echo CANARY >&2; exit 3", Err("it ended with exit status 3")),
        ("kill -9 $$", Err("it was ended by signal 9")),
        ("cat /dev/zero", Err(long)),
        ("head -c 1048577 /dev/zero; cat; sleep 600", Err(long)),
        // More than a pipe holds.
        ("head -c 1000000 /dev/zero >&2; echo loud", Ok("loud\n")),
    ] {
        let found = outcome(text).await;
        assert_eq!(found.as_deref().map_err(String::as_str), expected, "{text}");
    }
}

#[tokio::test]
async fn arguments_and_environment_are_the_configurations_and_the_drivers() {
    let scratch = tempfile::tempdir().unwrap();
    let mut exec = script(scratch.path(), "echo \"$1 $2 $SKILLS $HOME $0\"; pwd");
    exec.args = vec!["get; x".into(), "$(y)".into()];
    exec.env = vec![("SKILLS".into(), "a b".into()), ("HOME".into(), "/other".into())];
    let output = String::from_utf8(exec.run("p", b"").await.unwrap()).unwrap();
    let directory = std::env::current_dir().unwrap();
    let expected =
        format!("get; x $(y) a b /other {}\n{}\n", exec.path.display(), directory.display());
    assert_eq!(output, expected);
    exec = script(scratch.path(), "echo $CARGO_MANIFEST_DIR");
    let output = String::from_utf8(exec.run("p", b"").await.unwrap()).unwrap();
    assert_eq!(output.trim(), std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default());
}

/// The number that a script has written once it is on its way.
async fn noted(path: &Path) -> Pid {
    loop {
        let number = fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok());
        match number.and_then(Pid::from_raw) {
            Some(pid) => return pid,
            None => tokio::task::yield_now().await,
        }
    }
}

/// Whether a process is there, or waits to be buried.
fn lives(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    let dead = stat.is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|s| s.starts_with('Z')));
    test_kill_process(pid).is_ok() && !dead
}

/// A program that starts another and waits for it, and where it notes the other's number.
fn parent(directory: &Path) -> (Exec, PathBuf) {
    let note = directory.join("child");
    let text = format!("sleep 600 & echo $! > {0}.new; mv {0}.new {0}; wait", note.display());
    (script(directory, &text), note)
}

#[tokio::test]
async fn what_takes_too_long_is_killed_with_all_that_it_started() {
    let scratch = tempfile::tempdir().unwrap();
    let (exec, note) = parent(scratch.path());
    pause();
    let call = tokio::spawn(async move { exec.run("p", b"").await });
    let child = noted(&note).await;
    assert!(lives(child));
    advance(Duration::from_secs(60)).await;
    resume();
    let error = call.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "it did not end within 60 s");
    while lives(child) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_a_program_leaves_behind_is_killed() {
    for (end, expected) in
        [("echo done", Ok("done\n")), ("exit 3", Err("it ended with exit status 3"))]
    {
        let scratch = tempfile::tempdir().unwrap();
        let note = scratch.path().join("child");
        // It holds no pipe open.
        let text = format!("sleep 600 <&- >&- 2>&- & echo $! > {}; {end}", note.display());
        let output = script(scratch.path(), &text).run("p", b"").await;
        let output = output.map(|bytes| String::from_utf8(bytes).unwrap());
        let output = output.map_err(|error| error.to_string());
        assert_eq!(output.as_deref().map_err(String::as_str), expected);
        let child = noted(&note).await;
        while lives(child) {
            tokio::task::yield_now().await;
        }
    }
    // One that ends after its output does is waited for.
    let slow =
        outcome("cat; exec >&- 2>&-; head -c 100000000 /dev/zero | wc -c >/dev/null; exit 4");
    assert_eq!(slow.await, Err("it ended with exit status 4".into()));
}

#[tokio::test]
async fn what_nobody_waits_for_is_killed() {
    let scratch = tempfile::tempdir().unwrap();
    let (exec, note) = parent(scratch.path());
    let call = tokio::spawn(async move { exec.run("p", b"").await });
    let child = noted(&note).await;
    assert!(lives(child));
    call.abort();
    while lives(child) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn only_what_the_administrator_alone_can_change_is_executed() {
    let scratch = tempfile::tempdir().unwrap();
    let exec = script(scratch.path(), "echo CANARY");
    let path = exec.path.clone();
    for (mode, expected) in [
        (0o755, None),
        (0o700, None),
        (0o775, Some("its mode is 775: its group or others can write to it (chmod go-w)")),
        (0o757, Some("its mode is 757: its group or others can write to it (chmod go-w)")),
        (0o644, Some("its mode is 644: it is not executable (chmod a+x)")),
    ] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = exec.run("p", b"").await.err().map(|error| error.to_string());
        let expected = expected.map(|text| format!("its program is not executed: {text}"));
        assert_eq!(error, expected, "{mode:o}");
    }
    let not_a_file = "its program is not executed: it is not a regular file";
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/bin/sh", &path).unwrap();
    assert_eq!(exec.run("p", b"").await.unwrap_err().to_string(), not_a_file);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(exec.run("p", b"").await.unwrap_err().to_string(), not_a_file);
    fs::remove_dir(&path).unwrap();
    let gone = exec.run("p", b"").await.unwrap_err().to_string();
    assert!(gone.contains("No such file"), "{gone}");
    fs::write(&path, "not a program").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let error = exec.run("p", b"").await.unwrap_err().to_string();
    assert!(error.starts_with("its program cannot be started: Exec format error"), "{error}");
    if rustix::process::geteuid().is_root() {
        nix::unistd::chown(&path, Some(nix::unistd::Uid::from_raw(1000)), None).unwrap();
        let error = exec.run("p", b"").await.unwrap_err().to_string();
        assert_eq!(error, "its program is not executed: it belongs to user 1000: chown it to root");
    }
}
