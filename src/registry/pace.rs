//! How fast a server has to send a blob: silence is not the only way to be of no use. As git's
//! `http.lowSpeedLimit` and `http.lowSpeedTime`.

use std::time::Duration;

/// The pace of one download. What counts is the time for which the server was waited for: a slow
/// disk here is not its fault.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    /// Bytes a second; zero means that any will do.
    limit: u64,
    /// How long it has to be kept up: a short pause is none.
    time: Duration,
    bytes: u64,
    waited: Duration,
}

impl Pace {
    pub(super) fn new(limit: u64, time: Duration) -> Self {
        Self { limit, time, bytes: 0, waited: Duration::ZERO }
    }

    /// The slowest that is allowed, in bytes a second.
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// A server begins.
    pub(super) fn restart(&mut self) {
        (self.bytes, self.waited) = (0, Duration::ZERO);
    }

    /// So many bytes came after such a wait. Whether the server has been too slow since the last
    /// time when that was looked at, which is once in the time that it has.
    pub(super) fn is_too_slow(&mut self, bytes: usize, waited: Duration) -> bool {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        self.waited = self.waited.saturating_add(waited);
        if self.limit == 0 || self.waited < self.time {
            return false;
        }
        let sent = u128::from(self.bytes) * Duration::from_secs(1).as_nanos();
        let wanted = u128::from(self.limit).saturating_mul(self.waited.as_nanos());
        self.restart();
        sent < wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_byte_a_second_is_too_slow_after_the_time() {
        let mut pace = Pace::new(1024, 30 * SECOND);
        let slow: Vec<_> = (1..=60).filter(|_| pace.is_too_slow(1, SECOND)).collect();
        assert_eq!(slow, [30, 60]);
    }

    #[test]
    fn each_span_is_judged_by_itself() {
        let mut pace = Pace::new(1000, 10 * SECOND);
        assert!(!pace.is_too_slow(1_000_000, SECOND), "not long enough to tell");
        assert!(!pace.is_too_slow(0, 9 * SECOND), "many bytes, then none");
        assert!(!pace.is_too_slow(9_999, 9 * SECOND));
        assert!(pace.is_too_slow(0, SECOND), "what came in the span before does not count");
        assert!(!pace.is_too_slow(10_000, 10 * SECOND), "exactly enough");
        assert!(!pace.is_too_slow(0, 9 * SECOND));
        pace.restart();
        assert!(!pace.is_too_slow(0, SECOND), "another server");
        assert!(pace.is_too_slow(100_000, 100 * SECOND + Duration::from_nanos(100_000_001)));
    }

    #[test]
    fn no_limit_and_odd_numbers_do_no_harm() {
        assert!(!Pace::new(0, Duration::ZERO).is_too_slow(0, Duration::MAX));
        let mut pace = Pace::new(u64::MAX, Duration::MAX);
        assert!(!pace.is_too_slow(usize::MAX, Duration::MAX - SECOND));
        assert!(pace.is_too_slow(usize::MAX, Duration::MAX));
        assert!(!Pace::new(1, Duration::ZERO).is_too_slow(0, Duration::ZERO));
    }
}
