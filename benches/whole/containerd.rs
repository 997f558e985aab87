//! A containerd of our own, and its `ctr`.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use tokio::process::Command;

use crate::bench::{Artifact, Bench};
use crate::contest::{Contestant, Round};
use crate::process::Server;
use crate::registry::Access;
use crate::tools::pipe;

pub(crate) struct Containerd {
    server: Server,
    root: PathBuf,
    /// Its path must be short.
    sockets: tempfile::TempDir,
}

impl Containerd {
    /// Whether the binaries are here and this is the machine's root: it wants devices and cgroups
    /// that a user namespace does not have.
    pub(crate) fn can_start(bench: &Bench) -> bool {
        let mapped = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        let is_root = mapped.split_whitespace().eq(["0", "0", "4294967295"]);
        is_root && bench.tools.have(&["containerd", "ctr"])
    }

    pub(crate) fn start(bench: &Bench) -> Option<Self> {
        if !Self::can_start(bench) {
            return None;
        }
        let root = bench.directory("containerd");
        let sockets = tempfile::tempdir().unwrap();
        let config = root.join("config.toml");
        let text = "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n";
        fs::write(&config, text).unwrap();
        let mut command = Command::new(bench.tools.get("containerd")?);
        command.arg("--config").arg(config).arg("--root").arg(root.join("root"));
        command.arg("--state").arg(sockets.path().join("state"));
        command.arg("--address").arg(sockets.path().join("sock"));
        let booted = |line: &str| line.contains("successfully booted").then_some(());
        let (server, ()) = bench.runtime.block_on(Server::start(&mut command, booted));
        Some(Self { server, root, sockets })
    }

    fn ctr(&self, bench: &Bench, arguments: &[&str]) -> Round {
        let mut command = bench.tools.command("ctr");
        command.arg("--address").arg(self.sockets.path().join("sock"));
        command.args(["--namespace", "bench", "images"]).args(arguments);
        pipe(&mut [command])
    }

    fn pull(&self, bench: &Bench, reference: &str) -> Round {
        self.ctr(bench, &["pull", "--plain-http", reference])
    }

    /// Mounts and unmounts: both times.
    fn mount(
        &self,
        bench: &Bench,
        artifact: &Artifact,
        reference: &str,
    ) -> Result<(Duration, Duration), String> {
        let target = bench.directory("ctr");
        let path = target.to_str().unwrap_or_default();
        let mounted = self.ctr(bench, &["mount", reference, path])?;
        let shown = target.join(artifact.size.name).join("SKILL.md").is_file();
        let unmounted = self.ctr(bench, &["unmount", "--rm", path])?;
        fs::remove_dir(&target).map_err(|error| error.to_string())?;
        if shown { Ok((mounted, unmounted)) } else { Err("it mounted no SKILL.md".into()) }
    }

    /// Pulls and mounts, each time with one that was just started: to remove an image would be
    /// measured with the next.
    pub(crate) fn cold<'a>(
        bench: &'a Bench,
        access: &'a Access,
        artifact: &'a Artifact,
    ) -> Contestant<'a> {
        let reference = access.reference(&artifact.repository, "image");
        Contestant::new("ctr images pull, mount", move || {
            let containerd = Self::start(bench).ok_or("containerd does not start")?;
            bench.settle();
            let pulled = containerd.pull(bench, &reference);
            let mounted = containerd.mount(bench, artifact, &reference);
            containerd.stop(bench);
            Ok(pulled? + mounted?.0)
        })
    }

    /// Mounts what is there already; and takes it away.
    pub(crate) fn warm<'a>(
        &'a self,
        bench: &'a Bench,
        access: &'a Access,
        artifact: &'a Artifact,
    ) -> Vec<Contestant<'a>> {
        let reference = access.reference(&artifact.repository, "image");
        let mut pulled = false;
        let mount = move |unmount: bool| {
            if !std::mem::replace(&mut pulled, true) {
                self.pull(bench, &reference)?;
            }
            let (mounted, unmounted) = self.mount(bench, artifact, &reference)?;
            Ok(if unmount { unmounted } else { mounted })
        };
        let mut unmount = mount.clone();
        let mut mount = mount;
        vec![
            Contestant::new("ctr images mount", move || mount(false)),
            Contestant::new("ctr images unmount", move || unmount(true)),
        ]
    }

    pub(crate) fn stop(self, bench: &Bench) {
        bench.runtime.block_on(self.server.stop());
        bench.discard(&self.root);
    }
}
