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
    let filter = EnvFilter::builder()
        .parse(level)
        .map_err(|source| LoggingError::Level { level: level.into(), source })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let outcome = match format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
    };
    outcome.map_err(|error| LoggingError::Twice(error.to_string()))
}
