//! A disk that fails: each system call of a publish and of an unpublish that the disk has a part in
//! fails, once or from there on. The driver goes on, nothing half-made is mounted, other volumes are
//! as they were, and when the disk is well again so is everything, without a restart.

use std::collections::BTreeMap;

use nix::errno::Errno;
use nix::mount::MsFlags;

use super::*;
use crate::injector::{Fault, Injector};
use crate::node::{Node, command};
use crate::support::Skill;

const ERROR: &[&str] = &[
    "mkdir", "rmdir", "unlink", "link", "rename", "open", "write", "read", "fsync", "syncfs",
    "chmod", "utime",
];
const FULL: &[&str] = &["mkdir", "link", "rename", "open", "write"];
const CHANGES: &[&str] =
    &["mkdir", "rmdir", "unlink", "link", "rename", "open", "write", "chmod", "utime"];

/// Of two files, since each takes steps of its own.
fn skill(number: usize) -> Skill {
    let text = format!("{number} ").repeat(2000);
    Skill::new("code-review", "Reviews code.").file("references/number.md", text, 0o644)
}

/// How the error of a system call ends every message.
fn told(fault: Fault) -> String {
    format!("(os error {})", fault.errno as i32)
}

/// How often a call met a failed step, and what it answered.
type Tally = BTreeMap<(String, String), u32>;

struct Scene {
    root: PathBuf,
    registry: Registry,
    keeper: Volume,
    node: Node,
    injector: Injector,
    volumes: usize,
}

impl Scene {
    async fn new() -> Self {
        let root = namespace::scratch();
        let registry = Registry::start(Options::default());
        artifacts::skillimage(&registry, "team/keeper", "v1", &skills::docs_writer());
        let keeper = Volume::new(&root, "keeper", &registry.reference("team/keeper", "v1"));
        let node = Node::start(&root, &["--pull-backoff=0"]).await;
        node.client.publish(&keeper).await.unwrap();
        flushed(&root).await;
        let injector = Injector::start(node.id(), &root);
        Self { root, registry, keeper, node, injector, volumes: 0 }
    }

    /// A volume of a skill that the node does not have.
    fn volume(&mut self) -> (Volume, Skill) {
        self.volumes += 1;
        let (skill, tag) = (skill(self.volumes), format!("v{}", self.volumes));
        artifacts::skillimage(&self.registry, "team/code-review", &tag, &skill);
        let reference = self.registry.reference("team/code-review", &tag);
        (Volume::new(&self.root, &format!("csi-{}", self.volumes), &reference), skill)
    }

    fn assert_keeper(&self) {
        assert_eq!(tree::listing(&self.keeper.target), skills::docs_writer().listing());
    }

    /// A publish with a fault; then one without. Nothing if it has no such step.
    async fn publish(&mut self, fault: Fault, at: usize, tally: &mut Tally) -> Option<()> {
        let (volume, skill) = self.volume();
        self.injector.arm(fault, at);
        let outcome = self.node.client.publish(&volume).await;
        let step = self.injector.disarm();
        let context = format!("{fault:?}: {step:?}: {outcome:?}");
        let told = match &outcome {
            Ok(()) => "Ok".to_owned(),
            Err(status) => {
                assert!(status.message().contains(&told(fault)), "{context}");
                let mounted = mounts(&self.root).iter().any(|m| m.mount_point == volume.target);
                assert!(!mounted, "{context}");
                format!("{:?}", status.code())
            }
        };
        self.assert_keeper();
        self.node.client.publish(&volume).await.unwrap_or_else(|s| panic!("{context}: {s}"));
        assert_eq!(tree::listing(&volume.target), skill.listing(), "{context}");
        self.node.client.publish(&self.keeper).await.unwrap();
        self.node.client.unpublish(&volume).await.unwrap_or_else(|s| panic!("{context}: {s}"));
        self.assert_nothing_else(&context);
        *tally.entry((step.clone()?, told)).or_default() += 1;
        Some(())
    }

    /// An unpublish with a fault; then one without.
    async fn unpublish(&mut self, fault: Fault, at: usize, tally: &mut Tally) -> Option<()> {
        let (volume, _) = self.volume();
        self.node.client.publish(&volume).await.unwrap();
        self.injector.arm(fault, at);
        let outcome = self.node.client.unpublish(&volume).await;
        let step = self.injector.disarm();
        let context = format!("{fault:?}: {step:?}: {outcome:?}");
        let told = outcome.map_or_else(|status| format!("{:?}", status.code()), |()| "Ok".into());
        // Whatever fails, no pod is kept from what the kernel alone can do.
        let mounted = mounts(&self.root).iter().any(|m| m.mount_point == volume.target);
        assert!(!mounted, "{context}");
        self.assert_keeper();
        self.node.client.unpublish(&volume).await.unwrap_or_else(|s| panic!("{context}: {s}"));
        self.assert_nothing_else(&context);
        *tally.entry((step.clone()?, told)).or_default() += 1;
        Some(())
    }

