//! A controller beside the driver, for csi-sanity only: most of its Node specs begin with
//! CreateVolume, which a driver of inline volumes has no use for. Node calls go to the driver
//! unchanged, so what is tested is the driver.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use skillmount::csi::v1::controller_server::{Controller, ControllerServer};
use skillmount::csi::v1::identity_client::IdentityClient;
use skillmount::csi::v1::identity_server::{Identity, IdentityServer};
use skillmount::csi::v1::node_client::NodeClient;
use skillmount::csi::v1::node_server::{Node, NodeServer};
use skillmount::csi::v1::*;
use tokio::net::UnixListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status};

use super::support::driver::connect;

type Answer<T> = Result<Response<T>, Status>;

/// A running shim. Dropping it without [`stop`](Self::stop) leaves it to the runtime's end.
pub(crate) struct Running {
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), tonic::transport::Error>>,
}

/// Serves on `socket` what the driver on `driver` serves, and a controller.
pub(crate) async fn start(socket: &Path, driver: &Path) -> Running {
    let shim = Shim { driver: connect(driver).await, volumes: Arc::default() };
    let listener = UnixListenerStream::new(UnixListener::bind(socket).unwrap());
    let (stop, stopped) = oneshot::channel();
    let served = tokio::spawn(
        Server::builder()
            .add_service(IdentityServer::new(shim.clone()))
            .add_service(ControllerServer::new(shim.clone()))
            .add_service(NodeServer::new(shim))
            .serve_with_incoming_shutdown(listener, async { drop(stopped.await) }),
    );
    Running { stop, served }
}

impl Running {
    pub(crate) async fn stop(self) {
        drop(self.stop);
        self.served.await.unwrap().unwrap();
    }
}

#[derive(Clone)]
struct Shim {
    driver: Channel,
    /// The capacities of what was created, by volume id.
    volumes: Arc<Mutex<HashMap<String, i64>>>,
}

impl Shim {
    fn identity(&self) -> IdentityClient<Channel> {
        IdentityClient::new(self.driver.clone())
    }

    fn node(&self) -> NodeClient<Channel> {
        NodeClient::new(self.driver.clone())
    }
}

#[tonic::async_trait]
impl Identity for Shim {
    async fn get_plugin_info(
        &self,
        request: Request<GetPluginInfoRequest>,
    ) -> Answer<GetPluginInfoResponse> {
        self.identity().get_plugin_info(request).await
    }

