//! How many round trips to the registry there are, one after the other.

use std::time::Duration;

use serde::Serialize;

use crate::bench::{Artifact, Bench};
use crate::contest::{Contest, Contestant};
use crate::driver::Driver;
use crate::proxy::Proxy;
use crate::registry::{Access, Kind};
use crate::skills::Compressed;
use crate::{cold, peers};

/// What one costs here.
pub(crate) const ROUND_TRIP: Duration = Duration::from_millis(20);

/// Of each contest.
pub(crate) const ROUNDS: usize = 9;

/// One way of asking, through a relay at once and through one that makes the way longer.
#[derive(Debug, Serialize)]
pub(crate) struct Trips {
    /// Whether with TLS and a password.
    pub(crate) secured: bool,
    pub(crate) name: String,
    /// The shortest of all rounds, in milliseconds: the others differ by what else was at work.
    pub(crate) direct: f64,
    pub(crate) delayed: f64,
}

impl Trips {
    pub(crate) fn count(&self) -> f64 {
        (self.delayed - self.direct) / (ROUND_TRIP.as_secs_f64() * 1e3)
    }
}

pub(crate) fn measure(bench: &Bench) -> Vec<Trips> {
    let artifact = bench.artifact("small", Compressed::Gzip);
    let mut all = Vec::new();
    for access in [&bench.registry.plain, &bench.registry.secured] {
        let secured = access.login.is_some();
        let through = |round_trip| {
            let proxy = Proxy::start(&access.host, round_trip);
            access.at(&proxy.host, bench.root())
        };
        // The relay itself takes its time.
        let (direct, delayed) = (through(Duration::ZERO), through(ROUND_TRIP));
        let way = if secured { "TLS + password" } else { "plain" };
        let rounds = bench.options.rounds(ROUNDS);
        let run = |access: &Access, title: String| {
            Contest::run(title, rounds, contestants(bench, access, artifact))
        };
        let direct = run(&direct, format!("round trips, {way}, at once"));
        let delayed = run(&delayed, format!("round trips, {way}, 20 ms each"));
        for entry in &direct.entries {
            let shortest = |contest: &Contest| Some(contest.times(&entry.name)?.quantile(0.0));
            if let (Some(direct), Some(delayed)) = (shortest(&direct), shortest(&delayed)) {
                all.push(Trips { secured, name: entry.name.clone(), direct, delayed });
            }
        }
    }
    all
}

fn contestants<'a>(
    bench: &'a Bench,
    access: &'a Access,
    artifact: &'a Artifact,
) -> Vec<Contestant<'a>> {
    let mut all = vec![
        Contestant::new("publish, driver just started", || cold::publish(bench, access, artifact)),
        cold::connected(bench, access, Kind::Artifact),
        cold::connected(bench, access, Kind::Image),
        stored(bench, access, artifact, "publish, stored", "IfNotPresent"),
        stored(bench, access, artifact, "publish, stored, `pullPolicy: Always`", "Always"),
    ];
    all.extend(peers::contestants(bench, access, artifact));
    all
}

fn stored<'a>(
    bench: &'a Bench,
    access: &'a Access,
    artifact: &'a Artifact,
    name: &str,
    policy: &'static str,
) -> Contestant<'a> {
    let mut driver = None;
    Contestant::new(name, move || {
        let driver = driver.get_or_insert_with(|| {
            let driver = Driver::start(bench, access);
            let volume = driver.volume(&artifact.repository, "image");
            driver.publish(&volume);
            driver.unpublish(&volume);
            driver
        });
        let volume = driver.volume(&artifact.repository, "image").attribute("pullPolicy", policy);
        let took = driver.publish(&volume);
        driver.unpublish(&volume);
        Ok(took)
    })
}
