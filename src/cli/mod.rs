//! The command line: flags, their environment names, and what each subcommand wires together.

mod args;
mod garbage;
mod health;
mod inspect;
mod kube;
mod node;
mod policy;
mod providers;
mod prune;
mod pull;
mod source;
mod stop;
mod verify;
mod volumes;

use std::ffi::OsString;
use std::io::Write;
use std::num::NonZero;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use crate::observability::chain;

/// `EX_USAGE` of sysexits(3): a bad flag, found before anything is bound or opened.
const USAGE: u8 = 64;

/// Mounts agent skills from OCI registries into pods, read-only.
#[derive(Debug, Parser)]
#[command(name = "skillmount", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the CSI node driver on a unix socket
    Node(Box<node::NodeArgs>),
    /// Say what a reference would mount, and why
    Inspect(Box<inspect::InspectArgs>),
    /// Write the files that a volume would show into a directory
    Pull(Box<pull::PullArgs>),
    /// List what is published on this node
    Volumes(volumes::VolumesArgs),
    /// Compare the stored files with what they were
    Verify(verify::VerifyArgs),
    /// Remove what no volume uses; the driver must not be running
    Prune(prune::PruneArgs),
    /// Print the version
    Version,
}

/// Why a subcommand failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The flags contradict each other or name something that cannot be.
    Usage(String),
    /// It did not work.
    Failed(String),
    /// It did not work, and standard output has it already.
    Told,
}

impl Failure {
    fn usage(error: &dyn std::error::Error) -> Self {
        Self::Usage(chain(error))
    }

    fn failed(error: &dyn std::error::Error) -> Self {
        Self::Failed(chain(error))
    }
}

/// Runs the command line and says how the process should end.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            let shown = error.print().is_ok();
            return if asked && shown { ExitCode::SUCCESS } else { ExitCode::from(USAGE) };
        }
    };
    let outcome = match cli.command {
        Command::Node(args) => args.run(),
        Command::Inspect(args) => args.run(),
        Command::Pull(args) => args.run(),
        Command::Volumes(args) => args.run(),
        Command::Verify(args) => args.run(),
        Command::Prune(args) => args.run(),
        Command::Version => print(&format!("skillmount {}\n", env!("CARGO_PKG_VERSION"))),
    };
    let (text, code) = match outcome {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Usage(text)) => (text, ExitCode::from(USAGE)),
        Err(Failure::Failed(text)) => (text, ExitCode::FAILURE),
        Err(Failure::Told) => return ExitCode::FAILURE,
    };
    // With standard error gone there is nobody left to tell; the code still tells.
    drop(writeln!(std::io::stderr(), "error: {text}"));
    code
}

/// Prints to standard output. A reader that has gone (`| head`) is no failure.
fn print(text: &str) -> Result<(), Failure> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(&error))
        }
        _ => Ok(()),
    }
}

/// The most threads that run async work. It is sockets and waiting: what computes or waits for the
/// disk has threads of its own, and on a node of 64 processors as many idle ones would be memory.
const WORKERS: usize = 4;

/// Builds the runtime: all async work of a process runs on it.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(processors.min(WORKERS))
        // Each running pull holds one for each of its members: 4 of at most 1024. The rest is for
        // what must not wait behind them, such as names of hosts.
        .max_blocking_threads(4 * 1024 + 512)
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(&error))
}
