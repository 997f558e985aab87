//! When the driver dies.

use std::time::Duration;

use crate::random::Random;
use crate::storm::World;
use crate::support::{Fault, Gate, On};

/// Whatever is waited for, the storm goes on after this: what is stored asks for no blob.
const PATIENCE: Duration = Duration::from_millis(1500);

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
}

impl Moment {
    pub(crate) fn draw(random: &mut Random) -> Self {
        match random.below(20) {
            0..=1 => Self::Starting(Duration::from_micros(random.below(60_000))),
            2..=7 => Self::After(Duration::from_micros(random.below(80_000))),
            // Long enough for a scrub.
            8 => Self::After(Duration::from_micros(random.below(1_500_000))),
            9..=13 => Self::Answers(1 + random.below(40)),
            14..=17 => Self::Request(1 + u32::try_from(random.below(12)).unwrap()),
            _ => {
                let number = 1 + u32::try_from(random.below(4)).unwrap();
                Self::Blob(number, 1 + random.below(2000))
            }
        }
    }

    /// Prepares the registry for it.
    pub(crate) fn prepare(&self, world: &World) -> Gate {
        let gate = Gate::held();
        let registry = &world.catalogue.registry;
        match *self {
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
                Self::Starting(after) | Self::After(after) => tokio::time::sleep(after).await,
                Self::Answers(count) => world.wait_for_answers(count).await,
                Self::Request(_) | Self::Blob(..) => gate.wait_for_waiting(1).await,
            }
        };
        drop(tokio::time::timeout(PATIENCE, wait).await);
    }

    /// The registry is as it was.
    pub(crate) fn pass(world: &World, gate: &Gate) {
        world.catalogue.registry.clear_faults();
        gate.release();
    }
}
