//! The whole driver in one command, with nothing to set up and nothing left behind: `make demo`.
//!
//! Starts a registry in this process, pushes the sample skills in three formats, runs the real
//! `skillmount node` beside it, and calls it as kubelet does. All mounts are made in a mount
//! namespace of the demo's own; without root in a user namespace too.

mod kubelet;
mod sandbox;
mod scenes;
mod screen;
mod stage;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::time::Instant;

use futures_util::FutureExt;
use tokio::signal::unix::{Signal, SignalKind, signal};

use screen::Screen;
use stage::Stage;

/// What a command ended by a signal exits with in a shell: this and the signal's number.
const SIGNALLED: u8 = 128;

fn main() -> ExitCode {
    if let Some(code) = stage::become_driver() {
        return code;
    }
    let screen = Screen::new();
    // First of all: the runtime below has threads.
    let entered = match sandbox::enter() {
        Ok(entered) => entered,
        Err(refused) => {
            screen.failed(refused.trim_end());
            return ExitCode::FAILURE;
        }
    };
    match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime.block_on(run(screen, &entered)),
        Err(error) => {
            screen.failed(format_args!("cannot start the runtime: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(screen: Screen, entered: &str) -> ExitCode {
    let start = Instant::now();
    // Caught before there is anything to clear up.
    let prepared = stop_signals().and_then(|signals| Ok((signals, Stage::new()?)));
    let (mut signals, mut stage) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            screen.failed(error.trim_end());
            return ExitCode::FAILURE;
        }
    };
    screen.line(format_args!("Skillmount demo, {entered}; files in {}", stage.root().display()));
    let [interrupt, terminate, hang_up] = &mut signals;
    // A panic, too, must not keep the stage from being cleared.
    let scenes = AssertUnwindSafe(scenes::play(screen, &mut stage)).catch_unwind();
    let code = tokio::select! {
        outcome = scenes => match outcome {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some((error, 1)),
            Err(_) => Some(("a defect of the demo; the panic is reported above".into(), 1)),
        },
        _ = interrupt.recv() => Some(("interrupted".into(), SIGNALLED + 2)),
        _ = terminate.recv() => Some(("told to stop (SIGTERM)".into(), SIGNALLED + 15)),
        _ = hang_up.recv() => Some(("told to stop (SIGHUP)".into(), SIGNALLED + 1)),
    };
    if let Some((error, code)) = &code {
        screen.failed(error.trim_end());
        if *code < SIGNALLED {
            stage.log_tail().iter().for_each(|line| screen.detail(line));
        }
    }
    let root = stage.root().display().to_string();
    let clearing = Instant::now();
    if let Err(error) = stage.clear().await {
        screen.failed(format_args!("clearing up: {error}"));
        return ExitCode::FAILURE;
    }
    let all = start.elapsed().as_secs_f64();
    screen.done(
        clearing,
        format_args!(
            "nothing is left: no mount, no process, and {root} is removed ({all:.1} s in all)"
        ),
    );
    code.map_or(ExitCode::SUCCESS, |(_, code)| ExitCode::from(code))
}

fn stop_signals() -> Result<[Signal; 3], String> {
    let catch = |kind| signal(kind).map_err(|error| format!("cannot catch signals: {error}"));
    Ok([
        catch(SignalKind::interrupt())?,
        catch(SignalKind::terminate())?,
        catch(SignalKind::hangup())?,
    ])
}
