//! What is not on the node yet.

use std::path::Path;
use std::time::Instant;

use tokio::process::Command;

use crate::bench::{Artifact, Bench, fresh};
use crate::containerd::Containerd;
use crate::contest::{Contest, Contestant, Round};
use crate::driver::{Driver, trust};
use crate::process::{run, without_settings};
use crate::registry::{Access, Kind};
use crate::skills::Compressed;
use crate::{floors, peers};

/// Names that targets look for.
pub(crate) const PUBLISH: &str = "publish";
pub(crate) const CONNECTED: &str = "publish what `oras pull` takes, connection kept";
const CONNECTED_IMAGE: &str = "publish, connection kept";
pub(crate) const SECURED: &str = "20 KB, TLS + password";

/// A contest for each skill.
pub(crate) fn contests(bench: &Bench) -> Vec<Contest> {
    let (plain, secured) = (&bench.registry.plain, &bench.registry.secured);
    let options = &bench.options;
    let mut all = Vec::new();
    for (access, name, compressed) in [
        (plain, "small", Compressed::Gzip),
        (secured, "small", Compressed::Gzip),
        (plain, "medium", Compressed::Gzip),
        (plain, "large", Compressed::Gzip),
        (plain, "large", Compressed::Zstd),
    ] {
        let artifact = bench.artifact(name, compressed);
        let rounds = if name == "large" { options.large_rounds } else { options.rounds };
        let mut contestants = vec![
            Contestant::new(PUBLISH, || publish(bench, access, artifact)),
            Contestant::new("skillmount pull", || pull(bench, access, artifact)),
        ];
        if name == "small" {
            contestants.push(connected(bench, access, Kind::Artifact));
            contestants.push(connected(bench, access, Kind::Image));
            contestants.push(floors::kept_connection(bench, access));
        }
        contestants.extend(peers::contestants(bench, access, artifact));
        if Containerd::can_start(bench) && access.login.is_none() {
            contestants.push(Containerd::cold(bench, access, artifact));
        }
        contestants.extend(floors::piped(bench, access, artifact));
        let title = title(artifact, access);
        all.push(Contest::run(title, options.rounds(rounds), contestants));
    }
    all
}

fn title(artifact: &Artifact, access: &Access) -> String {
    let title = artifact.size.title;
    match (access.login.is_some(), artifact.size.name, artifact.compressed) {
        (true, _, _) => SECURED.into(),
        (_, "large", Compressed::Gzip) => format!("{title}, gzip"),
        (_, _, Compressed::Zstd) => format!("{title}, zstd"),
        _ => title.into(),
    }
}

/// The title of the contest of the large skill.
pub(crate) fn large(bench: &Bench, compressed: Compressed) -> String {
    title(bench.artifact("large", compressed), &bench.registry.plain)
}

/// The call that kubelet makes, to a driver that was just started: no tree, no connection.
pub(crate) fn publish(bench: &Bench, access: &Access, artifact: &Artifact) -> Round {
    let driver = Driver::start(bench, access);
    let volume = driver.volume(&artifact.repository, "image");
    bench.settle();
    let took = driver.publish(&volume);
    let shown = volume.target.join("SKILL.md").is_file();
    driver.unpublish(&volume);
    driver.stop();
    if shown { Ok(took) } else { Err("the volume shows no SKILL.md".into()) }
}

/// The call to a driver that has a connection, and leave to read the repository: another skill
/// each time. The registry has served it before, as it has what all others ask for: that is faster.
pub(crate) fn connected<'a>(bench: &'a Bench, access: &'a Access, kind: Kind) -> Contestant<'a> {
    let (mut driver, client) = (None, access.client());
    let name = match kind {
        Kind::Artifact => CONNECTED,
        Kind::Image => CONNECTED_IMAGE,
    };
    Contestant::new(name, move || {
        let publish = |driver: &Driver<'_>| {
            let tag = bench.unpublished();
            let volume = driver.volume(fresh(kind), &tag);
            bench.runtime.block_on(access.all_of(&client, fresh(kind), &tag))?;
            bench.settle();
            let took = driver.publish(&volume);
            driver.unpublish(&volume);
            Ok(took)
        };
        if let Some(driver) = &driver {
            return publish(driver);
        }
        let driver = driver.insert(Driver::start(bench, access));
        // This makes the connection.
        publish(driver)?;
        publish(driver)
    })
}

fn pull(bench: &Bench, access: &Access, artifact: &Artifact) -> Round {
    let directory = bench.directory("pull");
    let output = directory.join("skill");
    bench.settle();
    let mut command = command(&bench.options.binary, access, artifact, &output);
    let start = Instant::now();
    let (pulled, text) = bench.runtime.block_on(run(&mut command));
    let took = start.elapsed();
    let written = output.join("SKILL.md").is_file();
    bench.discard(&directory);
    if pulled && written { Ok(took) } else { Err(text) }
}

fn command(binary: &Path, access: &Access, artifact: &Artifact, output: &Path) -> Command {
    let mut command = without_settings(Command::new(binary));
    command.arg("pull").arg(access.reference(&artifact.repository, "image"));
    command.arg("--output").arg(output);
    if let Some(login) = &access.login {
        command.arg("--pull-secret").arg(login.docker.join("config.json"));
    }
    trust(&mut command, access);
    command
}
