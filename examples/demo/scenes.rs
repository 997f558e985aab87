//! What the demo shows, in order. Each step asserts what it says.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Instant;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use skillmount::reference::Digest;

use crate::kubelet::{self, Kubelet, pull_secret};
use crate::screen::Screen;
use crate::stage::Stage;
use crate::support::driver::Volume;
use crate::support::{Bearer, Options, Registry, Skill, User, artifacts};

/// The sample skills: their formats' names, owners, and what pushes them.
type Push = fn(&Registry, &str, &str, &Skill) -> Digest;
const SKILLS: [(&str, &str, &str, Push); 3] = [
    ("acme", "code-review", "skillimage: an OCI image", artifacts::skillimage),
    ("acme", "log-triage", "Agent Skills OCI draft: an artifact", artifacts::salaboy),
    ("docs", "release-notes", "a directory, as `oras push` packs it", oras_push),
];

const TAG: &str = "1.0.0";

/// `oras push <reference> <directory>`.
fn oras_push(registry: &Registry, repository: &str, tag: &str, skill: &Skill) -> Digest {
    let layer = artifacts::oras_layer(&skill.name, skill.tar_below_name());
    artifacts::oras_layers(registry, repository, tag, &[layer])
}

pub(crate) async fn play(screen: Screen, stage: &mut Stage) -> Result<(), String> {
    let acme = User::reader("acme-puller", "acme-demo-password", &["acme"]);
    let docs = User::reader("docs-puller", "docs-demo-password", &["docs"]);

    screen.title("A registry with two owners, and the driver");
    let (registry, references) = push(screen, &acme, &docs)?;
    let host = registry.host();
    let start = Instant::now();
    let pid = stage.start_driver(&host).await?;
    let mode = fs::metadata(stage.socket()).map(|found| found.permissions().mode() & 0o777);
    let mode = mode.map_err(|error| format!("the driver's socket: {error}"))?;
    screen
        .done(start, format_args!("`skillmount node` serves (pid {pid}), socket mode {mode:04o}"));
    let mut kubelet = Kubelet::connect(&stage.socket()).await;
    let start = Instant::now();
    let identity = kubelet.identify().await?;
    let node = kubelet.node_id().await?;
    screen.done(start, format_args!("GetPluginInfo, Probe, NodeGetInfo: {identity}, node {node}"));

    screen.title("A pod with one skill");
    let mut first = kubelet::volume(stage.root(), "agent-1", &references[..1])?;
    first.secrets = pull_secret(&host, &[("acme", &acme)]);
    let start = asking(&registry);
    kubelet.publish(&first).await?;
    screen.done(
        start,
        format_args!("NodePublishVolume with its pull secret: {}", traffic(&registry)),
    );
    screen.tree(&first.target, "/skills/code-review")?;

    let start = asking(&registry);
    kubelet.publish(&first).await?;
    expect(&registry, "a published volume", "/", 0)?;
    screen.done(
        start,
        format_args!("the same again, as after a restart of kubelet: {}", traffic(&registry)),
    );

    let mut second = kubelet::volume(stage.root(), "agent-2", &references[..1])?;
    second.secrets = first.secrets.clone();
    let start = asking(&registry);
    kubelet.publish(&second).await?;
    expect(&registry, "a tree that is on the node", "/blobs/", 0)?;
    screen.done(start, format_args!("a second pod shares the files: {}", traffic(&registry)));

    screen.title("A pod whose secret is wrong, though the skill is on the node already");
    let mut thief = kubelet::volume(stage.root(), "agent-3", &references[..1])?;
    for (what, user) in [
        ("a wrong password", &User { password: "guessed".into(), ..acme.clone() }),
        ("the other owner's login", &docs),
    ] {
        thief.secrets = pull_secret(&host, &[("acme", user)]);
        let start = Instant::now();
        refused(screen, start, what, kubelet.try_publish(&thief).await, &thief)?;
    }

    screen.title("A pod with three skills of two owners in one volume");
    let mut team = kubelet::volume(stage.root(), "agent-4", &references)?;
    team.secrets = pull_secret(&host, &[("acme", &acme), ("docs", &docs)]);
    let start = asking(&registry);
    kubelet.publish(&team).await?;
    screen.done(
        start,
        format_args!("NodePublishVolume, each owner's login for its own: {}", traffic(&registry)),
    );
    screen.tree(&team.target, "/skills")?;
    let start = Instant::now();
    let stats = kubelet.stats(&team).await?;
    screen.done(start, format_args!("NodeGetVolumeStats: {stats}"));

    screen.title("Nobody writes");
    read_only(screen, stage, &team)?;

    screen.title("The end");
    let start = Instant::now();
    let published = [&first, &second, &team];
    for volume in published {
        kubelet.unpublish(volume).await?;
    }
    // Twice, and of one that never was: kubelet may ask so.
    kubelet.unpublish(&first).await?;
    kubelet.unpublish(&thief).await?;
    screen.done(start, format_args!("NodeUnpublishVolume: {} volumes", published.len()));
    no_secret(screen, stage, &[&acme.password, &docs.password])?;
    end(screen, stage).await
}

