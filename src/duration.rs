//! Durations as Go writes them, which is how Kubernetes does: `12h`, `1h30m`, `0s`, `1.5h`.

use std::time::Duration;

/// The longest duration that is told apart: longer ones count as this.
const MAX: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// A duration with its sign; none if the text is not one, or is beyond any number.
pub(crate) fn parse(text: &str) -> Option<Signed> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits == "0" {
        return Some(Signed { negative: false, length: Duration::ZERO });
    }
    let mut rest = digits;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(end);
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, next) = tail.split_at(end);
        if !number.bytes().any(|b| b.is_ascii_digit()) {
            return None;
        }
        let unit = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * unit;
        rest = next;
    }
    if digits.is_empty() || !seconds.is_finite() {
        return None;
    }
    let length = Duration::try_from_secs_f64(seconds).unwrap_or(MAX).min(MAX);
    Some(Signed { negative: negative && !length.is_zero(), length })
}

/// A duration as Go prints it, cut to milliseconds: `350ms`, `1.2s`, `2m3.05s`, `1h0m0s`.
pub(crate) fn text(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    if seconds == 0 && millis > 0 {
        return format!("{millis}ms");
    }
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let above = match (hours, minutes) {
        (0, 0) => String::new(),
        (0, minutes) => format!("{minutes}m"),
        (hours, minutes) => format!("{hours}h{minutes}m"),
    };
    let fraction = match millis {
        0 => String::new(),
        millis => format!(".{millis:03}").trim_end_matches('0').to_owned(),
    };
    format!("{above}{seconds}{fraction}s")
}

/// A duration and its sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Signed {
    pub(crate) negative: bool,
    pub(crate) length: Duration,
}

impl Signed {
    /// What is left of it as a time to keep something.
    pub(crate) fn lifetime(self) -> Duration {
        if self.negative { Duration::ZERO } else { self.length }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_go_does() {
        for (micros, expected) in [
            (0, "0s"),
            (999, "0s"),
            (1_000, "1ms"),
            (350_999, "350ms"),
            (1_000_000, "1s"),
            (1_200_000, "1.2s"),
            (59_050_000, "59.05s"),
            (60_000_000, "1m0s"),
            (123_456_789, "2m3.456s"),
            (3_600_000_000, "1h0m0s"),
            (86_399_000_000, "23h59m59s"),
        ] {
            assert_eq!(text(Duration::from_micros(micros)), expected);
        }
    }

    #[test]
    fn durations_are_read_as_go_writes_them() {
        let seconds = |s| Some((false, Duration::from_secs(s)));
        for (text, expected) in [
            ("0", seconds(0)),
            ("0s", seconds(0)),
            ("-0s", seconds(0)),
            ("12h", seconds(43_200)),
            ("12h0m0s", seconds(43_200)),
            ("1h30m", seconds(5400)),
            ("1.5h", seconds(5400)),
            ("+5s", seconds(5)),
            (".5m", seconds(30)),
            ("100ms", Some((false, Duration::from_millis(100)))),
            ("-5m", Some((true, Duration::from_secs(300)))),
            ("99999999999999999999999999h", Some((false, MAX))),
            ("", None),
            ("-", None),
            ("5", None),
            ("h", None),
            (".s", None),
            ("1.2.3s", None),
            ("5 s", None),
            ("5d", None),
            ("1e3s", None),
        ] {
            let found = parse(text).map(|signed| (signed.negative, signed.length));
            assert_eq!(found, expected, "{text}");
        }
    }
}
