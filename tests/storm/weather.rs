//! When the driver dies.

use std::mem::MaybeUninit;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::storm::World;
use crate::support::Random;
use crate::support::{Fault, Gate, On};

/// Whatever is waited for, the storm goes on after this: what is stored asks for no blob.
const PATIENCE: Duration = Duration::from_secs(1);

/// The moment of a kill, drawn before the driver starts.
#[derive(Debug)]
pub(crate) enum Moment {
    /// While it starts, with what the last one has left.
    Starting(Duration),
    /// At any moment.
    After(Duration),
    /// Right after it has answered so many calls.
    Answers(u64),
    /// While it waits for the registry: at such a request.
    Request(u32),
    /// While such a blob comes, after so many bytes.
    Blob(u32, u64),
    /// Between two steps: after so many changes in this directory of the state, and a little more.
    Changes(&'static str, u64, Duration),
    /// Right after so many changes of the mounts.
    Mounts(u64),
}

impl Moment {
    pub(crate) fn draw(random: &mut Random) -> Self {
        let count = |random: &mut Random, most: u64| 1 + random.below(most);
        match random.below(24) {
            0..=1 => Self::Starting(Duration::from_micros(random.below(60_000))),
            2..=5 => Self::After(Duration::from_micros(random.below(80_000))),
            // Long enough for a scrub.
            6 if random.percent(30) => Self::After(Duration::from_micros(random.below(1_500_000))),
            6..=9 => Self::Answers(count(random, 60)),
            10..=12 => Self::Request(u32::try_from(count(random, 12)).unwrap()),
            13 => {
                let number = u32::try_from(count(random, 4)).unwrap();
                Self::Blob(number, count(random, 2000))
            }
            14..=17 => Self::Mounts(count(random, 60)),
            _ => {
                let directory = ["volumes", "volumes", "volumes", "trees", "staging"];
                let directory = directory[random.index(directory.len())];
                let more = Duration::from_micros(random.below(300));
                Self::Changes(directory, count(random, 150), more)
            }
        }
    }

    /// Prepares the world for it, with a driver that serves.
    pub(crate) fn prepare(&self, world: &Arc<World>) -> Gate {
        let gate = Gate::held();
        let registry = &world.catalogue.registry;
        match *self {
            Self::Changes(directory, count, more) => strike_after(world, directory, count, more),
            Self::Mounts(count) => strike_after_mounts(world, count),
            Self::Request(number) => {
                registry.fault(On::path("/v2/").nth(number), Fault::Stall(gate.clone()));
            }
            Self::Blob(number, after) => {
                let fault = Fault::Hold { after, gate: gate.clone() };
                registry.fault(On::get("/blobs/").nth(number), fault);
            }
            _ => {}
        }
        gate
    }

    /// Returns when it has come.
    pub(crate) async fn comes(&self, world: &World, gate: &Gate) {
        let wait = async {
            match *self {
                Self::Answers(count) => world.wait_for_answers(count).await,
                Self::Request(_) | Self::Blob(..) => gate.wait_for_waiting(1).await,
                _ => world.wait_for_death().await,
            }
        };
        match *self {
            Self::Starting(after) | Self::After(after) => tokio::time::sleep(after).await,
            _ => drop(tokio::time::timeout(PATIENCE, wait).await),
        }
    }

    /// The registry is as it was.
    pub(crate) fn pass(world: &World, gate: &Gate) {
        world.catalogue.registry.clear_faults();
        gate.release();
    }
}

/// Kills the driver from a thread of its own, which does not wait for its turn among the callers: a
/// step takes microseconds. A thread that has come too late strikes nobody.
fn strike_after(world: &Arc<World>, directory: &str, count: u64, more: Duration) {
    let events = inotify::init(CreateFlags::CLOEXEC).unwrap();
    let changes = WatchFlags::CREATE | WatchFlags::MOVE | WatchFlags::MODIFY | WatchFlags::DELETE;
    inotify::add_watch(&events, world.root.join("state").join(directory), changes).unwrap();
    let (world, victim) = (world.clone(), world.victim());
    std::thread::spawn(move || {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&events, &mut buffer);
        for _ in 0..count {
            reader.next().unwrap();
        }
        let start = Instant::now();
        while start.elapsed() < more {
            std::hint::spin_loop();
        }
        world.strike(victim);
    });
}

/// As [`strike_after`]. The kernel tells whoever polls the mount table that it has changed.
fn strike_after_mounts(world: &Arc<World>, count: u64) {
    let table = std::fs::File::open("/proc/self/mountinfo").unwrap();
    let (world, victim) = (world.clone(), world.victim());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async {
            #[expect(deprecated, reason = "its successor is unsafe; a file is its own descriptor")]
            let table = AsyncFd::with_interest(table, Interest::PRIORITY).unwrap();
            for _ in 0..count {
                table.ready(Interest::PRIORITY).await.unwrap().clear_ready();
            }
        });
        world.strike(victim);
    });
}
