//! One stage of a stream in a thread of its own, so that hashing, inflating and writing of a large
//! layer keep several processors busy.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, Scope};

/// The size of a block that is handed on, in bytes.
const BLOCK: usize = 128 << 10;

/// How many blocks there are between two stages. They are used again and again.
const BLOCKS: usize = 8;

/// A read that brings fewer bytes is handed on by itself.
const TRICKLE: usize = 1 << 10;

/// A reader that knows how many bytes it took from where it reads.
pub(super) trait Stage: Read {
    /// How many bytes it took so far.
    fn taken(&self) -> u64;
}

impl<S: Stage + ?Sized> Stage for &mut S {
    fn taken(&self) -> u64 {
        (**self).taken()
    }
}

impl<S: Stage> Stage for BufReader<S> {
    fn taken(&self) -> u64 {
        self.get_ref().taken()
    }
}

/// A stage whose bytes are read where they are.
pub(super) trait Buffered: Stage + BufRead {}

impl<S: Stage + BufRead + ?Sized> Buffered for S {}

/// What a stage read at one go.
struct Block {
    /// As long as a block is, whatever was read. Cleared once, not each time that it is used.
    bytes: Vec<u8>,
    /// How many of them were read: none, at the end.
    count: usize,
    /// What [`Stage::taken`] was after it.
    taken: u64,
}

/// The far end of a stage that works ahead. The stage's thread ends when this is dropped and the
/// stage's own source gives it the next bytes, or fails.
pub(super) struct Ahead {
    full: Receiver<io::Result<Block>>,
    empty: SyncSender<Vec<u8>>,
    block: Block,
    at: usize,
    ended: bool,
}

impl Ahead {
    /// Starts the stage's thread. It can fail only if there are too many.
    pub(super) fn start<'scope, S: Stage + Send + 'scope>(
        scope: &'scope Scope<'scope, '_>,
        stage: S,
    ) -> io::Result<Self> {
        let (fill, full) = sync_channel(BLOCKS);
        let (empty, refill) = sync_channel(BLOCKS);
        for _ in 0..BLOCKS {
            // As many as fit.
            drop(empty.try_send(vec![0; BLOCK]));
        }
        Builder::new().name("unpack".into()).spawn_scoped(scope, move || {
            run(stage, &refill, &fill);
        })?;
        let block = Block { bytes: Vec::new(), count: 0, taken: 0 };
        Ok(Self { full, empty, block, at: 0, ended: false })
    }
}

impl Stage for Ahead {
    /// How many bytes the stage had taken when it had read what was last given out.
    fn taken(&self) -> u64 {
        self.block.taken
    }
}

impl BufRead for Ahead {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.block.count && !self.ended {
            let next = self.full.recv().unwrap_or_else(|_| Err(io::Error::other("it ended early")));
            let used = std::mem::replace(&mut self.block, next?);
            // The first was none of them, and after an end there is nobody to fill it.
            if !used.bytes.is_empty() {
                drop(self.empty.try_send(used.bytes));
            }
            self.at = 0;
            self.ended = self.block.count == 0;
        }
        Ok(&self.block.bytes[self.at..self.block.count])
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
    }
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

/// Reads until the end, an error, or nobody wants more.
fn run(mut stage: impl Stage, refill: &Receiver<Vec<u8>>, fill: &SyncSender<io::Result<Block>>) {
    while let Ok(mut bytes) = refill.recv() {
        let mut count = 0;
        let mut failed = None;
        // Decoders give little at a time, and handing on costs the same for much.
        while count < BLOCK / 2 {
            match stage.read(&mut bytes[count..]) {
                Ok(0) => break,
                Ok(more) => {
                    count += more;
                    // Whoever trickles is not waited for: who reads may have seen enough.
                    if more < TRICKLE {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        let taken = stage.taken();
        let is_last = count == 0;
        // What came before an error comes before it here too.
        if (!is_last || failed.is_none()) && fill.send(Ok(Block { bytes, count, taken })).is_err() {
            return;
        }
        if let Some(error) = failed {
            drop(fill.send(Err(error)));
            return;
        }
        if is_last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes in pieces, then the error, if there is one.
    struct Pieces {
        bytes: Vec<u8>,
        piece: usize,
        taken: u64,
        error: Option<&'static str>,
    }

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.piece.min(self.bytes.len()).min(buffer.len());
            if count == 0
                && let Some(error) = self.error
            {
                return Err(io::Error::other(error));
            }
            buffer[..count].copy_from_slice(&self.bytes[..count]);
            self.bytes.drain(..count);
            self.taken += count as u64;
            Ok(count)
        }
    }

    impl Stage for Pieces {
        fn taken(&self) -> u64 {
            self.taken
        }
    }

    #[test]
    fn all_bytes_come_in_order_and_then_the_error() {
        for (length, piece) in [(0, 1), (1, 1), (BLOCK - 1, 7000), (BLOCK * 9 + 5, 100_000)] {
            for error in [None, Some("broken")] {
                let bytes: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
                let stage = Pieces { bytes: bytes.clone(), piece, taken: 0, error };
                std::thread::scope(|scope| {
                    let mut ahead = Ahead::start(scope, stage).unwrap();
                    let mut found = Vec::new();
                    let outcome = ahead.read_to_end(&mut found);
                    assert!(found == bytes, "{length} {piece}");
                    assert_eq!(outcome.err().map(|e| e.to_string()).as_deref(), error);
                    assert_eq!(ahead.taken(), length as u64);
                });
            }
        }
    }

    #[test]
    fn a_stage_ends_when_nobody_reads() {
        let bytes = vec![1; BLOCK * 20];
        let stage = Pieces { bytes, piece: BLOCK, taken: 0, error: None };
        // The scope ends only when the thread has.
        std::thread::scope(|scope| {
            let mut ahead = Ahead::start(scope, stage).unwrap();
            assert_eq!(ahead.read(&mut [0; 10]).unwrap(), 10);
        });
    }
}
