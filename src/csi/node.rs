//! CSI Node: publish, unpublish, statistics. Each handler parses, calls and maps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tonic::{Code, Request, Response, Status};
use tracing::{Instrument, Span};

use super::request::{self, timeout};
use super::v1::node_server::Node;
use super::v1::node_service_capability::{Rpc, Type, rpc};
use super::v1::volume_usage::Unit;
use super::v1::{
    NodeExpandVolumeRequest, NodeExpandVolumeResponse, NodeGetCapabilitiesRequest,
    NodeGetCapabilitiesResponse, NodeGetInfoRequest, NodeGetInfoResponse,
    NodeGetVolumeStatsRequest, NodeGetVolumeStatsResponse, NodePublishVolumeRequest,
    NodePublishVolumeResponse, NodeServiceCapability, NodeStageVolumeRequest,
    NodeStageVolumeResponse, NodeUnpublishVolumeRequest, NodeUnpublishVolumeResponse,
    NodeUnstageVolumeRequest, NodeUnstageVolumeResponse, VolumeCondition, VolumeUsage,
};
use crate::observability::trace;
use crate::volume::Volumes;

/// How long a publish may wait where the caller sets no deadline: kubelet's own (`csiTimeout`).
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);

/// The Node service.
#[derive(Debug)]
pub struct NodeService {
    node_id: String,
    volumes: Arc<Volumes>,
    calls: AtomicU64,
}

impl NodeService {
    /// Node `node_id` with its volumes.
    pub fn new(node_id: String, volumes: Arc<Volumes>) -> Self {
        Self { node_id, volumes, calls: AtomicU64::new(0) }
    }

    /// A number that ties the log lines of one call together, and the span that carries it to
    /// all that the call begins.
    fn call(&self) -> (u64, Span) {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        (call, tracing::info_span!("rpc", call))
    }
}

#[tonic::async_trait]
impl Node for NodeService {
    async fn node_publish_volume(
        &self,
        request: Request<NodePublishVolumeRequest>,
    ) -> Result<Response<NodePublishVolumeResponse>, Status> {
        let ((call, span), start) = (self.call(), Instant::now());
        let deadline = deadline(start, timeout(request.metadata()));
        let volume_id = request.get_ref().volume_id.clone();
        trace::call(&span, "NodePublishVolume", &volume_id);
        let outcome = match request::publish(request.into_inner()) {
            Err(error) => Err(error.into()),
            Ok(request) => {
                let pod = format!("{}/{}", request.pod.namespace, request.pod.name);
                tracing::debug!(call, volume_id, pod, ?request.attributes, "publish");
                let publish = self.volumes.clone().publish(request, deadline);
                publish.instrument(span.clone()).await.map_err(Status::from)
            }
        };
        ended(&span, &outcome);
        match &outcome {
            Ok(done) => tracing::info!(
                rpc = "NodePublishVolume", call, volume_id, code = "Ok", duration = ?start.elapsed(),
                already = done.already, local = done.local, digests = ?done.digests,
                skills = ?done.skills, "done"
            ),
            Err(status) => failed("NodePublishVolume", call, &volume_id, start, status),
        }
        outcome.map(|_| Response::new(NodePublishVolumeResponse {}))
    }

    async fn node_unpublish_volume(
        &self,
        request: Request<NodeUnpublishVolumeRequest>,
    ) -> Result<Response<NodeUnpublishVolumeResponse>, Status> {
        let ((call, span), start) = (self.call(), Instant::now());
        let volume_id = request.get_ref().volume_id.clone();
        trace::call(&span, "NodeUnpublishVolume", &volume_id);
        let outcome = match request::unpublish(request.into_inner()) {
            Err(error) => Err(error.into()),
            Ok(request) => {
                let unpublish = self.volumes.clone().unpublish(request);
                unpublish.instrument(span.clone()).await.map_err(Status::from)
            }
        };
        ended(&span, &outcome);
        match &outcome {
            Ok(()) => tracing::info!(
                rpc = "NodeUnpublishVolume", call, volume_id, code = "Ok",
                duration = ?start.elapsed(), "done"
            ),
            Err(status) => failed("NodeUnpublishVolume", call, &volume_id, start, status),
        }
        outcome.map(|()| Response::new(NodeUnpublishVolumeResponse {}))
    }

