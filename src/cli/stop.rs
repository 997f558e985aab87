//! The signals that end a process, so that it ends in order.

use tokio::signal::unix::{SignalKind, signal};

/// Resolves with the signal's name at SIGTERM or SIGINT, which end the process no more from here
/// on. Needs a runtime.
pub(super) fn stop() -> std::io::Result<impl Future<Output = &'static str>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    })
}
