//! Runs a provider's program: a request on its standard input, an answer on its standard output.
//!
//! As in kubelet, it inherits the driver's environment (proxies, `AWS_…`) and working directory.
//! It is in a process group of its own, which is killed when the program has ended, the time is up
//! or nobody waits any more, so that nothing it started is left in that group. What leaves the
//! group (setsid(2)) is out of reach.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::program;
use crate::observability::chain;

/// The longest answer that is read, in bytes.
const MAX_OUTPUT: u64 = 1 << 20;

/// How much of what it writes to standard error is kept, in bytes.
const MAX_NOTES: usize = 4096;

/// How often, and how long apart, the dead are looked for.
const REAP_TRIES: u32 = 100;
const REAP_PAUSE: Duration = Duration::from_millis(10);

/// Why a program gave no answer. Never what it wrote: that may hold secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ExecError {
    /// It is not what it was at start.
    #[error("its program is not executed: {0}")]
    Program(String),
    #[error("its program cannot be started: {0}")]
    Start(String),
    #[error("what it writes cannot be read: {0}")]
    Read(String),
    #[error("it wrote more than {MAX_OUTPUT} bytes")]
    TooLong,
    #[error("it did not end within {} s", .0.as_secs_f64())]
    Timeout(Duration),
    #[error("it ended with exit status {0}")]
    Exit(i32),
    #[error("it was ended by signal {0}")]
    Signal(i32),
}

/// A program and how it is run. Without `Debug`: the environment may hold secrets.
pub(super) struct Exec {
    pub(super) path: PathBuf,
    pub(super) args: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    /// How long it may run.
    pub(super) timeout: Duration,
}

impl Exec {
    /// Runs the program and returns what it writes.
    pub(super) async fn run(&self, provider: &str, input: &[u8]) -> Result<Vec<u8>, ExecError> {
        let path = self.path.clone();
        // It may have been replaced since the start.
        tokio::task::spawn_blocking(move || program::check(&path))
            .await
            .map_err(|error| ExecError::Program(error.to_string()))?
            .map_err(|error| ExecError::Program(chain(&error)))?;
        let mut child = Command::new(&self.path)
            .args(&self.args)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| ExecError::Start(error.to_string()))?;
        let mut group = Group::of(&child);
        let outcome = match timeout(self.timeout, talk(&mut child, provider, input)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ExecError::Timeout(self.timeout)),
        };
        match outcome {
            Ok(output) => match group.end(&mut child).await {
                Some(status) => ended(status).map(|()| output),
                None => Err(ExecError::Read("its exit status is not known".into())),
            },
            Err(error) => {
                group.end(&mut child).await;
                Err(error)
            }
        }
    }
}

/// Hands the input over and collects the output until the program has ended. It is not reaped, so
/// that its number, which is its group's, stays its own.
async fn talk(child: &mut Child, provider: &str, input: &[u8]) -> Result<Vec<u8>, ExecError> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            // A program need not read what it is asked.
            drop(stdin.write_all(input).await);
        }
        Ok(())
    };
    let ((), output, notes) = tokio::try_join!(write, answer(stdout), notes(stderr))?;
    end_of(child).await.map_err(|error| ExecError::Read(error.to_string()))?;
    if !notes.is_empty() {
        let text = String::from_utf8_lossy(&notes).escape_debug().to_string();
        tracing::debug!(provider, text, "credential provider wrote to standard error");
    }
    Ok(output)
}

/// Waits until the program has ended, and leaves it to be reaped. Most end when they close their
/// output, or before.
async fn end_of(child: &Child) -> Result<(), Errno> {
    let Some(pid) = number(child) else { return Ok(()) };
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    loop {
        match rustix::process::waitid(WaitId::Pid(pid), options) {
            Ok(Some(_)) => return Ok(()),
            Ok(None) => sleep(REAP_PAUSE).await,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

async fn answer(stdout: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, ExecError> {
    let mut bytes = Vec::new();
    if let Some(stdout) = stdout {
        let read = stdout.take(MAX_OUTPUT + 1).read_to_end(&mut bytes).await;
        read.map_err(|error| ExecError::Read(error.to_string()))?;
    }
    if bytes.len() as u64 > MAX_OUTPUT { Err(ExecError::TooLong) } else { Ok(bytes) }
}

/// The beginning of what there is; all of it is read, so that the program does not wait.
async fn notes(stderr: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, ExecError> {
    let (mut kept, mut buffer) = (Vec::new(), [0; 4096]);
    if let Some(mut stderr) = stderr {
        loop {
            let read = stderr.read(&mut buffer).await;
            match read.map_err(|error| ExecError::Read(error.to_string()))? {
                0 => break,
                count => {
                    let count = count.min(MAX_NOTES - kept.len());
                    kept.extend_from_slice(&buffer[..count]);
                }
            }
        }
    }
    Ok(kept)
}

fn ended(status: ExitStatus) -> Result<(), ExecError> {
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => Err(ExecError::Exit(code)),
        (None, signal) => Err(ExecError::Signal(signal.unwrap_or_default())),
    }
}

/// The process group of a program that has not been waited for: until then its number is nobody
/// else's. Killed when it is dropped.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(number(child))
    }

    /// Kills all of it and waits for the dead: in a container the driver is the parent of all
    /// orphans. Returns how the program itself ended; none if that is not known.
    async fn end(&mut self, child: &mut Child) -> Option<ExitStatus> {
        let pid = self.0.take()?;
        kill(pid);
        // One that does not end is in the kernel, and beyond reach.
        let status = timeout(REAP_PAUSE * REAP_TRIES, child.wait()).await.ok()?.ok()?;
        for _ in 0..REAP_TRIES {
            match rustix::process::waitpgid(pid, WaitOptions::NOHANG) {
                Ok(Some(_)) => {}
                Ok(None) => sleep(REAP_PAUSE).await,
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
        Some(status)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            kill(pid);
        }
    }
}

/// The number of a program that has not been reaped.
fn number(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
}

fn kill(pid: Pid) {
    if let Err(error) = rustix::process::kill_process_group(pid, Signal::KILL) {
        // Nobody is left.
        tracing::debug!(%error, "cannot kill a credential provider");
    }
}

#[cfg(test)]
mod tests;