/// The registry, and references to the skills in it.
fn push(screen: Screen, acme: &User, docs: &User) -> Result<(Registry, Vec<String>), String> {
    let start = Instant::now();
    let users = [acme.clone(), docs.clone()];
    let bearer = Bearer { refuse_at_token: true, ..Bearer::default() };
    let registry = Registry::start(Options::bearer(users, bearer));
    screen.done(
        start,
        format_args!(
            "registry {} with token authentication; users {} and {}",
            registry.host(),
            acme.name,
            docs.name
        ),
    );
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/skills");
    let mut references = Vec::new();
    for (owner, name, format, push) in SKILLS {
        let (start, directory) = (Instant::now(), samples.join(name));
        fs::read_dir(&directory)
            .map_err(|error| format!("the sample skill {}: {error}", directory.display()))?;
        let repository = format!("{owner}/{name}");
        push(&registry, &repository, TAG, &Skill::from_dir(&directory));
        screen.done(start, format_args!("pushed {:<26} {format}", format!("{repository}:{TAG}")));
        references.push(registry.reference(&repository, TAG));
    }
    Ok((registry, references))
}

/// Forgets the requests so far: what follows is counted, and timed.
fn asking(registry: &Registry) -> Instant {
    registry.clear();
    Instant::now()
}

/// What the registry was asked since.
fn traffic(registry: &Registry) -> String {
    match (registry.requests().len(), registry.count("GET", "/blobs/")) {
        (0, _) => "no request to the registry".into(),
        (1, blobs) => format!("1 request to the registry, {blobs} for blobs"),
        (all, blobs) => format!("{all} requests to the registry, {blobs} for blobs"),
    }
}

fn expect(registry: &Registry, what: &str, part: &str, count: usize) -> Result<(), String> {
    let lines = registry.lines();
    match lines.iter().filter(|line| line.contains(part)).count() {
        found if found == count => Ok(()),
        found => Err(format!(
            "{what} should cost {count} requests to {part}, not {found}:\n{}",
            lines.join("\n")
        )),
    }
}

/// Shows a refusal as people see it, and that nothing is at the target.
fn refused(
    screen: Screen,
    start: Instant,
    what: &str,
    answer: Result<(), tonic::Status>,
    volume: &Volume,
) -> Result<(), String> {
    let Err(status) = answer else {
        return Err(format!("{what} was accepted"));
    };
    let denied = [tonic::Code::Unauthenticated, tonic::Code::PermissionDenied];
    let event = kubelet::event(&status);
    if !denied.contains(&status.code()) {
        return Err(format!("{what} was refused for another reason: {event}"));
    }
    if volume.target.exists() {
        return Err(format!("{what} was refused, yet {} exists", volume.target.display()));
    }
    let code = status.code();
    screen.done(start, format_args!("{what} is refused ({code:?}); `kubectl describe pod` shows"));
    screen.wrapped(&event);
    Ok(())
}

/// As root of its namespace, the demo may do whatever a container's runtime may.
fn read_only(screen: Screen, stage: &Stage, volume: &Volume) -> Result<(), String> {
    let start = Instant::now();
    let error = denied(&volume.target)?;
    screen.done(start, format_args!("creating a file in the volume: {error}"));

    let start = Instant::now();
    let inside = stage.path("container");
    let failed = |step| move |error| format!("{step} {}: {error}", volume.target.display());
    fs::create_dir(&inside)
        .map_err(|error| format!("cannot make {}: {error}", inside.display()))?;
    let none = None::<&str>;
    mount(Some(&volume.target), &inside, none, MsFlags::MS_BIND, none)
        .map_err(failed("cannot bind"))?;
    let writable = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let remounted = mount(none, &inside, none, writable, none);
    let error = denied(&inside)?;
    umount2(&inside, MntFlags::empty()).map_err(failed("cannot unmount the bind of"))?;
    let remounted = match remounted {
        Ok(()) => "accepted, but writing is not".to_owned(),
        Err(error) => format!("refused ({error}), and writing too"),
    };
    screen.done(
        start,
        format_args!(
            "bind, then remount read-write, as container runtimes do: {remounted}: {error}"
        ),
    );
    Ok(())
}

/// The error of writing below a directory: EROFS, or this is one of ours.
fn denied(directory: &Path) -> Result<io::Error, String> {
    let path = directory.join("written");
    match fs::write(&path, "x") {
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => Ok(error),
        Err(error) => Err(format!("writing {} failed, but with {error}", path.display())),
        Ok(()) => Err(format!("{} could be written", path.display())),
    }
}

fn no_secret(screen: Screen, stage: &Stage, secrets: &[&str]) -> Result<(), String> {
    let start = Instant::now();
    let log = fs::read_to_string(stage.path("driver.log"))
        .map_err(|error| format!("the driver's log: {error}"))?;
    if secrets.iter().any(|secret| log.contains(secret)) {
        return Err("the driver's log has a password in it".into());
    }
    let lines = log.lines().count();
    screen.done(start, format_args!("the driver's log: {lines} lines, no password in them"));
    Ok(())
}

async fn end(screen: Screen, stage: &mut Stage) -> Result<(), String> {
    let start = Instant::now();
    match stage.stop_driver().await? {
        Some(status) if status.success() => {}
        other => return Err(format!("the driver did not end well: {other:?}")),
    }
    screen.done(start, "SIGTERM: the driver has ended in order");
    let start = Instant::now();
    match stage.mounts()?.as_slice() {
        [] => screen.done(start, "mountinfo: nothing is mounted below the demo's directory"),
        left => return Err(format!("still mounted: {left:?}")),
    }
    Ok(())
}
