//! Connections of kubelet, made fit for the HTTP/2 library.
//!
//! Kubelet dials sockets with grpc-go, which writes the socket's path as `:authority`, escaped
//! (`%2Fvar%2Flib%2Fkubelet%2F…`) or, in older versions, as it is. That is no authority of RFC 3986, and
//! `h2` refuses the request with PROTOCOL_ERROR, as the RFC asks of it (9113, 8.3.1); Go's own
//! server does not look. Nobody reads the authority of a call over a unix socket, so each one is
//! replaced, in the bytes, by one that can be parsed.
//!
//! HPACK (RFC 7541) has state: a literal may become an entry of a table that both sides keep. The
//! replacement is shorter than whatever it replaces, so the reader's table never forgets an entry
//! that the writer still refers to (4.1, 4.4).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;

/// What a client sends first (RFC 9113, 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The length of a frame's header, in bytes (4.1).
const FRAME_HEADER: usize = 9;

pub(super) const HEADERS: u8 = 0x01;
const END_HEADERS: u8 = 0x04;
const PADDED: u8 = 0x08;
const PRIORITY: u8 = 0x20;

/// The longest HEADERS frame that is looked into, in bytes: more than any client may send unless
/// the server allows it (SETTINGS_MAX_FRAME_SIZE, 16 KiB), which ours does not.
const MAX_FRAME: usize = 16 << 10;

/// The index of `:authority` in HPACK's static table.
const AUTHORITY: usize = 1;

/// What each authority becomes: a string literal of one byte.
const REPLACEMENT: &[u8] = b"\x01k";

/// How much is read at once, in bytes.
const CHUNK: usize = 8 << 10;

/// A connection whose authorities can be parsed. What is written to it passes as it is.
#[derive(Debug)]
pub(super) struct Kubelet {
    stream: UnixStream,
    rewriter: Rewriter,
}

impl Kubelet {
    /// Wraps an accepted connection.
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream, rewriter: Rewriter::default() }
    }
}

