//! `skillmount node` in a process of its own, and kubelet's calls.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use skillmount::csi::v1::ProbeRequest;
use tokio::process::Command;
use tokio::runtime::{Builder, Runtime};

use crate::bench::Bench;
use crate::caller::Caller;
use crate::process::{Server, without_settings};
use crate::registry::{Access, Login};
use crate::support::driver::{Client, Volume};

/// A driver with a state directory of its own.
pub(crate) struct Driver<'a> {
    bench: &'a Bench,
    access: Access,
    root: PathBuf,
    /// Not below the root, whose path may be too long for a socket.
    socket: tempfile::TempDir,
    server: Server,
    /// For one call after the other.
    caller: RefCell<Caller>,
    /// For many at once.
    pub(crate) client: Client,
    /// The client's, in this thread: one that changes threads would be measured with the driver.
    pub(crate) alone: Runtime,
}

/// The command, with its state below `root`.
pub(crate) fn node(binary: &Path, access: &Access, root: &Path, socket: &Path) -> Command {
    let mut command = without_settings(Command::new(binary));
    command.args(["node", "--node-id", "node-1", "--log-format", "json", "--endpoint"]);
    command.arg(socket).arg("--state-dir").arg(root.join("state"));
    trust(&mut command, access);
    command
}

/// What the command line needs to reach a registry.
pub(crate) fn trust(command: &mut Command, access: &Access) {
    match &access.login {
        Some(login) => command.arg("--ca-file").arg(&login.ca),
        None => command.args(["--plain-http", &access.host]),
    };
}

impl<'a> Driver<'a> {
    /// Starts one, and speaks with it once, so that the connection to the socket is there.
    pub(crate) fn start(bench: &'a Bench, access: &Access) -> Self {
        Self::start_binary(bench, access, &bench.options.binary)
    }

    pub(crate) fn start_binary(bench: &'a Bench, access: &Access, binary: &Path) -> Self {
        Self::start_in(bench, access, binary, bench.directory("driver"))
    }

    /// Starts one on what another has left.
    pub(crate) fn start_in(
        bench: &'a Bench,
        access: &Access,
        binary: &Path,
        root: PathBuf,
    ) -> Self {
        let socket = tempfile::tempdir().unwrap();
        let path = socket.path().join("csi.sock");
        let mut command = node(binary, access, &root, &path);
        let ready = |line: &str| line.contains(r#""serving""#).then_some(());
        let (server, ()) = bench.runtime.block_on(Server::start(&mut command, ready));
        let caller = RefCell::new(Caller::connect(&path));
        let alone = Builder::new_current_thread().enable_all().build().unwrap();
        let client = alone.block_on(async {
            let client = Client::connect(&path).await;
            client.identity().probe(ProbeRequest {}).await.unwrap();
            client
        });
        let access = access.clone();
        let driver = Self { bench, access, root, socket, server, caller, client, alone };
        driver.probe();
        driver
    }

    /// A volume of its own id, whose target's parent exists.
    pub(crate) fn volume(&self, repository: &str, tag: &str) -> Volume {
        let id = format!("csi-{}", self.bench.number());
        let volume = Volume::new(&self.root, &id, &self.access.reference(repository, tag));
        match self.access.login {
            Some(_) => volume.raw_secret(".dockerconfigjson", &Login::document(&self.access.host)),
            None => volume,
        }
    }

    pub(crate) fn publish(&self, volume: &Volume) -> Duration {
        let request = volume.publish();
        let took = self.caller.borrow_mut().call("/csi.v1.Node/NodePublishVolume", &request);
        took.unwrap_or_else(|| {
            // It is refused once more, in words.
            let refused = self.alone.block_on(self.client.publish(volume));
            panic!("{} was refused: {refused:?}", volume.id)
        })
    }

    pub(crate) fn unpublish(&self, volume: &Volume) -> Duration {
        let request = volume.unpublish();
        let took = self.caller.borrow_mut().call("/csi.v1.Node/NodeUnpublishVolume", &request);
        took.unwrap_or_else(|| {
            let refused = self.alone.block_on(self.client.unpublish(volume));
            panic!("{} was refused: {refused:?}", volume.id)
        })
    }

    /// A call that does nothing.
    pub(crate) fn probe(&self) -> Duration {
        let took = self.caller.borrow_mut().call("/csi.v1.Identity/Probe", &ProbeRequest {});
        took.expect("a driver that serves")
    }

    /// A line of `/proc/PID/status` in KiB: `VmRSS`, or `VmHWM` for the most it ever was.
    pub(crate) fn memory(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.server.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim_matches([':', ' ', '\t', 'k', 'B']).parse().unwrap()
    }

    /// Where its tree of the artifact lies: one directory that a volume of it shows.
    pub(crate) fn tree(&self) -> PathBuf {
        let trees = fs::read_dir(self.root.join("state/trees")).unwrap();
        let mut directories = trees.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
        directories.next().unwrap()
    }

    /// Ends it, when all that it published is unpublished.
    pub(crate) fn stop(self) {
        let bench = self.bench;
        bench.discard(&self.leave());
    }

    /// Ends it. Returns where its state is; what is published stays mounted.
    pub(crate) fn leave(self) -> PathBuf {
        let Self { bench, socket, root, server, caller, client, alone, .. } = self;
        // The driver asks who is connected to go, and nobody would answer.
        drop((caller, client, alone));
        bench.runtime.block_on(server.stop());
        socket.close().unwrap();
        root
    }
}
