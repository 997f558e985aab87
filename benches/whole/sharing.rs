//! A second pod that wants what is being pulled for the first.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::bench::Bench;
use crate::driver::Driver;
use crate::proxy::Proxy;
use crate::skills::Compressed;
use crate::times::Times;

const ROUNDS: usize = 5;

#[derive(Debug, Default, Serialize)]
pub(crate) struct Sharing {
    /// Between the answers to both, in milliseconds.
    pub(crate) gap: Times,
    /// How many times the layer's bytes came from the registry, at most.
    pub(crate) downloads: f64,
}

pub(crate) fn measure(bench: &Bench) -> Sharing {
    let artifact = bench.artifact("large", Compressed::Gzip);
    let proxy = Proxy::start(&bench.registry.plain.host, Duration::ZERO);
    let access = bench.registry.plain.at(&proxy.host, bench.root());
    let mut sharing = Sharing::default();
    let rounds = bench.options.rounds(ROUNDS);
    eprintln!("a second pod while the first pulls: {rounds} rounds");
    for _ in 0..rounds {
        let driver = Driver::start(bench, &access);
        let before = proxy.delivered();
        let volumes = [(); 2].map(|()| driver.volume(&artifact.repository, "image"));
        let [first, second] = &volumes;
        let tenth = before + artifact.layer_bytes as u64 / 10;
        let ready = driver.alone.block_on(async {
            let first = async {
                driver.client.publish(first).await.unwrap();
                Instant::now()
            };
            let second = async {
                while proxy.delivered() < tenth {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                driver.client.publish(second).await.unwrap();
                Instant::now()
            };
            tokio::join!(first, second)
        });
        let (first, second) = ready;
        sharing.gap.push(first.max(second) - first.min(second));
        let bytes = proxy.delivered() - before;
        sharing.downloads = sharing.downloads.max(bytes as f64 / artifact.layer_bytes as f64);
        volumes.iter().for_each(|volume| _ = driver.unpublish(volume));
        driver.stop();
        bench.settle();
    }
    sharing
}
