//! What goes wrong at the registry, all the time and never the same.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::content::Content;
use crate::support::Random;
use crate::support::{Fault, Gate, On, Registry};

/// Moves tags, and lets the registry fail in a new way every second or two, until `stopped`.
pub(crate) async fn run(
    registry: Arc<Registry>,
    content: Arc<Content>,
    mut random: Random,
    stopped: watch::Receiver<bool>,
) {
    while !*stopped.borrow() {
        let held = trouble(&registry, &mut random);
        for _ in 0..=random.below(4) {
            let pause = Duration::from_millis(100 + random.below(500));
            let mut stopped = stopped.clone();
            // A closed channel is the end too.
            drop(tokio::time::timeout(pause, stopped.wait_for(|stop| *stop)).await);
            content.move_tag(random.next());
        }
        registry.clear_faults();
        held.iter().for_each(Gate::release);
    }
}

/// Faults for the next requests, as many as may be; none one time in three.
fn trouble(registry: &Registry, random: &mut Random) -> Vec<Gate> {
    let mut held = Vec::new();
    if random.percent(33) {
        return held;
    }
    for _ in 0..=random.below(3) {
        let on = On::get(random.one_of(&["/blobs/", "/manifests/", "/v2/"]));
        let on = on.after(random.below(3) as u32).times(1 + random.below(12) as u32);
        let gate = Gate::held();
        let fault = match random.below(11) {
            0 => Fault::status(500),
            1 => Fault::status(503),
            2 => Fault::retry_after("1"),
            3 => Fault::status(401),
            4 => Fault::status(404),
            5 => Fault::CloseConnection,
            6 => Fault::Truncate(random.below(3_000)),
            7 => Fault::WrongBytes,
            8 => Fault::ExtraBytes(random.below(100_000)),
            9 => Fault::Hold { after: random.below(2_000), gate: gate.clone() },
            _ => Fault::Stall(gate.clone()),
        };
        registry.fault(on, fault);
        held.push(gate);
    }
    held
}
