//! Has system calls of a process fail, though nothing is wrong with its disk.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::tracer::{STEPS, is_entry, seize, step_of};

/// What is to fail, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) errno: Errno,
    /// The steps that it is about, by the names of [`STEPS`], and `read`.
    pub(crate) of: &'static [&'static str],
    /// Whether all such steps fail from the first one on.
    pub(crate) lasts: bool,
    /// The directory below the root that it is about.
    pub(crate) below: &'static str,
}

struct Plan {
    fault: Fault,
    /// How many steps are still to succeed.
    left: usize,
    /// The first step that failed.
    failed: Option<String>,
}

/// A thread that steers a process until that ends.
#[derive(Clone)]
pub(crate) struct Injector(Arc<Mutex<Option<Plan>>>);

impl Injector {
    /// Returns when every thread of the process is watched. `root` is where files count.
    pub(crate) fn start(process: u32, root: &Path) -> Self {
        let (process, root) = (Pid::from_raw(process.cast_signed()), root.to_owned());
        let plan: Arc<Mutex<Option<Plan>>> = Arc::default();
        let (watching, watched) = std::sync::mpsc::channel();
        std::thread::spawn({
            let plan = plan.clone();
            move || {
                seize(process);
                watching.send(()).unwrap();
                watch(process, &root, &plan);
            }
        });
        watched.recv().expect("the injector");
        Self(plan)
    }

    /// Has the `at`th step from now fail, counted from 0.
    pub(crate) fn arm(&self, fault: Fault, at: usize) {
        *self.0.lock().unwrap() = Some(Plan { fault, left: at, failed: None });
    }

    /// Has everything succeed from now on. The first step that failed.
    pub(crate) fn disarm(&self) -> Option<String> {
        self.0.lock().unwrap().take().expect("armed").failed
    }
}

fn watch(process: Pid, root: &Path, plan: &Mutex<Option<Plan>>) {
    let mut steps = STEPS.to_vec();
    steps.push((libc::SYS_read, "read"));
    // The threads that are in a call that is not made, and what they are to be told.
    let mut failing: BTreeMap<Pid, Errno> = BTreeMap::new();
    let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
    loop {
        let (task, signal) = match waitpid(None, Some(flags)) {
            Ok(WaitStatus::PtraceSyscall(task)) => {
                if !is_entry(task) {
                    if let Some(errno) = failing.remove(&task) {
                        let mut registers = ptrace::getregs(task).unwrap();
                        registers.rax = (-i64::from(errno as i32)).cast_unsigned();
                        ptrace::setregs(task, registers).unwrap();
                    }
                } else if let Some(plan) = &mut *plan.lock().unwrap()
                    && let Some(step) = step_of(task, root, &steps)
                    && file_of(task).is_some_and(|f| f.starts_with(root.join(plan.fault.below)))
                    && let Some(errno) = plan.meets(step)
                {
                    // There is no such call, so the kernel does nothing.
                    let mut registers = ptrace::getregs(task).unwrap();
                    registers.orig_rax = u64::MAX;
                    ptrace::setregs(task, registers).unwrap();
                    failing.insert(task, errno);
                }
                (task, None)
            }
            Ok(WaitStatus::PtraceEvent(task, ..)) => (task, None),
            Ok(WaitStatus::Stopped(task, signal)) => (task, Some(signal)),
            Ok(WaitStatus::Exited(task, _)) if task != process => continue,
            Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) | Err(Errno::ECHILD) => return,
            other => panic!("the driver, traced: {other:?}"),
        };
        match ptrace::syscall(task, signal) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => panic!("cannot let {task} go on: {error}"),
        }
    }
}

/// The file that a call is about; of two, the first.
fn file_of(task: Pid) -> Option<PathBuf> {
    let call = fs::read_to_string(format!("/proc/{task}/syscall")).ok()?;
    let mut words = call.split_whitespace();
    let number: libc::c_long = words.next()?.parse().ok()?;
    let mut arguments =
        words.filter_map(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok());
    let descriptor = |number: u64| match number as i32 {
        libc::AT_FDCWD => fs::read_link(format!("/proc/{task}/cwd")).ok(),
        number => fs::read_link(format!("/proc/{task}/fd/{number}")).ok(),
    };
    match number {
        libc::SYS_write
        | libc::SYS_read
        | libc::SYS_fsync
        | libc::SYS_syncfs
        | libc::SYS_fchmod => descriptor(arguments.next()?),
        libc::SYS_mkdir
        | libc::SYS_rmdir
        | libc::SYS_unlink
        | libc::SYS_link
        | libc::SYS_rename
        | libc::SYS_chmod
        | libc::SYS_open => text(task, arguments.next()?),
        _ => {
            let directory = descriptor(arguments.next()?)?;
            match arguments.next()? {
                0 => Some(directory),
                path => Some(directory.join(text(task, path)?)),
            }
        }
    }
}

/// A path in the memory of a process.
fn text(task: Pid, address: u64) -> Option<PathBuf> {
    let memory = fs::File::open(format!("/proc/{task}/mem")).ok()?;
    // What is behind it need not be there.
    let mut bytes = vec![];
    let mut byte = [0];
    while memory.read_at(&mut byte, address + bytes.len() as u64).ok()? == 1 && byte[0] != 0 {
        bytes.push(byte[0]);
    }
    Some(OsString::from_vec(bytes).into())
}

impl Plan {
    /// What a step fails with, if it does.
    fn meets(&mut self, step: String) -> Option<Errno> {
        if !self.fault.of.contains(&step.as_str()) {
            return None;
        }
        match (self.left, &self.failed) {
            (0, None) => {
                self.failed = Some(step);
                Some(self.fault.errno)
            }
            (0, Some(_)) => self.fault.lasts.then_some(self.fault.errno),
            _ => {
                self.left -= 1;
                None
            }
        }
    }
}