    /// csi-sanity asks this of the Node endpoint before it runs a spec that needs CreateVolume.
    async fn get_plugin_capabilities(
        &self,
        request: Request<GetPluginCapabilitiesRequest>,
    ) -> Answer<GetPluginCapabilitiesResponse> {
        use plugin_capability::{Service, Type, service};
        let mut answer = self.identity().get_plugin_capabilities(request).await?;
        let service = Service { r#type: service::Type::ControllerService.into() };
        let capability = PluginCapability { r#type: Some(Type::Service(service)) };
        answer.get_mut().capabilities.push(capability);
        Ok(answer)
    }

    async fn probe(&self, request: Request<ProbeRequest>) -> Answer<ProbeResponse> {
        self.identity().probe(request).await
    }
}

macro_rules! forward {
    ($($call:ident($request:ident) -> $answer:ident;)*) => {
        #[tonic::async_trait]
        impl Node for Shim {
            $(async fn $call(&self, request: Request<$request>) -> Answer<$answer> {
                self.node().$call(request).await
            })*
        }
    };
}

forward! {
    node_publish_volume(NodePublishVolumeRequest) -> NodePublishVolumeResponse;
    node_unpublish_volume(NodeUnpublishVolumeRequest) -> NodeUnpublishVolumeResponse;
    node_get_volume_stats(NodeGetVolumeStatsRequest) -> NodeGetVolumeStatsResponse;
    node_get_capabilities(NodeGetCapabilitiesRequest) -> NodeGetCapabilitiesResponse;
    node_get_info(NodeGetInfoRequest) -> NodeGetInfoResponse;
    node_stage_volume(NodeStageVolumeRequest) -> NodeStageVolumeResponse;
    node_unstage_volume(NodeUnstageVolumeRequest) -> NodeUnstageVolumeResponse;
    node_expand_volume(NodeExpandVolumeRequest) -> NodeExpandVolumeResponse;
}

/// Whether a volume id, a name or capabilities are missing: the specs ask for these checks.
fn required(present: bool, field: &str) -> Result<(), Status> {
    if present { Ok(()) } else { Err(Status::invalid_argument(format!("{field} is missing"))) }
}

macro_rules! controller {
    ({$($served:tt)*} $($call:ident($request:ident) -> $answer:ident;)*) => {
        #[tonic::async_trait]
        impl Controller for Shim {
            $($served)*
            $(async fn $call(&self, _: Request<$request>) -> Answer<$answer> {
                Err(Status::unimplemented(stringify!($call)))
            })*
        }
    };
}

// First what the advertised capability needs, then what csi-sanity does not call.
controller! {
{
    async fn create_volume(
        &self,
        request: Request<CreateVolumeRequest>,
    ) -> Answer<CreateVolumeResponse> {
        let request = request.into_inner();
        required(!request.name.is_empty(), "name")?;
        required(!request.volume_capabilities.is_empty(), "volume_capabilities")?;
        let volume_id = format!("shim-{}", request.name);
        let capacity_bytes = request.capacity_range.map_or(0, |range| range.required_bytes);
        let mut volumes = self.volumes.lock().unwrap();
        if *volumes.entry(volume_id.clone()).or_insert(capacity_bytes) != capacity_bytes {
            return Err(Status::already_exists("the volume has another capacity"));
        }
        let volume_context = request.parameters;
        let volume =
            Volume { volume_id, volume_context, capacity_bytes, ..Default::default() };
        Ok(Response::new(CreateVolumeResponse { volume: Some(volume) }))
    }

    async fn delete_volume(
        &self,
        request: Request<DeleteVolumeRequest>,
    ) -> Answer<DeleteVolumeResponse> {
        let id = request.into_inner().volume_id;
        required(!id.is_empty(), "volume_id")?;
        self.volumes.lock().unwrap().remove(&id);
        Ok(Response::new(DeleteVolumeResponse {}))
    }

    async fn validate_volume_capabilities(
        &self,
        request: Request<ValidateVolumeCapabilitiesRequest>,
    ) -> Answer<ValidateVolumeCapabilitiesResponse> {
        use validate_volume_capabilities_response::Confirmed;
        let request = request.into_inner();
        required(!request.volume_id.is_empty(), "volume_id")?;
        required(!request.volume_capabilities.is_empty(), "volume_capabilities")?;
        if !self.volumes.lock().unwrap().contains_key(&request.volume_id) {
            return Err(Status::not_found("no such volume"));
        }
        let confirmed = Confirmed {
            volume_context: request.volume_context,
            volume_capabilities: request.volume_capabilities,
            parameters: request.parameters,
            ..Default::default()
        };
        Ok(Response::new(ValidateVolumeCapabilitiesResponse {
            confirmed: Some(confirmed),
            message: String::new(),
        }))
    }

    async fn controller_get_capabilities(
        &self,
        _: Request<ControllerGetCapabilitiesRequest>,
    ) -> Answer<ControllerGetCapabilitiesResponse> {
        use controller_service_capability::{Rpc, Type, rpc};
        let create = Rpc { r#type: rpc::Type::CreateDeleteVolume.into() };
        let capability = ControllerServiceCapability { r#type: Some(Type::Rpc(create)) };
        Ok(Response::new(ControllerGetCapabilitiesResponse { capabilities: vec![capability] }))
    }
}
    controller_publish_volume(ControllerPublishVolumeRequest) -> ControllerPublishVolumeResponse;
    controller_unpublish_volume(ControllerUnpublishVolumeRequest) -> ControllerUnpublishVolumeResponse;
    list_volumes(ListVolumesRequest) -> ListVolumesResponse;
    get_capacity(GetCapacityRequest) -> GetCapacityResponse;
    create_snapshot(CreateSnapshotRequest) -> CreateSnapshotResponse;
    delete_snapshot(DeleteSnapshotRequest) -> DeleteSnapshotResponse;
    list_snapshots(ListSnapshotsRequest) -> ListSnapshotsResponse;
    get_snapshot(GetSnapshotRequest) -> GetSnapshotResponse;
    controller_expand_volume(ControllerExpandVolumeRequest) -> ControllerExpandVolumeResponse;
    controller_get_volume(ControllerGetVolumeRequest) -> ControllerGetVolumeResponse;
    controller_modify_volume(ControllerModifyVolumeRequest) -> ControllerModifyVolumeResponse;
}
