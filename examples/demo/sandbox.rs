//! A mount namespace of the demo's own, and without root a user namespace too: the driver mounts
//! for real, and the machine sees nothing of it.

use std::fs;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

/// What the kernel may have been told to refuse: file, the value that refuses, what to do.
const SWITCHES: [(&str, &str, &str); 4] = [
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "AppArmor keeps user namespaces from ordinary users (Ubuntu 23.10 and later); until the \
         next boot `sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0` allows them",
    ),
    (
        "/proc/sys/kernel/unprivileged_userns_clone",
        "0",
        "user namespaces are for root only; `sudo sysctl kernel.unprivileged_userns_clone=1` \
         allows them",
    ),
    (
        "/proc/sys/user/max_user_namespaces",
        "0",
        "user namespaces are switched off; `sudo sysctl user.max_user_namespaces=10000` allows \
         them",
    ),
    (
        "/proc/sys/user/max_mnt_namespaces",
        "0",
        "mount namespaces are switched off; `sudo sysctl user.max_mnt_namespaces=10000` allows \
         them",
    ),
];

/// Enters the namespaces and says which. To be called before there is any thread: a user
/// namespace is not given to a process that has several (unshare(2)).
pub(crate) fn enter() -> Result<String, String> {
    let uid = geteuid();
    let own_user = match unshare_mounts(uid.is_root()) {
        Ok(own_user) => own_user,
        Err(error) => return Err(refused("unshare", &error)),
    };
    // What is mounted here must not spread to the machine, nor the machine's to here.
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .map_err(|error| refused("making all mounts private", &error.into()))?;
    Ok(match own_user {
        false => "as root, in a mount namespace of its own".into(),
        true => format!("as user {uid}, in a user and a mount namespace of its own"),
    })
}

/// Root needs no user namespace, but a root that a container has cut down does.
fn unshare_mounts(root: bool) -> std::io::Result<bool> {
    if root {
        match unshare(CloneFlags::CLONE_NEWNS) {
            Err(Errno::EPERM) => {}
            result => return result.map(|()| false).map_err(Into::into),
        }
    }
    let (uid, gid) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
    // Without this the kernel accepts no gid_map from an ordinary user (user_namespaces(7)).
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1"))?;
    Ok(true)
}

/// What this machine forbids, as far as it can be told, and what to do about it.
pub(crate) fn refused(step: &str, error: &std::io::Error) -> String {
    let mut text = format!(
        "this machine refuses what the demo needs to mount without touching anything: {step}: \
         {error}\n"
    );
    let set = |file: &str, value: &str| fs::read_to_string(file).is_ok_and(|v| v.trim() == value);
    let found: Vec<_> = SWITCHES.iter().filter(|(file, value, _)| set(file, value)).collect();
    for (_, _, advice) in &found {
        text.push_str(&format!("  - {advice}\n"));
    }
    if found.is_empty() {
        text.push_str(
            "  - in a container its system-call filter or missing capabilities forbid it: run \
             the demo on the host, or in a container with `--privileged`\n",
        );
    }
    if !geteuid().is_root() {
        let demo = std::env::current_exe().map(|path| path.display().to_string());
        let demo = demo.unwrap_or_else(|_| "target/debug/examples/demo".into());
        text.push_str(&format!("  - or run it as root: `sudo {demo}`\n"));
    }
    text
}
