//! Publish and unpublish over a real socket, with real mounts.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::type_complexity,
    reason = "tests assert, and have tables of tuples"
)]

mod backoff;
mod canary;
mod crash;
mod deadline;
mod gc;
mod messages;
mod metrics;
#[path = "../support/namespace.rs"]
mod namespace;
mod node;
mod node_credentials;
mod registration;
#[cfg(target_env = "gnu")]
mod removal;
mod republish;
mod restart;
mod rights;
mod seal;
mod several;
mod sharing;
#[path = "../support/mod.rs"]
mod support;
#[cfg(target_env = "gnu")]
mod tracer;
mod twelve;
mod unpublish;
mod validation;
mod verification;
mod vigil;
mod warnings;

use std::fs;
use std::path::{Path, PathBuf};

use skillmount::mount::{KernelMounter, Mount, MountError, MountOptions, Mounter};
use support::driver::{Driver, Setup, Volume};
use support::tree::names;
use support::{Options, Registry, artifacts, skills, tree};
use tonic::{Code, Status};

/// Every password of these tests contains it, and nothing that is written or shown may.
const CANARY: &str = "CANARY-horse-battery";

/// Runs an async test in a mount namespace of its own, and sees that it keeps its secrets. `test`
/// is the caller's full name.
fn run(test: &str, body: impl Future<Output = ()>) {
    namespace::in_namespace(test, || {
        let vigil = vigil::Vigil::begin();
        tokio::runtime::Runtime::new().unwrap().block_on(body);
        vigil.end(&namespace::scratch_path());
    });
}

/// A registry with the fixture skill at `team/code-review:v1`, and a driver.
async fn start(options: Options) -> (Registry, Driver) {
    let registry = Registry::start(options);
    artifacts::skillimage(&registry, "team/code-review", "v1", &skills::code_review());
    let driver = Driver::start(&namespace::scratch(), Setup::default()).await;
    (registry, driver)
}

fn refused(outcome: Result<(), Status>) -> (Code, String) {
    let status = outcome.expect_err("a refusal");
    (status.code(), status.message().to_owned())
}

/// What is mounted below a directory.
fn mounts(root: &Path) -> Vec<Mount> {
    let all = KernelMounter::detect().mounts().unwrap();
    all.into_iter().filter(|m| m.mount_point != root && m.mount_point.starts_with(root)).collect()
}

/// Nothing of any volume is left: no mount, no target, no record, nothing half-made.
fn assert_clean(root: &Path) {
    assert_eq!(mounts(root), []);
    for pod in names(&root.join("pods")) {
        assert_eq!(names(&root.join("pods").join(&pod)), [""; 0], "{pod}");
    }
    assert_eq!(names(&root.join("state/volumes")), [""; 0]);
    assert_whole(root);
}

/// The state directory holds nothing half-made, and nothing that could not be read.
fn assert_whole(root: &Path) {
    let state = root.join("state");
    for directory in ["staging", "quarantine", "empty"] {
        assert_eq!(names(&state.join(directory)), [""; 0], "{directory}");
    }
    for directory in names(&state).into_iter().filter(|name| state.join(name).is_dir()) {
        let names = names(&state.join(&directory));
        let temporary: Vec<_> = names.iter().filter(|name| name.starts_with('.')).collect();
        assert_eq!(temporary, [""; 0], "{directory}");
    }
    let trees = names(&state.join("trees"));
    let (described, whole): (Vec<_>, Vec<_>) =
        trees.iter().partition(|name| name.ends_with(".json"));
    let described: Vec<_> = described.iter().map(|name| name.trim_end_matches(".json")).collect();
    assert_eq!(whole, described, "half a tree");
}

/// Waits until every tree is on the disk: a driver that starts brings those there that a killed
/// one has left, and meanwhile writes beside them.
async fn flushed(root: &Path) {
    let trees = root.join("state/trees");
    let is_durable = |name: String| match fs::read(trees.join(&name)) {
        Ok(text) => {
            !name.starts_with('.') && String::from_utf8_lossy(&text).contains(r#""durable":true"#)
        }
        // A directory is its description's matter; what is gone was being written.
        Err(_) => trees.join(&name).is_dir(),
    };
    while !names(&trees).into_iter().all(is_durable) {
        tokio::task::yield_now().await;
    }
}

/// A kernel that makes no overlays.
struct NoOverlay(KernelMounter);

impl NoOverlay {
    fn setup() -> Setup {
        let mounter = std::sync::Arc::new(Self(KernelMounter::detect()));
        Setup { mounter, ..Setup::default() }
    }
}

impl Mounter for NoOverlay {
    fn seal(&self, lowers: &[PathBuf], _: &Path, _: MountOptions) -> Result<(), MountError> {
        Err(MountError::OverlayRefused {
            count: lowers.len(),
            uppermost: lowers[0].clone(),
            messages: vec![],
            source: std::io::Error::from_raw_os_error(nix::libc::ENODEV),
        })
    }

    fn bind(&self, from: &Path, target: &Path, options: MountOptions) -> Result<(), MountError> {
        self.0.bind(from, target, options)
    }

    fn unmount(&self, target: &Path) -> Result<u32, MountError> {
        self.0.unmount(target)
    }

    fn is_mount_point(&self, path: &Path) -> Result<bool, MountError> {
        self.0.is_mount_point(path)
    }

    fn mounts(&self) -> Result<Vec<Mount>, MountError> {
        self.0.mounts()
    }
}

#[test]
fn a_skill_appears_and_goes() {
    run("a_skill_appears_and_goes", async {
        let (registry, driver) = start(Options::default()).await;
        let volume = driver.volume("csi-1", &registry.reference("team/code-review", "v1"));
        driver.publish(&volume).await.unwrap();
        assert_eq!(tree::listing(&volume.target), skills::code_review().listing());
        driver.unpublish(&volume).await.unwrap();
        assert_clean(&driver.root);
        driver.unpublish(&volume).await.unwrap();
        driver.stop().await;
    });
}
