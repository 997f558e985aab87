//! Power goes at any moment of a storm of publishes and unpublishes, and comes again: no pod is ever
//! given a byte that is wrong.
//!
//! `SKILLMOUNT_POWER_CUTS` (default 5) and `SKILLMOUNT_POWER_SEED` say how often and when. It needs
//! root, loop devices, FUSE and mkfs, and says so where they are not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests assert, and say what they did"
)]

mod disk;
mod machine;
#[path = "../support/namespace.rs"]
mod namespace;
#[path = "../publish/node.rs"]
#[allow(dead_code, reason = "other tests need all of it")]
mod node;
mod platter;
mod storm;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::Path;

use machine::{FILE_SYSTEMS, Machine, Missing};
use platter::Fate;
use skillmount::mount::{KernelMounter, Mount, Mounter};
use storm::{Found, Storm};
use support::Random;

/// Cuts of one disk, before it is another's turn: what one has left meets the next.
const CUTS_OF_ONE_DISK: u64 = 10;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

/// What is mounted below a directory, in the order in which it was.
fn mounts(root: &Path) -> Vec<Mount> {
    let all = KernelMounter::detect().mounts().unwrap();
    all.into_iter().filter(|m| m.mount_point != root && m.mount_point.starts_with(root)).collect()
}

#[test]
fn no_cut_of_the_power_gives_a_pod_wrong_bytes() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: loop devices need root");
        return;
    }
    namespace::in_namespace("no_cut_of_the_power_gives_a_pod_wrong_bytes", || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let cuts = number("SKILLMOUNT_POWER_CUTS", 5);
        let seed = number("SKILLMOUNT_POWER_SEED", 1);
        if let Err(missing) = runtime.block_on(cut_again_and_again(cuts, seed)) {
            println!("skipped: this machine cannot be cut from its power: {missing}");
        }
    });
}

/// Fails only if this machine cannot do that.
async fn cut_again_and_again(cuts: u64, seed: u64) -> Result<(), Missing> {
    let scratch = namespace::scratch();
    let mut random = Random::new(seed);
    let mut total = Found::default();
    let mut fates = BTreeMap::<Fate, u64>::new();
    let (mut done, mut lost) = (0, 0);
    // A short run has all of them all the same.
    let each = CUTS_OF_ONE_DISK.min(cuts.div_ceil(FILE_SYSTEMS.len() as u64));
    for disk in 0.. {
        if done == cuts {
            break;
        }
        let file_system = FILE_SYSTEMS[disk % FILE_SYSTEMS.len()];
        let machine = match Machine::new(&scratch, &disk.to_string(), file_system) {
            Ok(machine) => machine,
            // One of them is enough.
            Err(missing) if file_system.kind != FILE_SYSTEMS[0].kind => {
                println!("no {}: {missing}", file_system.kind);
                continue;
            }
            Err(missing) => return Err(missing),
        };
        machine.boot(&mut random)?;
        let mut storm = Storm::new(random.fork());
        let mut requests = 200;
        for cut in 0..each.min(cuts - done) {
            let number = done + cut;
            println!("cut {number} of seed {seed}: {file_system:?}");
            // Sometimes it goes again while the driver starts.
            if cut > 0 && random.below(4) == 0 {
                machine.arm(random.fork(), 100);
            }
            let node = storm.recover(&machine).await;
            machine.arm(random.fork(), requests);
            storm.rage(&machine, &node).await;
            machine.cut(random.fork());
            node.kill().await;
            let (fate, sectors, seen) = machine.halt();
            // As far as a storm goes.
            requests = seen.max(20);
            *fates.entry(fate.expect("a cut")).or_default() += 1;
            lost += sectors;
            machine.boot(&mut random).expect("a journal that can be read");
            assert_eq!(machine.errors(), 0, "the disk has broken its word");
        }
        done += each.min(cuts - done);
        let node = storm.recover(&machine).await;
        node.terminate().await;
        machine.halt();
        total.add(&storm.found);
    }
    println!("{done} cuts with seed {seed}, {lost} sectors lost: {fates:?}");
    println!("{total:#?}");
    Ok(())
}
