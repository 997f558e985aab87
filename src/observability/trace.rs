//! Spans for an OpenTelemetry collector: the one that logs have for each call, and in it what a
//! pod waits for. Only a driver that is built with the feature `otel` sends any, and only if the
//! environment names a collector. The latter are in no log.
//!
//! A span has the number of the call, which the log has too, the method, the volume's id and the
//! code: no reference, no error and no login.

#[cfg(feature = "otel")]
mod export;

use std::fmt::Debug;

#[cfg(feature = "otel")]
use opentelemetry::trace::Status;
use tracing::{Span, Subscriber};
#[cfg(feature = "otel")]
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

use super::metrics::Phase;

/// The target of spans that are for collectors and not for logs.
pub(super) const TARGET: &str = "skillmount::trace";

/// The span of a call, in logs too.
#[cfg(feature = "otel")]
const CALL: &str = "rpc";

/// What sends spans to a collector, if anything does.
#[derive(Debug, Default)]
pub struct Traces {
    #[cfg(feature = "otel")]
    exporter: Option<export::Exporter>,
}

/// Why spans cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// The environment says what cannot be done.
    #[error("cannot send traces as OTEL_EXPORTER_OTLP_* says: {0}")]
    Environment(String),
    /// No thread or runtime for it.
    #[error("cannot set up the exporter of traces")]
    Runtime(#[source] std::io::Error),
}

impl Traces {
    /// What the environment says (the OpenTelemetry specification's `OTEL_*`): nothing, unless it
    /// names an endpoint.
    pub fn from_environment() -> Result<Self, TracesError> {
        Ok(Self {
            #[cfg(feature = "otel")]
            exporter: export::Exporter::from_environment()?,
        })
    }

    /// What hears of spans, if anything does.
    pub(super) fn layer<S>(&self) -> Option<Box<dyn Layer<S> + Send + Sync>>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        #[cfg(feature = "otel")]
        return self.exporter.as_ref().map(|exporter| exporter.layer().boxed());
        #[cfg(not(feature = "otel"))]
        None
    }

    /// Sends what is left, for two seconds at most. Blocks.
    pub fn finish(self) {
        #[cfg(feature = "otel")]
        if let Some(exporter) = self.exporter {
            exporter.finish();
        }
    }
}

/// Says of the span of a call of kubelet's which method it is, and of which volume. What the call
/// begins is to run in it.
#[cfg(feature = "otel")]
pub fn call(span: &Span, method: &'static str, volume_id: &str) {
    span.set_attribute("rpc.method", method);
    span.set_attribute("volume_id", volume_id.to_owned());
}

/// The call has ended; its span lasts until what it began has.
#[cfg(feature = "otel")]
pub fn ended(span: &Span, code: &dyn Debug, is_ok: bool) {
    span.set_attribute("code", format!("{code:?}"));
    if !is_ok {
        span.set_status(Status::error(""));
    }
}

/// The span of a part of a pull or publish, called as its metric is.
#[cfg(feature = "otel")]
pub fn phase(phase: Phase) -> Span {
    tracing::info_span!(target: TARGET, "phase", otel.name = phase.name())
}

/// Without a collector nothing is said.
#[cfg(not(feature = "otel"))]
pub fn call(_: &Span, _: &'static str, _: &str) {}

/// Without a collector nothing is said.
#[cfg(not(feature = "otel"))]
pub fn ended(_: &Span, _: &dyn Debug, _: bool) {}

/// The span of a part of a pull or publish: none.
#[cfg(not(feature = "otel"))]
pub fn phase(_: Phase) -> Span {
    Span::none()
}
