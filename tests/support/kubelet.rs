//! What kubelet is to whoever registers a driver: it watches the directory of registration
//! sockets, asks each new one who is there, calls the driver where it is told, and says how that
//! went.

use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use skillmount::csi::v1::NodeGetInfoRequest;
use skillmount::csi::v1::node_client::NodeClient;
use skillmount::registration::v1::registration_client::RegistrationClient;
use skillmount::registration::v1::{InfoRequest, PluginInfo, RegistrationStatus};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use super::driver::connect;

/// Kubelet's watch of its directory.
pub struct Kubelet {
    directory: PathBuf,
    /// Names that appeared.
    names: UnboundedReceiver<String>,
}

/// A driver as kubelet gets to know it.
#[derive(Clone, Debug, PartialEq)]
pub struct Registered {
    pub info: PluginInfo,
    pub node_id: String,
}

impl Kubelet {
    /// Watches a directory; what is there already has appeared, as when kubelet starts.
    pub fn watch(directory: &Path) -> Self {
        let events = inotify::init(CreateFlags::CLOEXEC).unwrap();
        inotify::add_watch(&events, directory, WatchFlags::CREATE | WatchFlags::MOVED_TO).unwrap();
        let (send, names) = mpsc::unbounded_channel();
        for entry in fs::read_dir(directory).unwrap() {
            send.send(entry.unwrap().file_name().into_string().unwrap()).unwrap();
        }
        std::thread::spawn(move || read(&events, &send));
        Self { directory: directory.into(), names }
    }

    /// Waits for the next name that appears, and sees that it is a socket. Kubelet passes over
    /// names that begin with a dot.
    pub async fn appeared(&mut self) -> PathBuf {
        let name = loop {
            let name = self.names.recv().await.unwrap();
            if !name.starts_with('.') {
                break name;
            }
        };
        let path = self.directory.join(name);
        let kind = fs::symlink_metadata(&path).unwrap().file_type();
        assert!(kind.is_socket(), "{} is {kind:?}", path.display());
        path
    }

    /// Registers the next driver that appears. Each step must succeed at the first attempt, right
    /// when the name appears.
    pub async fn registers(&mut self) -> Registered {
        let socket = self.appeared().await;
        let mut registration = RegistrationClient::new(connect(&socket).await);
        let info = registration.get_info(InfoRequest {}).await.unwrap().into_inner();
        let mut driver = NodeClient::new(connect(Path::new(&info.endpoint)).await);
        let node = driver.node_get_info(NodeGetInfoRequest {}).await.unwrap().into_inner();
        let status = RegistrationStatus { plugin_registered: true, error: String::new() };
        registration.notify_registration_status(status).await.unwrap();
        Registered { info, node_id: node.node_id }
    }

    /// Refuses the next driver that appears.
    pub async fn refuses(&mut self, error: &str) {
        let socket = self.appeared().await;
        let mut registration = RegistrationClient::new(connect(&socket).await);
        registration.get_info(InfoRequest {}).await.unwrap();
        let status = RegistrationStatus { plugin_registered: false, error: error.into() };
        registration.notify_registration_status(status).await.unwrap();
    }
}

/// Hands names on until nobody listens. In a thread that nothing waits for: the events of a test
/// that has ended do not matter.
fn read(events: &OwnedFd, names: &UnboundedSender<String>) {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(events, &mut buffer);
    while let Ok(event) = reader.next() {
        // Without a name: the directory itself is gone.
        let Some(name) = event.file_name() else { break };
        if names.send(name.to_str().unwrap().into()).is_err() {
            break;
        }
    }
}
