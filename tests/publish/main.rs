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
mod events;
mod faults;
mod full_disks;
mod gc;
#[cfg(all(target_env = "gnu", target_arch = "x86_64"))]
mod injector;
#[cfg(all(target_env = "gnu", target_arch = "x86_64"))]
mod io_errors;
mod login_order;
mod logs;
mod many;
mod matching;
mod messages;
mod metrics;
mod mirror_logins;
mod mirrors;
#[path = "../support/namespace.rs"]
mod namespace;
mod node;
mod node_credentials;
mod pod_secrets;
mod providers;
mod real_api;
mod recovery;
mod registration;
#[cfg(target_env = "gnu")]
mod removal;
mod republish;
mod restart;
mod rights;
mod seal;
mod several;
mod sharing;
mod space;
mod stopping;
#[path = "../support/mod.rs"]
mod support;
#[cfg(target_env = "gnu")]
mod tracer;
mod transport;
mod trickle;
mod turns;
mod twelve;
mod unpublish;
mod unreadable;
mod validation;
mod verification;
mod verify;
mod vigil;
mod warnings;
mod wiped;

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
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

/// The users whose logins a registry was shown since the last call, each once, in order.
fn shown(registry: &Registry) -> Vec<String> {
    let headers = registry.requests().into_iter().filter_map(|asked| asked.authorization);
    let mut users: Vec<_> = headers.map(|header| user_of(&header)).collect();
    users.dedup();
    registry.clear();
    users
}

/// The user of an `Authorization: Basic`.
fn user_of(header: &str) -> String {
    let pair = STANDARD.decode(header.strip_prefix("Basic ").unwrap()).unwrap();
    String::from_utf8(pair).unwrap().split(':').next().unwrap().to_owned()
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
    let with = |end| trees.iter().filter_map(move |name| name.strip_suffix(end));
    let described: Vec<_> = with(".json").collect();
    assert_eq!(stored(state.parent().unwrap()), described, "half a tree");
    assert!(with(".sha256").all(|key| described.contains(&key)), "a list of no tree");
}

/// The directories of trees.
fn stored(root: &Path) -> Vec<String> {
    let mut names = names(&root.join("state/trees"));
    names.retain(|name| !name.ends_with(".json") && !name.ends_with(".sha256"));
    names
}

/// Waits until every tree is on the disk: a driver that starts brings those there that a killed
/// one has left, and meanwhile writes beside them.
async fn flushed(root: &Path) {
    let trees = root.join("state/trees");
    // What is gone was being written.
    let is_durable = |name: String| match fs::read(trees.join(&name)) {
        Ok(text) if name.ends_with(".json") => {
            String::from_utf8_lossy(&text).contains(r#""durable":true"#)
        }
        // A directory or a list is its description's matter.
        outcome => !name.starts_with('.') && (outcome.is_ok() || trees.join(&name).is_dir()),
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