    fn assert_nothing_else(&self, context: &str) {
        assert_eq!(mounts(&self.root).len(), 1, "{context}");
        let mut records = names(&self.root.join("state/volumes"));
        // What a failed removal left beside them goes at the next start.
        records.retain(|name| !name.starts_with('.'));
        assert_eq!(records, ["keeper.json"], "{context}");
        let pods = self.root.join("pods");
        for pod in names(&pods).into_iter().filter(|pod| pod != "keeper") {
            assert_eq!(names(&pods.join(&pod)), [""; 0], "{context}");
        }
    }

    /// What could not be removed goes at the next start.
    async fn end(self) {
        self.node.kill().await;
        for name in names(&self.root.join("state/quarantine")) {
            fs::remove_file(self.root.join("state/quarantine").join(name)).unwrap();
        }
        let node = Node::start(&self.root, &[]).await;
        flushed(&self.root).await;
        assert_whole(&self.root);
        node.client.unpublish(&self.keeper).await.unwrap();
        node.terminate().await;
        assert_clean(&self.root);
    }
}

/// The answers to each kind of step.
fn answers(tally: &Tally) -> BTreeMap<&str, Vec<&str>> {
    let mut answers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (step, told) in tally.keys() {
        answers.entry(step).or_default().push(told);
    }
    answers
}

async fn fail_everywhere(errno: Errno, of: &'static [&'static str]) -> [Tally; 2] {
    let mut scene = Scene::new().await;
    let mut tallies = [Tally::new(), Tally::new()];
    for lasts in [false, true] {
        let fault = Fault { errno, of, lasts, below: "" };
        for at in 0.. {
            if scene.publish(fault, at, &mut tallies[0]).await.is_none() {
                break;
            }
        }
        for at in 0.. {
            if scene.unpublish(fault, at, &mut tallies[1]).await.is_none() {
                break;
            }
        }
    }
    println!("{errno}: publish {:?}, unpublish {:?}", tallies[0], tallies[1]);
    scene.end().await;
    tallies
}

#[test]
fn an_input_output_error_at_any_step_passes() {
    run("io_errors::an_input_output_error_at_any_step_passes", async {
        let [publish, unpublish] = fail_everywhere(Errno::EIO, ERROR).await;
        // A step of the flush, or one that only saves work, fails nothing. `Unavailable` is for what
        // could not be undone, or whose record cannot be read.
        let publish = answers(&publish);
        for (step, told) in &publish {
            let known = ["Internal", "Ok", "Unavailable"];
            assert!(told.iter().all(|code| known.contains(code)), "{step}: {told:?}");
        }
        for step in ["chmod", "mkdir", "open", "rename", "write"] {
            assert!(publish[step].contains(&"Internal"), "{step}: {publish:?}");
        }
        assert!(publish["read"].contains(&"Internal"), "the artifact is not to blame: {publish:?}");
        let unpublish = answers(&unpublish);
        for (step, told) in &unpublish {
            assert!(told.iter().all(|code| ["Internal", "Ok"].contains(code)), "{step}: {told:?}");
        }
        assert!(unpublish.values().flatten().any(|code| *code == "Internal"), "{unpublish:?}");
    });
}

#[test]
fn a_full_disk_at_any_step_passes() {
    run("io_errors::a_full_disk_at_any_step_passes", async {
        let [publish, unpublish] = fail_everywhere(Errno::ENOSPC, FULL).await;
        let publish = answers(&publish);
        for step in ["mkdir", "open", "write"] {
            assert_eq!(publish[step].last(), Some(&"ResourceExhausted"), "{publish:?}");
        }
        for (step, told) in &publish {
            let known = ["Ok", "ResourceExhausted"];
            assert!(told.iter().all(|code| known.contains(code)), "{step}: {told:?}");
        }
        // It needs no space.
        assert!(answers(&unpublish).values().all(|told| *told == ["Ok"]), "{unpublish:?}");
    });
}

