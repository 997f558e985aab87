//! Many volumes: at once, and one after the other.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde::Serialize;

use crate::bench::{Bench, VARIANTS};
use crate::driver::Driver;
use crate::skills::Compressed;
use crate::support::driver::Volume;
use crate::times::Times;

/// How often each crowd that finds everything stored comes.
const REPEATS: usize = 3;

/// A number of volumes at once.
#[derive(Debug, Serialize)]
pub(crate) struct Crowd {
    pub(crate) scenario: &'static str,
    pub(crate) volumes: usize,
    pub(crate) publish: Burst,
    pub(crate) unpublish: Burst,
}

/// Calls made at once.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Burst {
    /// Of each call, in milliseconds, waiting included.
    pub(crate) times: Times,
    /// Of all of them, each time.
    pub(crate) total: Times,
}

impl Burst {
    pub(crate) fn per_second(&self) -> f64 {
        let calls = self.times.count() as f64 / self.total.count() as f64;
        calls / self.total.median() * 1e3
    }
}

/// Volumes one after the other, all of which stay until the last is published.
#[derive(Debug, Serialize)]
pub(crate) struct Series {
    pub(crate) publish: Vec<Times>,
    pub(crate) unpublish: Vec<Times>,
}

impl Series {
    /// What the last tenth of calls costs for what the first costs.
    pub(crate) fn growth(runs: &[Times]) -> f64 {
        let tenth = |run: &Times| run.count().div_ceil(10);
        let of = |start: fn(usize, usize) -> usize| {
            let medians = runs.iter().map(|run| {
                let tenth = tenth(run);
                run.part(start(run.count(), tenth), tenth).median()
            });
            medians.sum::<f64>()
        };
        of(|count, tenth| count - tenth) / of(|_, _| 0)
    }

    pub(crate) fn runs(&self) -> [(&'static str, &[Times]); 2] {
        [("publish", &self.publish), ("unpublish", &self.unpublish)]
    }

    /// All samples.
    pub(crate) fn all(runs: &[Times]) -> Times {
        let mut all = Times::default();
        runs.iter().for_each(|run| all.extend(run));
        all
    }
}

pub(crate) const SAME: &str = "stored, the same skill";
pub(crate) const OTHERS: &str = "stored, a skill for each";
pub(crate) const MISSING: &str = "not stored, a skill for each";

pub(crate) fn crowds(bench: &Bench) -> Vec<Crowd> {
    let access = &bench.registry.plain;
    let most = bench.options.crowd();
    let counts = [1, 10, 20, 50, 100, 200, 350, 500].into_iter().filter(|count| *count <= most);
    let counts: Vec<_> = counts.collect();
    let mut all = Vec::new();
    for &count in &counts {
        eprintln!("{MISSING}: {count} volumes at once");
        let driver = Driver::start(bench, access);
        all.push(crowd(bench, &driver, MISSING, count, 1, |number| {
            driver.volume(VARIANTS, &number.to_string())
        }));
        if count == most {
            for &count in &counts {
                eprintln!("{SAME}, {OTHERS}: {count} volumes at once");
                all.push(crowd(bench, &driver, SAME, count, REPEATS, |_| {
                    driver.volume(VARIANTS, "1")
                }));
                all.push(crowd(bench, &driver, OTHERS, count, REPEATS, |number| {
                    driver.volume(VARIANTS, &number.to_string())
                }));
            }
        }
        driver.stop();
    }
    all
}

/// Publishes and unpublishes `count` volumes, numbered from 1, `repeats` times.
fn crowd(
    bench: &Bench,
    driver: &Driver<'_>,
    scenario: &'static str,
    count: usize,
    repeats: usize,
    volume: impl Fn(usize) -> Volume,
) -> Crowd {
    let (mut publish, mut unpublish) = (Burst::default(), Burst::default());
    for _ in 0..repeats {
        let volumes: Vec<_> = (1..=count).map(&volume).collect();
        bench.settle();
        let client = &driver.client;
        burst(driver, &mut publish, &volumes, async |v| client.publish(v).await.unwrap());
        burst(driver, &mut unpublish, &volumes, async |v| client.unpublish(v).await.unwrap());
    }
    Crowd { scenario, volumes: count, publish, unpublish }
}

fn burst(driver: &Driver<'_>, burst: &mut Burst, volumes: &[Volume], call: impl AsyncFn(&Volume)) {
    let timed = async |volume: &Volume| -> Duration {
        let start = Instant::now();
        call(volume).await;
        start.elapsed()
    };
    let start = Instant::now();
    let times = driver.alone.block_on(join_all(volumes.iter().map(timed)));
    burst.total.push(start.elapsed());
    times.into_iter().for_each(|time| burst.times.push(time));
}

pub(crate) fn series(bench: &Bench) -> Series {
    let artifact = bench.artifact("small", Compressed::Gzip);
    let driver = Driver::start(bench, &bench.registry.plain);
    let mut series = Series { publish: Vec::new(), unpublish: Vec::new() };
    // The first run warms up.
    for run in 0..=REPEATS {
        let volume = |_| driver.volume(&artifact.repository, "image");
        let volumes: Vec<_> = (0..bench.options.crowd()).map(volume).collect();
        eprintln!("one after the other: {} volumes", volumes.len());
        bench.settle();
        let published = volumes.iter().map(|volume| driver.publish(volume)).collect();
        let unpublished = volumes.iter().map(|volume| driver.unpublish(volume)).collect();
        if run > 0 {
            series.publish.push(published);
            series.unpublish.push(unpublished);
        }
    }
    driver.stop();
    series
}
