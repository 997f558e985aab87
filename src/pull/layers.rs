//! Blobs on their way from the registry to the unpacker: async on one side, a blocking reader on
//! the other, a short queue between them.

use std::io::{self, BufRead, Read};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinError;

use super::blobs::Opening;
use super::error::PullError;
use super::progress::Progress;
use super::source::Origin;
use crate::artifact::plan::{Layer, Plan};
use crate::observability::task;
use crate::registry::Registry;
use crate::unpack::Limits;
use crate::unpack::Sink;
use crate::unpack::{Unpacked, Unpacker};

/// How many bytes of one layer wait between the socket and the unpacker: enough to keep both sides
/// busy, little enough to hold in memory. A chunk is what the socket gave, some 16 KiB; one may be
/// larger than all of this, and then waits alone.
const QUEUE: u32 = 1 << 20;

/// How many layers are downloaded ahead of the one that is unpacked.
const AHEAD: usize = 3;

const GIVEN_UP: &str = "nobody downloads the next layer";

/// The places for layers that are downloaded ahead, for all pulls of the node.
#[derive(Debug, Clone)]
pub(super) struct Downloads(Arc<Semaphore>);

impl Downloads {
    /// For `most` downloads at once, of which one is a pull's own, for its lowest layer. Further
    /// pulls have one each besides: how many there are has a limit of its own.
    pub(super) fn new(most: usize) -> Self {
        Self(Arc::new(Semaphore::new(most.saturating_sub(1))))
    }
}

/// What is done with layers, all of it in one thread: to change threads costs as much as to write a
/// small file.
pub(super) struct Work<B, E> {
    /// Makes a sink, and what it writes to. That is dropped after the last file is written, also if
    /// nobody waits for this any more.
    pub(super) begin: B,
    /// What comes of the files, once all layers are unpacked.
    pub(super) end: E,
}

