//! Logging: text for people, JSON for machines, both on standard error.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// `--log-format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One line for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// `--log-level` is not a filter.
    #[error("--log-level {level:?} is not a level or filter")]
    Level {
        /// What was given.
        level: String,
        /// Why not.
        source: ParseError,
    },
    /// Somebody has set up logging before.
    #[error("logging is set up already: {0}")]
    Twice(String),
}

/// Sets up logging for the whole process.
pub fn init(format: LogFormat, level: &str) -> Result<(), LoggingError> {
    let filter =
        filter(level).map_err(|source| LoggingError::Level { level: level.into(), source })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let outcome = match format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
    };
    outcome.map_err(|error| LoggingError::Twice(error.to_string()))
}

/// A level alone is meant for the driver. At `debug` the HTTP libraries log a line for every
/// frame, which hides the rest: they stay at `info`, unless a filter names them.
fn filter(level: &str) -> Result<EnvFilter, ParseError> {
    let ours = ["debug", "trace"].iter().any(|name| level.eq_ignore_ascii_case(name));
    let directives = if ours { format!("info,skillmount={level}") } else { level.to_owned() };
    EnvFilter::builder().parse(directives)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_alone_is_the_drivers() {
        for (level, expected) in [
            ("info", "info"),
            ("warn", "warn"),
            ("debug", "skillmount=debug,info"),
            ("TRACE", "skillmount=trace,info"),
            ("debug,h2=trace", "h2=trace,debug"),
            ("skillmount=debug", "skillmount=debug"),
        ] {
            assert_eq!(filter(level).unwrap().to_string(), expected, "{level}");
        }
        assert!(filter("skillmount=loud").is_err());
    }
}