impl AsyncRead for Kubelet {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.rewriter.ready.is_empty() {
            let mut chunk = [0; CHUNK];
            let mut chunk = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut chunk))?;
            if chunk.filled().is_empty() {
                this.rewriter.end();
                break;
            }
            this.rewriter.push(chunk.filled());
        }
        let ready = &mut this.rewriter.ready;
        let count = ready.len().min(buffer.remaining());
        buffer.put_slice(&ready[..count]);
        ready.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Kubelet {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// Finds the frames in what comes, and the authorities in them.
#[derive(Debug)]
struct Rewriter {
    /// What came and cannot be passed on yet: the beginning of a frame, no longer than one.
    held: BytesMut,
    /// What can be read.
    ready: BytesMut,
    /// How many of the next bytes pass as they are.
    passing: usize,
    /// Whether the connection has shown that it speaks HTTP/2; if it does not, all of it passes.
    speaks: Option<bool>,
}

impl Default for Rewriter {
    fn default() -> Self {
        let (held, ready) = (BytesMut::new(), BytesMut::new());
        Self { held, ready, passing: 0, speaks: None }
    }
}

impl Rewriter {
    fn push(&mut self, bytes: &[u8]) {
        self.held.put_slice(bytes);
        while self.step() {}
    }

    /// Nothing more comes: what is held is nothing whole.
    fn end(&mut self) {
        let held = self.held.split();
        self.ready.unsplit(held);
    }

    /// Passes something on; false if that needs more bytes.
    fn step(&mut self) -> bool {
        if self.held.is_empty() {
            return false;
        }
        match self.speaks {
            Some(false) => self.passing = self.held.len(),
            Some(true) => {}
            None => {
                let count = self.held.len().min(PREFACE.len());
                if self.held[..count] != PREFACE[..count] {
                    self.speaks = Some(false);
                } else if count == PREFACE.len() {
                    self.speaks = Some(true);
                    self.passing = count;
                } else {
                    return false;
                }
                return true;
            }
        }
        if self.passing > 0 {
            let part = self.held.split_to(self.passing.min(self.held.len()));
            self.passing -= part.len();
            self.ready.put_slice(&part);
            return true;
        }
        let Some(header) = self.held.first_chunk::<FRAME_HEADER>() else { return false };
        let length =
            usize::from(header[0]) << 16 | usize::from(header[1]) << 8 | usize::from(header[2]);
        let (kind, flags) = (header[3], header[4]);
        // A block that goes on in another frame is no request of gRPC's.
        if kind != HEADERS || flags & END_HEADERS == 0 || length > MAX_FRAME {
            self.passing = FRAME_HEADER + length;
            return true;
        }
        if self.held.len() < FRAME_HEADER + length {
            return false;
        }
        let frame = self.held.split_to(FRAME_HEADER + length);
        let (header, payload) = frame.split_at(FRAME_HEADER);
        match rewritten(payload, flags) {
            Some(payload) => {
                // Not longer than before, so three bytes still hold it.
                let length = payload.len() as u32;
                self.ready.put_slice(&length.to_be_bytes()[1..]);
                self.ready.put_slice(&header[3..]);
                self.ready.put_slice(&payload);
            }
            None => self.ready.put_slice(&frame),
        }
        true
    }
}

/// The payload of a HEADERS frame with other authorities; none if it has none, or makes no sense.
fn rewritten(payload: &[u8], flags: u8) -> Option<Vec<u8>> {
    let mut start = 0;
    let mut end = payload.len();
    if flags & PADDED != 0 {
        end = end.checked_sub(usize::from(*payload.first()?))?;
        start += 1;
    }
    if flags & PRIORITY != 0 {
        start += 5;
    }
    let block = payload.get(start..end)?;
    let mut out = payload[..start].to_vec();
    let mut at = 0;
    let mut found = false;
    while at < block.len() {
        let field = Field::at(block, at)?;
        match field.value {
            // An empty one would become longer.
            Some((from, length)) if field.name == AUTHORITY && length > 0 => {
                out.extend_from_slice(&block[at..from]);
                out.extend_from_slice(REPLACEMENT);
                found = true;
            }
            _ => out.extend_from_slice(&block[at..field.end]),
        }
        at = field.end;
    }
    out.extend_from_slice(&payload[end..]);
    found.then_some(out)
}

/// Where a field of a header block is (RFC 7541, 6).
struct Field {
    /// The index of its name; 0 for a name that is spelt out.
    name: usize,
    /// Where the string of its value begins, and how long its text is as it is coded.
    value: Option<(usize, usize)>,
    end: usize,
}

impl Field {
    fn at(block: &[u8], at: usize) -> Option<Self> {
        let (bits, literal) = match *block.get(at)? {
            // Indexed; with incremental indexing; a new table size; without indexing, or never.
            first if first & 0x80 != 0 => (7, false),
            first if first & 0x40 != 0 => (6, true),
            first if first & 0x20 != 0 => (5, false),
            _ => (4, true),
        };
        let (name, mut end) = integer(block, at, bits)?;
        if !literal {
            return Some(Self { name: 0, value: None, end });
        }
        if name == 0 {
            end = string(block, end)?.1;
        }
        let from = end;
        let (length, end) = string(block, from)?;
        Some(Self { name, value: Some((from, length)), end })
    }
}

/// The length of a string literal's text, and where the literal ends (5.2).
fn string(block: &[u8], at: usize) -> Option<(usize, usize)> {
    let (length, from) = integer(block, at, 7)?;
    let end = from.checked_add(length)?;
    (end <= block.len()).then_some((length, end))
}

/// An integer with a prefix of so many bits, and where it ends (5.1).
fn integer(block: &[u8], at: usize, bits: u32) -> Option<(usize, usize)> {
    let most = (1 << bits) - 1;
    let mut value = usize::from(*block.get(at)?) & most;
    let mut next = at + 1;
    if value < most {
        return Some((value, next));
    }
    // No length or index of a frame needs more.
    for shift in [0, 7, 14, 21] {
        let byte = usize::from(*block.get(next)?);
        next += 1;
        value += (byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value, next));
        }
    }
    None
}

#[cfg(test)]
mod tests;
