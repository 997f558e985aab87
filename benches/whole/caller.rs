//! Calls of the driver that cost their caller next to nothing: HTTP/2 (RFC 9113) as far as one call
//! after the other needs it, in one thread that waits for the answer. A gRPC library takes as long for
//! its own part of a call as the driver does for all of a small one, on the same processors.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use prost::Message;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// How many bytes of answers the driver may send in all, before it is told that they were read.
const WINDOW: u32 = 1 << 30;

/// A connection to the driver.
pub(crate) struct Caller {
    socket: UnixStream,
    stream: u32,
    received: Vec<u8>,
}

impl Caller {
    pub(crate) fn connect(socket: &Path) -> Self {
        let mut socket = UnixStream::connect(socket).unwrap();
        let mut hello = PREFACE.to_vec();
        frame(&mut hello, SETTINGS, 0, 0, &[]);
        frame(&mut hello, WINDOW_UPDATE, 0, 0, &WINDOW.to_be_bytes());
        socket.write_all(&hello).unwrap();
        Self { socket, stream: 1, received: Vec::new() }
    }

    /// Calls `method`, such as `/csi.v1.Identity/Probe`: how long it took until the answer was there,
    /// or nothing if it was a refusal.
    pub(crate) fn call(&mut self, method: &str, request: &impl Message) -> Option<Duration> {
        // `:method: POST` and `:scheme: http`, of HPACK's static table (RFC 7541, appendix A).
        let mut headers = vec![0x83, 0x86];
        for (name, value) in [
            (":path", method),
            (":authority", "localhost"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ] {
            literal(&mut headers, name, value);
        }
        let message = request.encode_to_vec();
        let mut data = vec![0];
        data.extend((message.len() as u32).to_be_bytes());
        data.extend(message);
        let stream = self.stream;
        self.stream += 2;
        let mut bytes = Vec::new();
        frame(&mut bytes, HEADERS, END_HEADERS, stream, &headers);
        frame(&mut bytes, DATA, END_STREAM, stream, &data);
        let start = Instant::now();
        self.socket.write_all(&bytes).unwrap();
        let answered = self.answer(stream);
        let took = start.elapsed();
        answered.then_some(took)
    }

    /// Reads until the stream ends. Whether there was a message: a refusal is only headers.
    fn answer(&mut self, stream: u32) -> bool {
        let mut answered = false;
        loop {
            let Some((kind, flags, of, payload)) = self.next() else {
                let mut chunk = [0; 4096];
                let count = self.socket.read(&mut chunk).unwrap();
                assert!(count > 0, "the driver hung up");
                self.received.extend_from_slice(&chunk[..count]);
                continue;
            };
            match kind {
                SETTINGS if flags & ACK == 0 => self.send(SETTINGS, ACK, &[]),
                PING if flags & ACK == 0 => self.send(PING, ACK, &payload),
                RST_STREAM | GOAWAY => panic!("the driver ended the stream: {payload:?}"),
                DATA if of == stream => answered = true,
                _ => {}
            }
            if of == stream && matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
                return answered;
            }
        }
    }

    /// The next frame that is whole: its type, flags, stream and payload.
    fn next(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let header: [u8; 9] = *self.received.first_chunk()?;
        let [a, b, c, kind, flags, id @ ..] = header;
        let end = 9 + u32::from_be_bytes([0, a, b, c]) as usize;
        let payload = self.received.get(9..end)?.to_vec();
        self.received.drain(..end);
        Some((kind, flags, u32::from_be_bytes(id), payload))
    }

    fn send(&mut self, kind: u8, flags: u8, payload: &[u8]) {
        let mut bytes = Vec::new();
        frame(&mut bytes, kind, flags, 0, payload);
        self.socket.write_all(&bytes).unwrap();
    }
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// A header that no table keeps, with short strings as they are (RFC 7541, 6.2.2).
fn literal(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(0);
    for text in [name, value] {
        assert!(text.len() < 127);
        out.push(text.len() as u8);
        out.extend_from_slice(text.as_bytes());
    }
}
