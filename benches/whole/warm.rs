//! What is on the node already.

use crate::bench::Bench;
use crate::containerd::Containerd;
use crate::contest::{Contest, Contestant};
use crate::driver::Driver;
use crate::floors;
use crate::skills::Compressed;

pub(crate) const TITLE: &str = "stored";
pub(crate) const PUBLISH: &str = "publish";
pub(crate) const UNPUBLISH: &str = "unpublish";

/// Rounds of what takes less than a millisecond.
const ROUNDS: usize = 300;

/// Those of others, which take long.
const PEER_ROUNDS: usize = 9;

/// The calls of the driver and the kernel, and what `ctr` needs for the same.
pub(crate) fn contests(bench: &Bench) -> Vec<Contest> {
    let access = &bench.registry.plain;
    let artifact = bench.artifact("small", Compressed::Gzip);
    let driver = Driver::start(bench, access);
    let first = driver.volume(&artifact.repository, "image");
    driver.publish(&first);
    let tree = driver.tree();
    let volume = || driver.volume(&artifact.repository, "image");
    let mut contestants = vec![
        Contestant::new(PUBLISH, || {
            let volume = volume();
            let took = driver.publish(&volume);
            driver.unpublish(&volume);
            Ok(took)
        }),
        Contestant::new("publish again", || Ok(driver.publish(&first))),
        Contestant::new(UNPUBLISH, || {
            let volume = volume();
            driver.publish(&volume);
            Ok(driver.unpublish(&volume))
        }),
        Contestant::new("floor: a call that does nothing", || Ok(driver.probe())),
    ];
    contestants.push(floors::wakes());
    contestants.extend(floors::kernel(bench, tree));
    let rounds = if bench.options.quick { 20 } else { ROUNDS };
    let mut all = vec![Contest::run(TITLE, rounds, contestants)];
    driver.unpublish(&first);
    driver.stop();
    if let Some(containerd) = Containerd::start(bench) {
        let contestants = containerd.warm(bench, access, artifact);
        let rounds = bench.options.rounds(PEER_ROUNDS);
        all.push(Contest::run("stored, containerd", rounds, contestants));
        containerd.stop(bench);
    }
    all
}