/// As after an error of the file system, for which the kernel makes it read-only.
#[test]
fn a_state_directory_that_becomes_read_only_keeps_no_pod_from_going() {
    run("io_errors::a_state_directory_that_becomes_read_only_keeps_no_pod_from_going", async {
        let mut scene = Scene::new().await;
        let (stored, skill) = scene.volume();
        let (missing, other) = scene.volume();
        let (published, _) = scene.volume();
        let Scene { root, registry, keeper, node, injector, .. } = &scene;
        node.client.publish(&stored).await.unwrap();
        node.client.unpublish(&stored).await.unwrap();
        node.client.publish(&published).await.unwrap();
        flushed(root).await;
        injector.arm(Fault { errno: Errno::EROFS, of: CHANGES, lasts: true, below: "state" }, 0);
        // What is published needs no disk.
        node.client.publish(keeper).await.unwrap();
        assert!(!node.client.condition(keeper).await.abnormal);
        let told = |outcome| {
            let (code, message) = refused(outcome);
            let message = message.replace(&root.display().to_string(), "ROOT");
            (code, message.replace(&registry.host(), "HOST"))
        };
        let read_only = "Read-only file system (os error 30)";
        let record = format!(
            "cannot record the volume: cannot write ROOT/state/volumes/csi-1.json: {read_only}"
        );
        assert_eq!(told(node.client.publish(&stored).await), (Code::Internal, record));
        let staging =
            format!("cannot pull HOST/team/code-review:v2: using the state directory: {read_only}");
        assert_eq!(told(node.client.publish(&missing).await), (Code::Internal, staging));
        for volume in [&stored, &missing] {
            assert!(!volume.target.exists());
        }
        // Its files are gone from the pod; it is only not forgotten, and kubelet asks again.
        let record = format!(
            "cannot forget volume csi-3: cannot remove ROOT/state/volumes/csi-3.json: {read_only}"
        );
        assert_eq!(told(node.client.unpublish(&published).await), (Code::Internal, record));
        assert!(!published.target.exists());
        assert_eq!(mounts(root).len(), 1);
        scene.assert_keeper();
        injector.disarm().expect("a step");
        node.client.unpublish(&published).await.unwrap();
        for (volume, skill) in [(&stored, skill), (&missing, other)] {
            node.client.publish(volume).await.unwrap();
            assert_eq!(tree::listing(&volume.target), skill.listing());
            node.client.unpublish(volume).await.unwrap();
        }
        // Nor does it start on such a disk; kubelet starts it again.
        let root = scene.root.clone();
        scene.end().await;
        let root = root.join("other");
        let state = root.join("state");
        fs::create_dir_all(&state).unwrap();
        let (tmpfs, flags) = (Some("tmpfs"), MsFlags::MS_RDONLY);
        nix::mount::mount(tmpfs, &state, tmpfs, flags, None::<&str>).unwrap();
        let output = command(&root).arg("--log-level=error").output().await.unwrap();
        assert_eq!(output.status.code(), Some(1));
        let told = String::from_utf8(output.stderr).unwrap();
        let expected = format!(
            "error: cannot prepare {}: Read-only file system (os error 30)\n",
            state.display()
        );
        assert_eq!(told, expected);
    });
}

/// The kernel says that it could not write something once, and not what.
#[test]
fn what_the_disk_could_not_take_is_pulled_again() {
    run("io_errors::what_the_disk_could_not_take_is_pulled_again", async {
        let mut scene = Scene::new().await;
        let (volume, skill) = scene.volume();
        scene
            .injector
            .arm(Fault { errno: Errno::EIO, of: &["syncfs"], lasts: false, below: "" }, 0);
        let Scene { root, registry, node, injector, .. } = &scene;
        node.client.publish(&volume).await.unwrap();
        while !node.client.condition(&volume).await.abnormal {
            tokio::task::yield_now().await;
        }
        injector.disarm().expect("a flush");
        let message = node.client.condition(&volume).await.message;
        assert!(message.ends_with("are damaged; a new pod gets them anew"), "{message}");
        // What was on the disk is believed as before.
        assert!(!node.client.condition(&scene.keeper).await.abnormal);
        let downloads = || registry.lines().iter().filter(|line| line.contains("/blobs/")).count();
        let before = downloads();
        let again = Volume::new(root, "again", &registry.reference("team/code-review", "v1"));
        node.client.publish(&again).await.unwrap();
        assert_eq!(downloads(), before + 2, "{:?}", registry.lines());
        assert_eq!(tree::listing(&again.target), skill.listing());
        flushed(root).await;
        for volume in [&volume, &again] {
            node.client.unpublish(volume).await.unwrap();
        }
        scene.end().await;
    });
}
