//! Kills a process before one certain system call of those that change what a crash leaves behind.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// `PTRACE_EVENTMSG_SYSCALL_ENTRY` of linux/ptrace.h (Linux 5.3).
const ENTRY: i64 = 1;

/// The calls that change a directory or the mounts. `openat` counts if it makes a file, `write`
/// if it is to a file.
pub(crate) const STEPS: &[(libc::c_long, &str)] = &[
    (libc::SYS_mkdirat, "mkdir"),
    (libc::SYS_unlinkat, "unlink"),
    (libc::SYS_linkat, "link"),
    (libc::SYS_renameat, "rename"),
    (libc::SYS_renameat2, "rename"),
    (libc::SYS_openat, "open"),
    (libc::SYS_write, "write"),
    (libc::SYS_fsync, "fsync"),
    (libc::SYS_syncfs, "syncfs"),
    (libc::SYS_fchmod, "chmod"),
    (libc::SYS_fchmodat, "chmod"),
    (libc::SYS_utimensat, "utime"),
    (libc::SYS_mount, "mount"),
    (libc::SYS_umount2, "umount"),
    (libc::SYS_fsopen, "fsopen"),
    (libc::SYS_fsconfig, "fsconfig"),
    (libc::SYS_fsmount, "fsmount"),
    (libc::SYS_open_tree, "open_tree"),
    (libc::SYS_mount_setattr, "mount_setattr"),
    (libc::SYS_move_mount, "move_mount"),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mkdir, "mkdir"),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_rmdir, "rmdir"),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_unlink, "unlink"),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_link, "link"),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_rename, "rename"),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_chmod, "chmod"),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, "open"),
];

/// A thread that watches a process and kills it before its `at`th step, counted from 0.
pub(crate) struct Tracer(JoinHandle<Option<String>>);

impl Tracer {
    /// Returns when every thread of the process is watched. `root` is where files count.
    pub(crate) fn start(process: u32, at: usize, root: &Path) -> Self {
        let (process, root) = (Pid::from_raw(process.cast_signed()), root.to_owned());
        let (watching, watched) = std::sync::mpsc::channel();
        // Only the thread that seizes a process may steer it.
        let thread = std::thread::spawn(move || {
            seize(process);
            watching.send(()).unwrap();
            watch(process, at, &root)
        });
        watched.recv().expect("the tracer");
        Self(thread)
    }

    /// The step before which the process was killed; none if it came to its end before that. The
    /// process must be dead.
    pub(crate) fn killed(self) -> Option<String> {
        self.0.join().expect("the tracer")
    }
}

/// Has every thread of a process traced by this one, and those that it makes.
pub(crate) fn seize(process: Pid) {
    let options = Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACECLONE;
    let mut seized = BTreeSet::new();
    loop {
        let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
        let tasks: BTreeSet<i32> = tasks
            .map(|task| task.unwrap().file_name().to_str().unwrap().parse().unwrap())
            .collect();
        if tasks.is_subset(&seized) {
            return;
        }
        for &task in tasks.difference(&seized) {
            let task = Pid::from_raw(task);
            match ptrace::seize(task, options) {
                // Started by a thread that is watched already, or gone.
                Err(Errno::EPERM | Errno::ESRCH) => {}
                // A thread that sleeps in a system call is let go from there with the new rules.
                seized => seized.and_then(|()| ptrace::interrupt(task)).unwrap(),
            }
        }
        seized.extend(tasks);
    }
}

fn watch(process: Pid, at: usize, root: &Path) -> Option<String> {
    let mut steps = 0;
    // The process is no child of this thread's, but it is its tracee.
    let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
    loop {
        let (task, signal) = match waitpid(None, Some(flags)) {
            Ok(WaitStatus::PtraceSyscall(task)) => {
                if let Some(step) = step(task, root) {
                    if steps == at {
                        // The call is not made. What this thread leaves is its parent's to reap.
                        kill(process, Signal::SIGKILL).unwrap();
                        return Some(step);
                    }
                    steps += 1;
                }
                (task, None)
            }
            Ok(WaitStatus::PtraceEvent(task, ..)) => (task, None),
            Ok(WaitStatus::Stopped(task, signal)) => (task, Some(signal)),
            // A thread may end by itself; that of the whole process ends the last.
            Ok(WaitStatus::Exited(task, _)) if task != process => continue,
            Ok(WaitStatus::Signaled(..)) | Err(Errno::ECHILD) => return None,
            other => panic!("the driver, traced: {other:?}"),
        };
        match ptrace::syscall(task, signal) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => panic!("cannot let {task} go on: {error}"),
        }
    }
}

/// Whether a thread that stopped at a system call is about to make it, not back from it.
pub(crate) fn is_entry(task: Pid) -> bool {
    ptrace::getevent(task) == Ok(ENTRY)
}

/// What a thread is about to do, if it is a step.
fn step(task: Pid, root: &Path) -> Option<String> {
    if !is_entry(task) {
        return None;
    }
    step_of(task, root, STEPS)
}

/// Which of `steps` a thread is about to make.
pub(crate) fn step_of(task: Pid, root: &Path, steps: &[(libc::c_long, &str)]) -> Option<String> {
    let call = fs::read_to_string(format!("/proc/{task}/syscall")).ok()?;
    let mut words = call.split_whitespace();
    let number: libc::c_long = words.next()?.parse().ok()?;
    let name = steps.iter().find(|(known, _)| *known == number)?.1;
    let arguments: Vec<u64> = words
        .filter_map(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok())
        .collect();
    let makes = |flags: u64| flags & u64::from(libc::O_CREAT.cast_unsigned()) != 0;
    let counts = match number {
        libc::SYS_openat => makes(arguments[2]),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_open => makes(arguments[1]),
        libc::SYS_write | libc::SYS_read => {
            let file: PathBuf = fs::read_link(format!("/proc/{task}/fd/{}", arguments[0])).ok()?;
            file.starts_with(root)
        }
        _ => true,
    };
    counts.then(|| name.to_owned())
}
