//! Counts the calls of a service: all of its methods, at one place, by what the caller is told.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use tonic::Code;
use tonic::codegen::{Service, http};

use crate::observability::metrics::Metrics;

/// The methods that the CSI specification has for a node. A caller cannot make up others.
const METHODS: [&str; 11] = [
    "GetPluginInfo",
    "GetPluginCapabilities",
    "Probe",
    "NodeStageVolume",
    "NodeUnstageVolume",
    "NodePublishVolume",
    "NodeUnpublishVolume",
    "NodeGetVolumeStats",
    "NodeExpandVolume",
    "NodeGetCapabilities",
    "NodeGetInfo",
];

/// A service whose calls are counted.
#[derive(Clone, Debug)]
pub(super) struct Counted<S> {
    pub(super) service: S,
    pub(super) metrics: Metrics,
}

impl<S, B, R> Service<http::Request<B>> for Counted<S>
where
    S: Service<http::Request<B>, Response = http::Response<R>, Error = Infallible>,
    S::Future: Send + 'static,
    R: 'static,
{
    type Response = http::Response<R>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let name = request.uri().path().rsplit('/').next().unwrap_or_default();
        let method = METHODS.into_iter().find(|method| *method == name).unwrap_or("other");
        let metrics = self.metrics.clone();
        let mut call = Call { metrics, method, start: Instant::now(), code: Code::Cancelled };
        let answer = self.service.call(request);
        Box::pin(async move {
            let response = answer.await?;
            // A unary call that failed has its status here; one that succeeded in the trailers.
            let status = response.headers().get("grpc-status");
            call.end(status.map_or(Code::Ok, |status| Code::from_bytes(status.as_bytes())));
            Ok(response)
        })
    }
}

/// A call, counted when it ends: tonic drops one whose caller has gone.
struct Call {
    metrics: Metrics,
    method: &'static str,
    start: Instant,
    code: Code,
}

impl Call {
    fn end(&mut self, code: Code) {
        self.code = code;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.metrics.csi_call(self.method, name(self.code), self.start.elapsed());
    }
}

/// A code's name, as logs show it.
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "Ok",
        Code::Cancelled => "Cancelled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_named_as_in_logs() {
        for number in 0..=16 {
            let code = Code::from_i32(number);
            assert_eq!(name(code), format!("{code:?}"));
        }
    }

    /// Answers nothing, ever.
    #[derive(Clone)]
    struct Silent;

    impl Service<http::Request<()>> for Silent {
        type Response = http::Response<()>;
        type Error = Infallible;
        type Future = std::future::Pending<Result<Self::Response, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: http::Request<()>) -> Self::Future {
            std::future::pending()
        }
    }

    #[test]
    fn a_caller_that_hangs_up_is_counted_and_names_no_method() {
        let metrics = Metrics::default();
        let mut counted = Counted { service: Silent, metrics: metrics.clone() };
        for path in ["/csi.v1.Node/NodePublishVolume", "/csi.v1.Node/Surprise", "*"] {
            let request = http::Request::builder().uri(path).body(()).unwrap();
            drop(counted.call(request));
        }
        let text = metrics.text().unwrap();
        let series =
            text.lines().filter(|line| line.starts_with("skillmount_csi_operations_total"));
        let mut series: Vec<_> = series.collect();
        series.sort_unstable();
        assert_eq!(
            series,
            [
                r#"skillmount_csi_operations_total{method="NodePublishVolume",code="Cancelled"} 1"#,
                r#"skillmount_csi_operations_total{method="other",code="Cancelled"} 2"#,
            ]
        );
    }
}
