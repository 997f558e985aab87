//! A longer way to the registry: a relay that delivers late, and counts.
//!
//! Half a round trip passes before bytes of either direction are delivered. A connection's first
//! bytes of the client wait for one round trip more, as they would for the handshake of TCP. So the
//! time that something takes longer through the relay, divided by the round trip, is how many it
//! waits for one after the other. Bandwidth and TCP's slow start are those of the loopback.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

/// How many blocks are on the way at once, in one direction of a connection.
const UNDER_WAY: usize = 256;

/// Runs until the process ends.
pub(crate) struct Proxy {
    /// Host and port.
    pub(crate) host: String,
    delivered: Arc<AtomicU64>,
}

impl Proxy {
    pub(crate) fn start(upstream: &str, round_trip: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let delivered = Arc::new(AtomicU64::new(0));
        let (upstream, counter) = (upstream.to_owned(), delivered.clone());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(&upstream) else { continue };
                relay(&client, &server, round_trip, &counter);
            }
        });
        Self { host, delivered }
    }

    /// How many bytes it brought to clients so far.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }
}

fn relay(client: &TcpStream, server: &TcpStream, round_trip: Duration, counter: &Arc<AtomicU64>) {
    let now = Instant::now();
    for stream in [client, server] {
        drop(stream.set_nodelay(true));
    }
    let both = || (client.try_clone().unwrap(), server.try_clone().unwrap());
    let (from, to) = both();
    pump(from, to, round_trip / 2, now + round_trip, None);
    let (to, from) = both();
    pump(from, to, round_trip / 2, now, Some(counter.clone()));
}

/// Delivers what comes from one side to the other, `delay` after it came, or after `opened`.
fn pump(
    mut from: TcpStream,
    mut to: TcpStream,
    delay: Duration,
    opened: Instant,
    counter: Option<Arc<AtomicU64>>,
) {
    let (sender, receiver) = sync_channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    thread::spawn(move || {
        let mut block = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from.read(&mut block) {
            let due = Instant::now().max(opened) + delay;
            if sender.send((due, block[..count].to_vec())).is_err() {
                break;
            }
        }
    });
    thread::spawn(move || {
        for (due, bytes) in receiver {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
            if let Some(counter) = &counter {
                counter.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            }
        }
        drop(to.shutdown(Shutdown::Write));
    });
}
