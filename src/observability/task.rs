//! Tasks that log under the call that began them, also when they outlive it.

use tokio::task::JoinHandle;
use tracing::{Instrument, Span};

/// Runs a future in a task of its own.
pub fn spawn<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(future.instrument(Span::current()))
}

/// Runs what blocks in a thread for that.
pub fn spawn_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let span = Span::current();
    tokio::task::spawn_blocking(move || span.in_scope(work))
}