    async fn node_get_volume_stats(
        &self,
        request: Request<NodeGetVolumeStatsRequest>,
    ) -> Result<Response<NodeGetVolumeStatsResponse>, Status> {
        let ((call, span), start) = (self.call(), Instant::now());
        let (volume_id, path) = request::stats(request.into_inner())?;
        trace::call(&span, "NodeGetVolumeStats", &volume_id);
        let stats = self
            .volumes
            .clone()
            .stats(volume_id.clone(), path)
            .instrument(span.clone())
            .await
            .map_err(Status::from);
        ended(&span, &stats);
        let stats = stats
            .inspect_err(|status| failed("NodeGetVolumeStats", call, &volume_id, start, status))?;
        let usage = |unit: Unit, amount: u64| {
            let amount = i64::try_from(amount).unwrap_or(i64::MAX);
            VolumeUsage { available: 0, total: amount, used: amount, unit: unit.into() }
        };
        Ok(Response::new(NodeGetVolumeStatsResponse {
            usage: vec![usage(Unit::Bytes, stats.bytes), usage(Unit::Inodes, stats.inodes)],
            volume_condition: Some(VolumeCondition {
                abnormal: stats.abnormal.is_some(),
                message: stats.abnormal.unwrap_or_else(|| "mounted, read-only".into()),
            }),
        }))
    }

    async fn node_get_capabilities(
        &self,
        _: Request<NodeGetCapabilitiesRequest>,
    ) -> Result<Response<NodeGetCapabilitiesResponse>, Status> {
        let capability = |kind: rpc::Type| NodeServiceCapability {
            r#type: Some(Type::Rpc(Rpc { r#type: kind.into() })),
        };
        Ok(Response::new(NodeGetCapabilitiesResponse {
            capabilities: [
                rpc::Type::GetVolumeStats,
                rpc::Type::VolumeCondition,
                // Inline volumes are ReadWriteOncePod-like or not: any access mode is served.
                rpc::Type::SingleNodeMultiWriter,
            ]
            .map(capability)
            .into(),
        }))
    }

    /// No topology and no limit: a volume is a mount, and mounts are cheap.
    async fn node_get_info(
        &self,
        _: Request<NodeGetInfoRequest>,
    ) -> Result<Response<NodeGetInfoResponse>, Status> {
        Ok(Response::new(NodeGetInfoResponse {
            node_id: self.node_id.clone(),
            max_volumes_per_node: 0,
            accessible_topology: None,
        }))
    }

    async fn node_stage_volume(
        &self,
        _: Request<NodeStageVolumeRequest>,
    ) -> Result<Response<NodeStageVolumeResponse>, Status> {
        Err(unimplemented("NodeStageVolume"))
    }

    async fn node_unstage_volume(
        &self,
        _: Request<NodeUnstageVolumeRequest>,
    ) -> Result<Response<NodeUnstageVolumeResponse>, Status> {
        Err(unimplemented("NodeUnstageVolume"))
    }

    async fn node_expand_volume(
        &self,
        _: Request<NodeExpandVolumeRequest>,
    ) -> Result<Response<NodeExpandVolumeResponse>, Status> {
        Err(unimplemented("NodeExpandVolume"))
    }
}

fn unimplemented(rpc: &str) -> Status {
    Status::unimplemented(format!("{rpc} has no meaning for a skill volume"))
}

/// Tells the collector of traces, if there is one.
fn ended<T>(span: &Span, outcome: &Result<T, Status>) {
    let code = outcome.as_ref().err().map_or(Code::Ok, Status::code);
    trace::ended(span, &code, code == Code::Ok);
}

fn failed(rpc: &str, call: u64, volume_id: &str, start: Instant, status: &Status) {
    tracing::warn!(
        rpc, call, volume_id, code = ?status.code(), duration = ?start.elapsed(),
        error = status.message(), "failed"
    );
}

/// When to answer: shortly before the caller stops listening, so that the answer is heard and
/// says how far the pull has come. Kubelet's two minutes leave two seconds.
fn deadline(start: Instant, timeout: Option<Duration>) -> Instant {
    let timeout = timeout.unwrap_or(DEFAULT_TIMEOUT).min(Duration::from_secs(3600));
    let margin = (timeout / 10).min(Duration::from_secs(2));
    start + (timeout - margin)
}