/// Downloads the plan's layers and unpacks them, lowest first, as they come. The next ones are
/// downloaded meanwhile; the lowest may have been asked for before.
pub(super) async fn lay_out<S: Sink + 'static, H, T: Send + 'static>(
    registry: &Registry,
    origin: &Origin,
    (plan, opening): (&Plan, Option<Opening>),
    work: Work<
        impl FnOnce() -> Result<(S, H), PullError> + Send + 'static,
        impl FnOnce(Unpacked<S>, H) -> Result<T, PullError> + Send + 'static,
    >,
    bounds: (Limits, &Downloads),
    progress: &Arc<Progress>,
) -> Result<T, PullError> {
    let (limits, downloads) = bounds;
    let (jobs, layers) = mpsc::unbounded_channel();
    let count = plan.layers.len();
    let unpacking = task::spawn_blocking(move || {
        let (sink, held) = (work.begin)()?;
        let unpacked = unpack(layers, count, sink, limits)?;
        (work.end)(unpacked, held)
    });
    let fetch = Fetch { registry, origin, cap: limits.total_bytes, downloads, progress, jobs };
    let fetched = fetch.all(&plan.layers, opening).await;
    let unpacked = unpacking.await.map_err(panicked)?;
    match fetched {
        // What broke the download also broke the unpacking: tell the cause. But what is wrong with
        // the bytes that came is wrong whether or not the rest would have come.
        Err(Stopped::Download(error)) => match unpacked {
            Err(PullError::Unpack(found)) if !found.is_read() => Err(found.into()),
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

/// What a layer is told of the one below it.
struct Below {
    /// It has begun.
    begun: oneshot::Receiver<()>,
    /// The unpacker has done with it.
    gone: oneshot::Receiver<()>,
}

/// The downloads of one plan.
struct Fetch<'a> {
    registry: &'a Registry,
    origin: &'a Origin,
    /// The most bytes of a layer of which nobody says how many it has.
    cap: u64,
    downloads: &'a Downloads,
    progress: &'a Progress,
    jobs: mpsc::UnboundedSender<(Layer, Chunks)>,
}

impl Fetch<'_> {
    /// All layers, some at a time. The failure that counts is that of the lowest layer, whichever
    /// came first.
    async fn all(self, layers: &[Layer], mut opening: Option<Opening>) -> Result<(), Stopped> {
        let mut below = None;
        let mut downloads = Vec::with_capacity(layers.len());
        for layer in layers {
            let ((next, begun), (read, gone)) = (oneshot::channel(), oneshot::channel());
            let mine = below.replace(Below { begun, gone });
            downloads.push(self.one((layer, opening.take()), mine, next, read).boxed());
        }
        stream::iter(downloads).buffered(1 + AHEAD).try_collect().await
    }

    /// One layer. It begins when the one below has begun, and then as soon as there is a place for
    /// it, or as it is the lowest that is left: that one needs none, so no pull waits for another's
    /// registry. The place is given back when the unpacker has taken the last byte; so what waits
    /// for it is bounded on the whole node.
    async fn one(
        &self,
        (layer, opening): (&Layer, Option<Opening>),
        below: Option<Below>,
        next: oneshot::Sender<()>,
        read: oneshot::Sender<()>,
    ) -> Result<(), Stopped> {
        let place = match below {
            None => None,
            Some(Below { begun, gone }) => {
                begun.await.map_err(|_| Stopped::Unpacker)?;
                tokio::select! {
                    // It ends with the sender.
                    _ = gone => None,
                    place = self.downloads.0.clone().acquire_owned() => place.ok(),
                }
            }
        };
        let (sender, queue) = mpsc::unbounded_channel();
        let chunks = Chunks {
            queue,
            chunk: Bytes::new(),
            room: None,
            ended: false,
            _place: place,
            _read: read,
        };
        self.jobs.send((layer.clone(), chunks)).map_err(|_| Stopped::Unpacker)?;
        // An error says that there is no next one.
        next.send(()).ok();
        self.transfer(layer, opening, &sender).await
    }

    async fn transfer(
        &self,
        layer: &Layer,
        opening: Option<Opening>,
        sender: &mpsc::UnboundedSender<Chunk>,
    ) -> Result<(), Stopped> {
        let descriptor = &layer.descriptor;
        let failed = |source| {
            Stopped::Download(PullError::Download { layer: descriptor.digest.clone(), source })
        };
        let room = Arc::new(Semaphore::new(QUEUE as usize));
        let (digest, size) = (&descriptor.digest, descriptor.size);
        let early = match opening {
            Some(opening) => opening.opened().await,
            None => None,
        };
        let opened = match early {
            Some(opened) => opened,
            None => self.origin.blob(self.registry, digest, size, self.cap).await,
        };
        let mut blob = opened.map_err(failed)?;
        while let Some(chunk) = blob.next().await {
            let chunk = chunk.map_err(failed)?;
            self.progress.advance(chunk.len() as u64);
            if chunk.is_empty() {
                continue;
            }
            let length = u32::try_from(chunk.len()).unwrap_or(QUEUE).min(QUEUE);
            let room = tokio::select! {
                room = room.clone().acquire_many_owned(length) => room.ok(),
                () = sender.closed() => None,
            };
            let room = room.ok_or(Stopped::Unpacker)?;
            sender.send((chunk, Some(room))).map_err(|_| Stopped::Unpacker)?;
        }
        // An empty chunk says that this was all; a queue that just ends says that it was not.
        sender.send((Bytes::new(), None)).map_err(|_| Stopped::Unpacker)
    }
}

fn unpack<S: Sink>(
    mut layers: mpsc::UnboundedReceiver<(Layer, Chunks)>,
    count: usize,
    sink: S,
    limits: Limits,
) -> Result<Unpacked<S>, PullError> {
    let mut unpacker = Unpacker::new(sink, limits);
    for _ in 0..count {
        // Nobody downloads the rest if the pull was given up between two layers.
        let next = layers.blocking_recv();
        let (layer, mut chunks) = next.ok_or_else(|| PullError::Panicked(GIVEN_UP.into()))?;
        unpacker.layer(&layer, &mut chunks)?;
    }
    Ok(unpacker.finish())
}

/// Bytes, and the room that they take in the queue.
type Chunk = (Bytes, Option<OwnedSemaphorePermit>);

/// The blocking end of the queue, which `room` bounds.
struct Chunks {
    queue: mpsc::UnboundedReceiver<Chunk>,
    chunk: Bytes,
    room: Option<OwnedSemaphorePermit>,
    ended: bool,
    /// The layer's place among the node's downloads, if it needed one.
    _place: Option<OwnedSemaphorePermit>,
    /// Tells the layer above that this one has been read.
    _read: oneshot::Sender<()>,
}

impl BufRead for Chunks {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.chunk.is_empty() && !self.ended {
            self.room = None;
            match self.queue.blocking_recv() {
                None => return Err(io::Error::other("the download ended early")),
                Some((chunk, _)) if chunk.is_empty() => self.ended = true,
                Some((chunk, room)) => (self.chunk, self.room) = (chunk, room),
            }
        }
        Ok(&self.chunk)
    }

    fn consume(&mut self, count: usize) {
        self.chunk.advance(count);
    }
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
