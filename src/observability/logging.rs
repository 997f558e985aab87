//! Logging: text for people, JSON for machines, both on standard error.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing::Subscriber;
use tracing_subscriber::filter::{FilterExt as _, ParseError, filter_fn};
use tracing_subscriber::layer::{Filter, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use super::trace::{TARGET, Traces};

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
    /// Logging has ended.
    #[error("the level cannot be changed: {0}")]
    Change(String),
    /// Somebody has set up logging before.
    #[error("logging is set up already: {0}")]
    Twice(String),
}

/// What is logged by a process, while it runs.
#[derive(Clone, Debug)]
pub struct LogLevel(reload::Handle<EnvFilter, Registry>);

/// Sets up logging for the whole process, and what hears of traces.
pub fn init(format: LogFormat, level: &str, traces: &Traces) -> Result<LogLevel, LoggingError> {
    let (filter, handle) = reload::Layer::new(parse(level)?);
    let subscriber = tracing_subscriber::registry();
    let outcome = match traces.layer() {
        // Nobody but the log hears of spans. A filter of lines alone would look at each of them
        // again whenever it is entered or left: a tenth of a publish.
        None if !cfg!(feature = "otel") => subscriber.with(filter).with(lines(format)).try_init(),
        layer => {
            let lines = lines(format).with_filter(without_spans_for_collectors(filter));
            subscriber.with(lines).with(layer).try_init()
        }
    };
    outcome.map_err(|error| LoggingError::Twice(error.to_string()))?;
    Ok(LogLevel(handle))
}

fn lines<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).boxed(),
    }
}

impl LogLevel {
    /// Logs at another level from now on: what `--log-level` takes.
    pub fn set(&self, level: &str) -> Result<(), LoggingError> {
        let filter = parse(level)?;
        self.0.reload(filter).map_err(|error| LoggingError::Change(error.to_string()))
    }
}

fn parse(level: &str) -> Result<EnvFilter, LoggingError> {
    filter(level).map_err(|source| LoggingError::Level { level: level.into(), source })
}

/// Spans for collectors are in no line, and no level of the log keeps them from those. This is one
/// filter and not one around the other: of two, what one lets through and the other does not, such as
/// each trace line of the HTTP libraries, is asked about whenever it comes.
fn without_spans_for_collectors<S>(filter: impl Filter<S>) -> impl Filter<S> {
    filter.and(filter_fn(|of| of.target() != TARGET))
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
