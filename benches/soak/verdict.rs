//! Whether the driver is after the load what it was before, and in the last quarter of it what it
//! was in the second. In the first one caches fill.

use crate::Report;
use crate::sample::{
    BYTES, DESCRIPTORS, FILES, MOUNTS, RECORDS, RSS, SERIES, Sample, TASKS, THREADS, TREES,
};

/// What must stay: how much of the second quarter's median the last one's may be, and how much more
/// than that in its own unit, for what is small or goes up and down.
const FLAT: [(usize, f64, f64); 9] = [
    (RSS, 1.10, 2.0),
    (DESCRIPTORS, 1.10, 8.0),
    (THREADS, 1.15, 8.0),
    (TASKS, 1.15, 16.0),
    (MOUNTS, 1.25, 8.0),
    (RECORDS, 1.25, 8.0),
    // Collected every five minutes, whatever the budget.
    (TREES, 1.25, 200.0),
    (FILES, 1.25, 1_000.0),
    (BYTES, 1.25, 16.0),
];

/// What must be after the load as it was before, and how much more it may be.
const BACK: [(usize, f64); 4] = [(DESCRIPTORS, 2.0), (TASKS, 2.0), (MOUNTS, 0.0), (RECORDS, 0.0)];

/// The median of a series in a quarter of the run, from 0; not a number without samples.
pub(crate) fn median(samples: &[Sample], series: usize, quarter: usize) -> f64 {
    let cut = |quarter: usize| samples.len() * quarter / 4;
    let part = &samples[cut(quarter)..cut(quarter + 1)];
    let mut values: Vec<_> = part.iter().map(|sample| sample.values[series]).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// How much a series may be in the last quarter, if it must be flat.
pub(crate) fn limit(report: &Report, series: usize) -> Option<f64> {
    let (_, times, more) = FLAT.into_iter().find(|(flat, ..)| *flat == series)?;
    Some(median(&report.samples, series, 1) * times + more)
}

/// What is not as it must be.
pub(crate) fn failed(report: &Report) -> Vec<String> {
    let mut failed: Vec<_> =
        report.counts.wrongs().into_iter().map(|what| format!("wrong: {what}")).collect();
    for (series, _, _) in FLAT {
        let (name, last) = (SERIES[series].name, median(&report.samples, series, 3));
        // A few seconds are no quarters.
        if let Some(limit) = limit(report, series).filter(|limit| !report.trial && last > *limit) {
            failed.push(format!("{name}: {last:.1} in the last quarter, above {limit:.1}"));
        }
    }
    for (series, more) in BACK {
        let [before, after] = [&report.idle, &report.after].map(|sample| sample.values[series]);
        if after > before + more {
            let name = SERIES[series].name;
            failed.push(format!("{name}: {after} after the load, {before} before"));
        }
    }
    failed
}
