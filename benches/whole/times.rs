//! Samples of one measurement.

use std::time::Duration;

use serde::Serialize;

/// Times in milliseconds, to the microsecond, in the order in which they were taken.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(transparent)]
pub(crate) struct Times(Vec<f64>);

impl Times {
    pub(crate) fn push(&mut self, time: Duration) {
        self.0.push((time.as_secs_f64() * 1e6).round() / 1e3);
    }

    pub(crate) fn extend(&mut self, other: &Self) {
        self.0.extend(&other.0);
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The value that `share` (0 to 1) of the samples do not exceed; 0 of none.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }

    /// Of an even number of samples, the mean of the two in the middle.
    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let half = sorted.len() / 2;
        match sorted.len() {
            0 => 0.0,
            count if count % 2 == 0 => sorted[half - 1].midpoint(sorted[half]),
            _ => sorted[half],
        }
    }

    /// Those from `start` on, at most `count`.
    pub(crate) fn part(&self, start: usize, count: usize) -> Self {
        Self(self.0.iter().skip(start).take(count).copied().collect())
    }
}

impl FromIterator<Duration> for Times {
    fn from_iter<T: IntoIterator<Item = Duration>>(times: T) -> Self {
        let mut collected = Self::default();
        times.into_iter().for_each(|time| collected.push(time));
        collected
    }
}
