//! What is to be reached, and whether it is.

use serde::{Deserialize, Serialize};

use crate::bench::Bench;
use crate::cold;
use crate::crowd::{SAME, Series};
use crate::report::Report;
use crate::skills::Compressed;
use crate::warm;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Target {
    pub(crate) what: String,
    /// At most this; at least, if the unit is of a rate.
    pub(crate) limit: f64,
    pub(crate) unit: String,
    /// Absent: not measured in this run.
    pub(crate) measured: Option<f64>,
}

/// Of what more is better.
const RATE: &str = "/s";

impl Target {
    pub(crate) fn is_met(&self) -> Option<bool> {
        let measured = self.measured?;
        Some(if self.unit == RATE { measured >= self.limit } else { measured <= self.limit })
    }
}

pub(crate) fn targets(bench: &Bench, report: &Report) -> Vec<Target> {
    let mut all = Vec::new();
    let mut add = |what: &str, limit: f64, unit: &str, measured: Option<f64>| {
        all.push(Target { what: what.into(), limit, unit: unit.into(), measured });
    };
    let median = |title: &str, name: &str| report.contest(title)?.median(name);
    let ratio = |title: &str, name: &str, to: &str| Some(median(title, name)? / median(title, to)?);
    let (crane, oras) = ("crane export, tar x", "oras pull");
    let kept = "floor: manifest and blob, kept connection";
    let [small, medium] =
        ["small", "medium"].map(|name| bench.artifact(name, Compressed::Gzip).size.title);
    let [gzip, zstd] = [Compressed::Gzip, Compressed::Zstd].map(|c| cold::large(bench, c));

    let of_crane = ratio(&gzip, cold::PUBLISH, crane);
    add("cold publish, 200 MB gzip, to crane", 0.42, "×", of_crane);
    let of_floor = ratio(&gzip, cold::PUBLISH, "floor: curl, gzip -dc, tar x");
    add("cold publish, 200 MB gzip, to `curl, gzip -dc, tar x`", 0.52, "×", of_floor);
    add("cold publish, 200 MB zstd, to crane", 0.7, "×", ratio(&zstd, cold::PUBLISH, crane));
    add("cold publish, 10 MB, to crane", 0.5, "×", ratio(medium, cold::PUBLISH, crane));
    let of_kept = ratio(small, cold::CONNECTED, kept);
    add("cold publish, 20 KB, connection kept, to the kept connection", 2.0, "×", of_kept);
    let of_oras = ratio(cold::SECURED, cold::CONNECTED, oras);
    add("cold publish, 20 KB, connection kept, TLS + password, to oras", 0.4, "×", of_oras);
    for (secured, way) in [(false, "plain"), (true, "TLS + password")] {
        let mut trips = report.trips.iter();
        let trips = trips.find(|t| t.secured == secured && t.name == cold::CONNECTED);
        let what = format!("round trips of a cold publish, connection kept, {way}");
        // A tenth is what timers and threads of the relay cost.
        add(&what, 2.1, "", trips.map(|trips| trips.count()));
    }

    for name in [warm::PUBLISH, warm::UNPUBLISH] {
        let times = report.contest(warm::TITLE).and_then(|contest| contest.times(name));
        add(&format!("{name}, stored, p50"), 0.5, "ms", times.map(|times| times.quantile(0.5)));
        add(&format!("{name}, stored, p99"), 2.0, "ms", times.map(|times| times.quantile(0.99)));
    }
    let crowd = report.crowds.iter().rfind(|crowd| crowd.scenario == SAME);
    let volumes = crowd.map_or(0, |crowd| crowd.volumes);
    let rate = crowd.map(|crowd| crowd.publish.per_second());
    add(&format!("publishes a second, stored, {volumes} at once"), 2000.0, RATE, rate);
    let rate = crowd.map(|crowd| crowd.unpublish.per_second());
    add(&format!("unpublishes a second, {volumes} at once"), 2000.0, RATE, rate);
    let series = report.series.as_ref();
    let growth = series.map(|series| Series::growth(&series.publish));
    add("publish, the last tenth of 500 to the first", 1.2, "×", growth);
    let growth = series.map(|series| Series::growth(&series.unpublish));
    add("unpublish, the last tenth of 500 to the first", 1.2, "×", growth);

    let sharing = report.sharing.as_ref();
    add("a second pod while the first pulls: gap", 5.0, "ms", sharing.map(|s| s.gap.median()));
    let downloads = sharing.map(|sharing| sharing.downloads);
    add("a second pod while the first pulls: downloads", 1.05, "", downloads);

    let footprint = report.footprint.as_ref();
    let mib = |kib: u64| kib as f64 / 1024.0;
    let build = footprint.and_then(|footprint| footprint.builds.first());
    add("memory, idle", 10.0, "MiB", build.map(|build| mib(build.idle)));
    add("memory, pulling 200 MB gzip", 32.0, "MiB", footprint.map(|f| mib(f.gzip)));
    add("memory, pulling 200 MB zstd", 32.0, "MiB", footprint.map(|f| mib(f.zstd)));
    add("memory, pulling 200 MB eight times at once", 96.0, "MiB", footprint.map(|f| mib(f.eight)));
    let size = build.map(|build| build.bytes as f64 / 1e6);
    add("binary, stripped", 12.0, "MB", size);
    let ready = build.map(|build| build.ready.median());
    add("from the start to the first answer", 100.0, "ms", ready);
    let volumes = bench.options.crowd();
    let what = format!("from the start to the first answer, {volumes} volumes published");
    add(&what, 250.0, "ms", footprint.map(|footprint| footprint.crowded.ready.median()));
    all
}
