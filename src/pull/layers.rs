//! Blobs on their way from the registry to the unpacker: async on one side, a blocking reader on
//! the other, a short queue between them.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::task::JoinError;

use super::error::{Blame, PullError};
use super::progress::Progress;
use super::source::Origin;
use crate::artifact::plan::{Layer, Plan};
use crate::registry::Registry;
use crate::unpack::Limits;
use crate::unpack::Sink;
use crate::unpack::{Unpacked, Unpacker};

/// How many chunks wait between the socket and the unpacker. A chunk is what the socket gave,
/// some 16 KiB: enough to keep both sides busy, little enough to hold in memory.
const QUEUE: usize = 32;

/// Downloads the plan's layers, lowest first, and unpacks them as they come. `held` is what the
/// sink writes to: it is given back with the files, and else dropped where they are written, after
/// the last of them, also if nobody waits for this any more.
pub(super) async fn lay_out<S: Sink + 'static, H: Send + 'static>(
    registry: &Registry,
    origin: &Origin,
    plan: &Plan,
    (sink, held): (S, H),
    limits: Limits,
    progress: &Arc<Progress>,
) -> Result<(Unpacked<S>, H), PullError> {
    let (jobs, work) = mpsc::channel(1);
    let unpacking = tokio::task::spawn_blocking(move || {
        let unpacked = unpack(work, sink, limits);
        unpacked.map(|unpacked| (unpacked, held))
    });
    let fetched = fetch(registry, origin, plan, limits, progress, jobs).await;
    let unpacked = unpacking.await.map_err(panicked)?;
    match fetched {
        // What broke the download also broke the unpacking: tell the cause. But a limit holds
        // whether or not the rest would have come.
        Err(Stopped::Download(error)) => match unpacked {
            Err(limit) if matches!(limit.blame(), Blame::Exhausted) => Err(limit),
            _ => Err(error),
        },
        // The unpacker hung up: its error is the cause.
        Ok(()) | Err(Stopped::Unpacker) => unpacked,
    }
}

pub(super) fn panicked(error: JoinError) -> PullError {
    PullError::Panicked(error.to_string())
}

enum Stopped {
    Download(PullError),
    Unpacker,
}

async fn fetch(
    registry: &Registry,
    origin: &Origin,
    plan: &Plan,
    limits: Limits,
    progress: &Progress,
    jobs: mpsc::Sender<(Layer, Chunks)>,
) -> Result<(), Stopped> {
    for layer in &plan.layers {
        let descriptor = &layer.descriptor;
        let failed = |source| {
            Stopped::Download(PullError::Download { layer: descriptor.digest.clone(), source })
        };
        let (sender, chunks) = mpsc::channel(QUEUE);
        let chunks = Chunks { queue: chunks, chunk: Bytes::new(), ended: false };
        if jobs.send((layer.clone(), chunks)).await.is_err() {
            return Err(Stopped::Unpacker);
        }
        let mut stream = origin
            .blob(registry, &descriptor.digest, descriptor.size, limits.total_bytes)
            .await
            .map_err(failed)?;
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(failed)?;
            progress.advance(chunk.len() as u64);
            if !chunk.is_empty() && sender.send(chunk).await.is_err() {
                return Err(Stopped::Unpacker);
            }
        }
        // An empty chunk says that this was all; a queue that just ends says that it was not.
        if sender.send(Bytes::new()).await.is_err() {
            return Err(Stopped::Unpacker);
        }
    }
    Ok(())
}

fn unpack<S: Sink>(
    mut work: mpsc::Receiver<(Layer, Chunks)>,
    sink: S,
    limits: Limits,
) -> Result<Unpacked<S>, PullError> {
    let mut unpacker = Unpacker::new(sink, limits);
    while let Some((layer, mut chunks)) = work.blocking_recv() {
        unpacker.layer(&layer, &mut chunks)?;
    }
    Ok(unpacker.finish())
}

/// The blocking end of the queue.
struct Chunks {
    queue: mpsc::Receiver<Bytes>,
    chunk: Bytes,
    ended: bool,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.chunk.is_empty() && !self.ended {
            match self.queue.blocking_recv() {
                None => return Err(io::Error::other("the download ended early")),
                Some(chunk) if chunk.is_empty() => self.ended = true,
                Some(chunk) => self.chunk = chunk,
            }
        }
        let length = buffer.len().min(self.chunk.len());
        self.chunk.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}
