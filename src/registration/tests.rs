//! Over a real socket in a temporary directory. The tests wait for what the driver says, never
//! for a time.

use std::fs;
use std::future::pending;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener as StdListener;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use super::v1::registration_client::RegistrationClient;
use super::*;

const NAME: &str = "csi.skillmount.dev";
const ENDPOINT: &str = "/var/lib/kubelet/plugins/csi.skillmount.dev/csi.sock";

struct Driver {
    path: PathBuf,
    status: watch::Receiver<Status>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), RegistrationError>>,
}

impl Driver {
    /// Starts one and waits for its socket.
    async fn start(directory: &Path) -> Self {
        let mut registrar = Registrar::new(directory, NAME, Path::new(ENDPOINT));
        registrar.look_every = Duration::from_millis(1);
        let (path, mut status) = (registrar.path.clone(), registrar.status());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(registrar.serve(async {
            stopped.await.unwrap();
        }));
        status.changed().await.unwrap();
        Self { path, status, stop, task }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }

    /// Connects as kubelet does.
    async fn kubelet(&self) -> RegistrationClient<Channel> {
        let path = self.path.clone();
        let connect = service_fn(move |_| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        let endpoint = Endpoint::from_static("http://localhost");
        RegistrationClient::new(endpoint.connect_with_connector(connect).await.unwrap())
    }

    async fn is_answering(&self) {
        let info = self.kubelet().await.get_info(InfoRequest {}).await.unwrap().into_inner();
        let expected = PluginInfo {
            r#type: "CSIPlugin".into(),
            name: NAME.into(),
            endpoint: ENDPOINT.into(),
            supported_versions: vec!["1.0.0".into()],
        };
        assert_eq!(info, expected);
    }

    async fn notify(&self, plugin_registered: bool, error: &str) {
        let status = RegistrationStatus { plugin_registered, error: error.into() };
        self.kubelet().await.notify_registration_status(status).await.unwrap();
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn kubelet_is_told_who_and_where() {
    let directory = tempfile::tempdir().unwrap();
    let driver = Driver::start(directory.path()).await;
    assert_eq!(names(directory.path()), ["csi.skillmount.dev-reg.sock"]);
    let metadata = fs::symlink_metadata(&driver.path).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    driver.is_answering().await;
    driver.notify(true, "").await;
    assert_eq!(*driver.status.borrow(), Status::Registered);
    let status = driver.status.clone();
    driver.stop().await;
    assert_eq!(*status.borrow(), Status::Absent);
    assert_eq!(names(directory.path()), [""; 0]);
}

#[tokio::test]
async fn what_a_dead_driver_left_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["csi.skillmount.dev-reg.sock", ".csi.skillmount.dev-reg.sock"] {
        drop(StdListener::bind(directory.path().join(name)).unwrap());
    }
    let driver = Driver::start(directory.path()).await;
    assert_eq!(names(directory.path()), ["csi.skillmount.dev-reg.sock"]);
    driver.is_answering().await;
    driver.stop().await;
}

#[tokio::test]
async fn what_is_not_a_socket_stays() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("csi.skillmount.dev-reg.sock");
    fs::write(&path, "precious").unwrap();
    let result = Registrar::new(directory.path(), NAME, Path::new(ENDPOINT)).serve(pending()).await;
    assert!(matches!(result, Err(RegistrationError::NotASocket(found)) if found == path));
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[tokio::test]
async fn a_path_that_does_not_fit_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let name = "n".repeat(100);
    let result =
        Registrar::new(directory.path(), &name, Path::new(ENDPOINT)).serve(pending()).await;
    assert!(matches!(result, Err(RegistrationError::TooLong(_))));
}

#[tokio::test]
async fn a_wiped_directory_gets_a_new_socket() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("plugins_registry");
    fs::create_dir(&directory).unwrap();
    let mut driver = Driver::start(&directory).await;
    driver.notify(true, "").await;

    fs::remove_file(&driver.path).unwrap();
    driver.status.wait_for(|status| *status == Status::Waiting).await.unwrap();
    driver.is_answering().await;
    driver.notify(true, "").await;

    fs::remove_file(&driver.path).unwrap();
    fs::remove_dir(&directory).unwrap();
    fs::create_dir(&directory).unwrap();
    driver.status.wait_for(|status| *status == Status::Waiting).await.unwrap();
    driver.is_answering().await;
    driver.stop().await;
    assert_eq!(names(&directory), [""; 0]);
}

#[tokio::test]
async fn a_directory_that_stays_away_ends_it() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("plugins_registry");
    fs::create_dir(&directory).unwrap();
    let driver = Driver::start(&directory).await;
    fs::remove_file(&driver.path).unwrap();
    fs::remove_dir(&directory).unwrap();
    let error = driver.task.await.unwrap().unwrap_err();
    assert_eq!(
        chain(&error),
        format!(
            "the registration socket {0} is lost; restart the driver: \
             cannot make the registration socket {0}: No such file or directory (os error 2)",
            driver.path.display()
        )
    );
}

#[tokio::test]
async fn anothers_socket_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let first = Socket::make(&path).unwrap();
    assert_eq!(first.look().await, Found::Ours);
    let second = Socket::make(&path).unwrap();
    assert_eq!((first.look().await, second.look().await), (Found::Other, Found::Ours));
    first.remove();
    assert_eq!(second.look().await, Found::Ours);
    let third = Socket::make(&path).unwrap();
    drop(third);
    assert_eq!(second.look().await, Found::Nothing);
    second.remove();
    assert_eq!(names(directory.path()), ["s"], "a dead one is replaced, not removed");
}

#[tokio::test]
async fn a_refused_driver_asks_again_with_a_new_socket() {
    let directory = tempfile::tempdir().unwrap();
    let mut driver = Driver::start(directory.path()).await;
    for attempt in 0..3 {
        driver.notify(false, &format!("no {attempt}")).await;
        driver.status.wait_for(|status| *status == Status::Waiting).await.unwrap();
        driver.is_answering().await;
    }
    driver.notify(true, "").await;
    driver.stop().await;
}

#[test]
fn patience_doubles_up_to_a_limit() {
    let mut patience = Patience::default();
    let waits: Vec<usize> = (0..9).map(|_| (1..).find(|_| patience.is_over()).unwrap()).collect();
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 64, 64]);
}
