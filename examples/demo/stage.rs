//! Where the demo takes place: one temporary directory, the driver's process, and taking both
//! away again whatever happened in between.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getppid};
use skillmount::mount::{KernelMounter, Mounter};
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::sandbox;

/// How long the driver may take to serve, and to stop.
const PATIENCE: Duration = Duration::from_secs(20);

/// The argument by which the demo calls itself to become the driver.
const BECOME_DRIVER: &str = "--become-driver";

/// If the demo was called for it: becomes the driver, one that the kernel ends with the demo, be
/// that killed. Returns only what it must end with, or nothing if it was called by people.
pub(crate) fn become_driver() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != BECOME_DRIVER {
        return None;
    }
    let (parent, binary) = (arguments.next()?, arguments.next()?);
    let error = match set_pdeathsig(Signal::SIGKILL) {
        // The demo may have ended before this was asked for.
        Ok(()) if *getppid().to_string() != *parent => return Some(ExitCode::FAILURE),
        Ok(()) => std::process::Command::new(binary).args(arguments).exec(),
        Err(error) => error.into(),
    };
    // Standard error is the driver's log, whose end is shown.
    drop(writeln!(std::io::stderr(), "cannot start the driver: {error}"));
    Some(ExitCode::FAILURE)
}

pub(crate) struct Stage {
    directory: TempDir,
    root: PathBuf,
    driver: Option<Child>,
}

impl Stage {
    /// A directory with a tmpfs on it that only this namespace sees: even a demo that is killed
    /// leaves no file behind, and the driver's trees lie on a file system that any kernel takes
    /// below an overlay.
    pub(crate) fn new() -> Result<Self, String> {
        let directory = tempfile::Builder::new().prefix("skillmount-demo-").tempdir();
        let directory = directory.map_err(|error| {
            format!("cannot make a directory in {}: {error}", std::env::temp_dir().display())
        })?;
        let root = directory.path().canonicalize();
        let root = root.map_err(|error| format!("{}: {error}", directory.path().display()))?;
        let (flags, options) = (MsFlags::MS_NOSUID | MsFlags::MS_NODEV, "mode=0700,size=64m");
        mount(Some("skillmount-demo"), &root, Some("tmpfs"), flags, Some(options))
            .map_err(|error| sandbox::refused("mounting a tmpfs", &error.into()))?;
        Ok(Self { directory, root, driver: None })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("csi.sock")
    }

    /// Starts `skillmount node`, and returns its process id once its socket answers.
    pub(crate) async fn start_driver(&mut self, registry: &str) -> Result<u32, String> {
        let binary = driver_binary()?;
        let failed = |error| format!("cannot start {}: {error}", binary.display());
        let log = fs::File::create(self.path("driver.log")).map_err(failed)?;
        let mut command = Command::new("/proc/self/exe");
        command
            .arg(BECOME_DRIVER)
            .arg(std::process::id().to_string())
            .arg(&binary)
            .arg("node")
            .args(["--node-id", "demo-node", "--plain-http", registry])
            .arg("--endpoint")
            .arg(self.socket())
            .arg("--state-dir")
            .arg(self.path("state"))
            // Neither a proxy nor a setting of the caller's has a say in what is shown.
            .env_clear()
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            // Ctrl-C is for the demo, which then stops the driver as Kubernetes would.
            .process_group(0)
            .kill_on_drop(true);
        let child = self.driver.insert(command.spawn().map_err(failed)?);
        let pid = child.id().unwrap_or_default();
        let serves = async {
            loop {
                if let Some(status) = child.try_wait().map_err(failed)? {
                    return Err(format!("the driver ended at once: {status}"));
                }
                if UnixStream::connect(self.root.join("csi.sock")).await.is_ok() {
                    return Ok(pid);
                }
                sleep(Duration::from_millis(2)).await;
            }
        };
        let late = |_| format!("the driver does not serve after {PATIENCE:?}");
        timeout(PATIENCE, serves).await.map_err(late)?
    }

    /// Stops the driver as Kubernetes does; by force if it does not listen.
    pub(crate) async fn stop_driver(&mut self) -> Result<Option<ExitStatus>, String> {
        let Some(mut child) = self.driver.take() else { return Ok(None) };
        // Without an id it has been waited for already.
        let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()) else { return Ok(None) };
        kill(Pid::from_raw(pid), Signal::SIGTERM)
            .map_err(|error| format!("cannot signal the driver: {error}"))?;
        match timeout(PATIENCE, child.wait()).await {
            Ok(status) => status.map(Some).map_err(|error| format!("the driver's end: {error}")),
            Err(_) => {
                child.kill().await.map_err(|error| format!("cannot kill the driver: {error}"))?;
                Err(format!("the driver did not stop {PATIENCE:?} after SIGTERM; it was killed"))
            }
        }
    }

    /// What is mounted below the directory, in the order of mounting.
    pub(crate) fn mounts(&self) -> Result<Vec<PathBuf>, String> {
        let all = self.all_mounts()?.into_iter();
        Ok(all.filter(|point| *point != self.root).collect())
    }

    /// What is mounted on the directory or below it.
    fn all_mounts(&self) -> Result<Vec<PathBuf>, String> {
        let mounts = KernelMounter::detect().mounts();
        let mounts = mounts.map_err(|error| format!("cannot read the mount table: {error}"))?;
        let points = mounts.into_iter().map(|mount| mount.mount_point);
        Ok(points.filter(|point| point.starts_with(&self.root)).collect())
    }

    /// The end of the driver's log, to explain a failure.
    pub(crate) fn log_tail(&self) -> Vec<String> {
        let log = fs::read_to_string(self.path("driver.log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines.iter().rev().take(8).rev().map(|line| (*line).to_owned()).collect()
    }

    /// Takes everything away, the driver first, wherever the demo stopped.
    pub(crate) async fn clear(mut self) -> Result<(), String> {
        let stopped = self.stop_driver().await;
        for point in self.mounts()?.iter().rev() {
            umount2(point, MntFlags::MNT_DETACH)
                .map_err(|error| format!("cannot unmount {}: {error}", point.display()))?;
        }
        umount2(&self.root, MntFlags::MNT_DETACH)
            .map_err(|error| format!("cannot unmount {}: {error}", self.root.display()))?;
        // The tmpfs, and whatever is on it, was the last of it.
        let left = self.all_mounts()?;
        if !left.is_empty() {
            return Err(format!("still mounted: {left:?}"));
        }
        let root = self.root.display().to_string();
        self.directory.close().map_err(|error| format!("cannot remove {root}: {error}"))?;
        stopped.map(drop)
    }
}

/// The driver beside the demo: `target/debug/skillmount` and `target/debug/examples/demo`, or
/// both in one directory.
fn driver_binary() -> Result<PathBuf, String> {
    let demo = std::env::current_exe().map_err(|error| format!("where am I? {error}"))?;
    let mut places = demo.ancestors().skip(1).take(2).map(|place| place.join("skillmount"));
    places.find(|path| path.is_file()).ok_or_else(|| {
        format!(
            "there is no skillmount beside {}: `make demo` builds both (cargo build --bin \
             skillmount --example demo)",
            demo.display()
        )
    })
}
