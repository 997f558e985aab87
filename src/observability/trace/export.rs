//! Sends spans as OTLP, protobuf over HTTP. The libraries read the environment and make batches in
//! a thread of theirs; the client is the one that is here for registries.

use std::fmt;
use std::pin::Pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::{Builder, Runtime};
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use super::{CALL, TARGET, TracesError};
use crate::observability::innermost;

/// How long one batch may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long what is left may take at the end.
const FINISH: Duration = Duration::from_secs(2);

/// The variables that name a collector.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// What has spans sent.
#[derive(Debug)]
pub(super) struct Exporter(SdkTracerProvider);

impl Exporter {
    pub(super) fn from_environment() -> Result<Option<Self>, TracesError> {
        let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        if !ENDPOINTS.iter().any(is_set) {
            return Ok(None);
        }
        let exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_http_client(Wire::new()?)
            .build()
            .map_err(|error| TracesError::Environment(innermost(&error)))?;
        let mut resource = Resource::builder();
        if !is_set(&"OTEL_SERVICE_NAME") {
            resource = resource.with_service_name("skillmount");
        }
        let provider = SdkTracerProvider::builder()
            .with_resource(resource.build())
            .with_batch_exporter(exporter)
            .build();
        Ok(Some(Self(provider)))
    }

    pub(super) fn layer<S>(&self) -> impl Layer<S> + Send + Sync
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer("skillmount"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(filter_fn(|of| {
                of.is_span() && (of.target() == TARGET || of.name() == CALL)
            }))
    }

    pub(super) fn finish(self) {
        if let Err(error) = self.0.shutdown_with_timeout(FINISH) {
            tracing::warn!(error = innermost(&error), "not all traces were sent");
        }
    }
}

/// A client for the thread that batches are made in, which has no runtime.
struct Wire {
    runtime: Runtime,
    /// Made when there is something to send: by then the process has a TLS provider.
    client: OnceLock<reqwest::Client>,
    /// Whether the last batch was lost: a collector that is away is one line of the log.
    failing: AtomicBool,
}

impl Wire {
    fn new() -> Result<Self, TracesError> {
        let runtime =
            Builder::new_current_thread().enable_all().build().map_err(TracesError::Runtime)?;
        Ok(Self { runtime, client: OnceLock::new(), failing: AtomicBool::new(false) })
    }

    fn client(&self) -> Result<reqwest::Client, reqwest::Error> {
        if let Some(client) = self.client.get() {
            return Ok(client.clone());
        }
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            // Nothing watches a connection between two batches.
            .pool_max_idle_per_host(0)
            .user_agent(concat!("skillmount/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(self.client.get_or_init(|| client).clone())
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Bytes>, reqwest::Error> {
        let (head, body) = request.into_parts();
        let url = head.uri.to_string();
        let request = self.client()?.request(head.method, url).headers(head.headers).body(body);
        let answer = request.send().await?;
        // The body says nothing that is used.
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = answer.status();
        *response.headers_mut() = answer.headers().clone();
        Ok(response)
    }

    /// Notes how it went: `problem` is none if it went well.
    fn note(&self, problem: Option<String>) {
        let failing = problem.is_some();
        let before = self.failing.swap(failing, Ordering::Relaxed);
        match problem {
            Some(error) if !before => tracing::warn!(error, "cannot send traces"),
            None if before => tracing::info!("traces can be sent again"),
            _ => {}
        }
    }
}

/// What becomes of a request, as the trait (of the crate `async-trait`) has it.
type Answer<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for Wire {
    fn send_bytes<'s, 'a>(&'s self, request: Request<Bytes>) -> Answer<'a>
    where
        's: 'a,
        Self: 'a,
    {
        // In the thread of the batches, which has nothing else to do.
        let outcome = self.runtime.block_on(self.exchange(request));
        self.note(match &outcome {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("the collector answers {}", answer.status().as_u16())),
            Err(error) => Some(innermost(error)),
        });
        // The error's own text is not used: it repeats the URL.
        Box::pin(std::future::ready(outcome.map_err(|error| innermost(&error).into())))
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").finish_non_exhaustive()
    }
}
