//! SIGKILL at any moment: nothing is lost, nothing leaks, nothing is wrong.
//!
//! `SKILLMOUNT_TEST_KILL_ROUNDS` (default 30) and `SKILLMOUNT_TEST_KILL_SEED` choose how often and
//! when the kills at random moments come. Those before each step are always the same.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use skillmount::store::{Record, RecordState, peek_records};

use super::*;
use crate::node::Node;
use crate::support::driver::Client;
use crate::support::{Fault, Gate, On, Skill};
#[cfg(target_env = "gnu")]
use crate::tracer::Tracer;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit.max(1)
    }
}

/// Of two files, since each takes three steps of its own.
fn skill(number: usize) -> Skill {
    let text = format!("{number} ").repeat(2000);
    Skill::new("code-review", "Reviews code.").file("references/number.md", text, 0o644)
}

/// What a pod would read.
fn expected(skill: &Skill) -> BTreeMap<String, Vec<u8>> {
    skill.files.iter().map(|(path, file)| (path.clone(), file.content.clone())).collect()
}

/// What a killed driver has left of the volume that it was at work for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Left {
    Nothing,
    /// A record, and no target.
    Record,
    /// A target on which nothing is mounted.
    Target,
    /// A mount, and a record that says that it is being made.
    Mount,
    /// A mount, and a record that says that it is made.
    Whole,
}

/// A node with a volume that stays published through everything that happens to another.
struct Scene {
    root: PathBuf,
    registry: Registry,
    keeper: Volume,
    /// How often each state was left.
    tally: BTreeMap<(&'static str, Left), u32>,
}

impl Scene {
    async fn new() -> Self {
        let root = namespace::scratch();
        let registry = Registry::start(Options::default());
        artifacts::skillimage(&registry, "team/keeper", "v1", &skills::docs_writer());
        let keeper = Volume::new(&root, "keeper", &registry.reference("team/keeper", "v1"));
        let node = Node::start(&root, &[]).await;
        node.client.publish(&keeper).await.unwrap();
        node.kill().await;
        Self { root, registry, keeper, tally: BTreeMap::new() }
    }

    /// A volume of a skill that the node does not have.
    fn volume(&self, number: usize) -> (Volume, Skill) {
        let (skill, tag) = (skill(number), format!("v{number}"));
        artifacts::skillimage(&self.registry, "team/code-review", &tag, &skill);
        let reference = self.registry.reference("team/code-review", &tag);
        (Volume::new(&self.root, &format!("csi-{number}"), &reference), skill)
    }

    /// All records; each is understood at any moment.
    fn records(&self) -> Vec<Record> {
        let (records, odd) = peek_records(&self.root.join("state")).unwrap();
        assert_eq!(odd, [""; 0].map(PathBuf::from));
        records
    }

    fn record(&self, volume: &Volume) -> Option<Record> {
        self.records().into_iter().find(|record| record.volume_id == volume.id)
    }

    fn left(&mut self, call: &'static str, volume: &Volume) -> Left {
        let mounted = mounts(&self.root).iter().filter(|m| m.mount_point == volume.target).count();
        let state = self.record(volume).map(|record| record.state);
        let left = match (state, volume.target.exists(), mounted) {
            (None, false, 0) => Left::Nothing,
            (Some(_), false, 0) => Left::Record,
            (_, true, 0) => Left::Target,
            (Some(RecordState::Publishing), true, 1) => Left::Mount,
            (Some(RecordState::Published), true, 1) => Left::Whole,
            other => panic!("{call}: {other:?}"),
        };
        *self.tally.entry((call, left)).or_default() += 1;
        left
    }

    /// Starts the driver again. Nothing half-made may be left, and what was published is.
    async fn restart(&self) -> Node {
        let node = Node::start(&self.root, &[]).await;
        flushed(&self.root).await;
        assert_whole(&self.root);
        for record in self.records() {
            for tree in &record.trees {
                let tree = self.root.join("state/trees").join(tree);
                let volume = &record.volume_id;
                assert!(tree.is_dir(), "{volume} shows a tree that is gone: {}", tree.display());
            }
        }
        self.assert_published(&node.client, &self.keeper, &skills::docs_writer()).await;
        node
    }

    /// The volume shows the skill, is well, and publishing it again takes no network.
    async fn assert_published(&self, client: &Client, volume: &Volume, skill: &Skill) {
        assert_eq!(tree::contents(&volume.target), expected(skill), "{}", volume.id);
        let condition = client.condition(volume).await;
        assert!(!condition.abnormal, "{}: {}", volume.id, condition.message);
        let before = (self.registry.lines().len(), mounts(&self.root));
        client.publish(volume).await.unwrap();
        assert_eq!((self.registry.lines().len(), mounts(&self.root)), before, "{}", volume.id);
    }

    /// Nothing is left of any volume but the one that stays.
    fn assert_nothing_else(&self) {
        assert_whole(&self.root);
        let found: Vec<_> = mounts(&self.root).into_iter().map(|mount| mount.mount_point).collect();
        assert_eq!(found, std::slice::from_ref(&self.keeper.target));
        assert_eq!(names(&self.root.join("state/volumes")), ["keeper.json"]);
        for pod in names(&self.root.join("pods")) {
            let left = names(&self.root.join("pods").join(&pod));
            let expected: &[&str] = if pod == "keeper" { &["mount"] } else { &[] };
            assert_eq!(left, expected, "{pod}");
        }
    }

    /// What kubelet does after a publish that was cut off, and what must hold. `again` is the
    /// volume published again, otherwise the pod has gone meanwhile.
    async fn after_publish(
        &mut self,
        volume: &Volume,
        skill: &Skill,
        answered: bool,
        again: bool,
    ) -> Node {
        let left = self.left("publish", volume);
        let context = format!("{}, of which was left: {left:?}", volume.id);
        if answered {
            assert_eq!(left, Left::Whole, "{context}");
        }
        if left >= Left::Mount {
            assert_eq!(tree::contents(&volume.target), expected(skill), "{context}");
        }
        let node = self.restart().await;
        // All or nothing.
        if left == Left::Whole {
            self.assert_published(&node.client, volume, skill).await;
        } else {
            assert!(self.record(volume).is_none(), "{context}");
            assert!(!volume.target.exists() || left == Left::Target, "{context}");
            assert_eq!(mounts(&self.root).len(), 1, "{context}");
        }
        if again {
            let outcome = node.client.publish(volume).await;
            outcome.unwrap_or_else(|status| panic!("{context}: {status}"));
            self.assert_published(&node.client, volume, skill).await;
            assert_eq!(mounts(&self.root).len(), 2, "{context}");
        }
        let outcome = node.client.unpublish(volume).await;
        outcome.unwrap_or_else(|status| panic!("{context}: {status}"));
        self.assert_nothing_else();
        node
    }

    /// What kubelet does after an unpublish that was cut off, and what must hold.
    async fn after_unpublish(&mut self, volume: &Volume, skill: &Skill, answered: bool) -> Node {
        let left = self.left("unpublish", volume);
        let context = format!("{}, of which was left: {left:?}", volume.id);
        assert_ne!(left, Left::Mount, "{context}");
        if answered {
            assert_eq!(left, Left::Nothing, "{context}");
        }
        let node = self.restart().await;
        if left == Left::Whole {
            self.assert_published(&node.client, volume, skill).await;
        }
        let outcome = node.client.unpublish(volume).await;
        outcome.unwrap_or_else(|status| panic!("{context}: {status}"));
        self.assert_nothing_else();
        node
    }

    async fn end(self, node: Node) {
        for ((call, left), count) in &self.tally {
            println!("{call}: {count} times left: {left:?}");
        }
        node.client.unpublish(&self.keeper).await.unwrap();
        node.terminate().await;
        assert_clean(&self.root);
    }
}

/// Calls the driver, and kills it when the time is up. Whether it has answered by then.
async fn cut(
    node: Node,
    call: impl Future<Output = Result<(), Status>> + Send + 'static,
    after: Duration,
) -> bool {
    let call = tokio::spawn(call);
    tokio::time::sleep(after).await;
    node.kill().await;
    call.await.unwrap().is_ok()
}

#[test]
fn kill_at_random_moments_loses_and_leaks_nothing() {
    run("crash::kill_at_random_moments_loses_and_leaks_nothing", async {
        let rounds = number("SKILLMOUNT_TEST_KILL_ROUNDS", 30);
        let seed = number("SKILLMOUNT_TEST_KILL_SEED", 0x5eed_5eed_5eed);
        println!("{rounds} rounds, seed {seed}");
        let mut random = Random(seed | 1);
        let mut scene = Scene::new().await;

        // How long the calls take here: publish with a pull, publish of what is stored, unpublish.
        let mut took = [const { vec![] }; 3];
        let mut node = scene.restart().await;
        for sample in 0..5 {
            let (volume, _) = scene.volume(1_000_000 + sample);
            for [publish, unpublish] in [[0, 2], [1, 2]] {
                let start = Instant::now();
                node.client.publish(&volume).await.unwrap();
                took[publish].push(start.elapsed());
                let start = Instant::now();
                node.client.unpublish(&volume).await.unwrap();
                took[unpublish].push(start.elapsed());
            }
        }
        // The median: the first call of all opens connections.
        let took = took.map(|mut samples| {
            samples.sort();
            samples[samples.len() / 2]
        });
        println!("a pull takes {:?}, a publish {:?}, an unpublish {:?}", took[0], took[1], took[2]);
        let mut delay = |call: usize| {
            let limit = u64::try_from(took[call].as_micros()).unwrap();
            Duration::from_micros(random.below(limit + limit / 4))
        };

        for round in 0..usize::try_from(rounds).unwrap() {
            let (volume, skill) = scene.volume(round);
            let stored = round % 2 == 1;
            if stored {
                node.client.publish(&volume).await.unwrap();
                node.client.unpublish(&volume).await.unwrap();
            }
            let (client, asked) = (node.client.clone(), volume.clone());
            let publish = async move { client.publish(&asked).await };
            let answered = cut(node, publish, delay(usize::from(stored))).await;
            node = scene.after_publish(&volume, &skill, answered, round % 3 != 0).await;

            node.client.publish(&volume).await.unwrap();
            let (client, asked) = (node.client.clone(), volume.clone());
            let unpublish = async move { client.unpublish(&asked).await };
            let answered = cut(node, unpublish, delay(2)).await;
            node = scene.after_unpublish(&volume, &skill, answered).await;
        }
        scene.end(node).await;
    });
}

/// Lets the driver run into its `at`th step of a call, and kills it before that one. Which it
/// was: none if the call came to its end without one.
#[cfg(target_env = "gnu")]
pub(crate) async fn killed_at(
    node: Node,
    at: usize,
    root: &Path,
    call: impl Future<Output = Result<(), Status>> + Send + 'static,
) -> Option<String> {
    let tracer = Tracer::start(node.id(), at, root);
    let answered = call.await.is_ok();
    node.kill().await;
    let step = tracer.killed();
    if answered { None } else { Some(step.expect("it was killed at a step")) }
}

/// Not at random: before each system call of publish and unpublish that changes a directory or
/// the mounts, from the first to the last.
#[test]
#[cfg(target_env = "gnu")]
fn kill_before_every_step_of_publish_and_unpublish_loses_and_leaks_nothing() {
    run("crash::kill_before_every_step_of_publish_and_unpublish_loses_and_leaks_nothing", async {
        let mut scene = Scene::new().await;
        let root = scene.root.clone();
        let mut told = vec![];
        let mut node = scene.restart().await;
        for case in ["a publish that pulls", "a publish of what is stored", "an unpublish"] {
            let mut steps: Vec<String> = vec![];
            loop {
                let number = 1000 * (told.len() + 1) + steps.len();
                let (volume, skill) = scene.volume(number);
                if case != "a publish that pulls" {
                    node.client.publish(&volume).await.unwrap();
                }
                if case == "a publish of what is stored" {
                    node.client.unpublish(&volume).await.unwrap();
                }
                let (client, asked) = (node.client.clone(), volume.clone());
                let unpublish = case == "an unpublish";
                let call = async move {
                    match unpublish {
                        true => client.unpublish(&asked).await,
                        false => client.publish(&asked).await,
                    }
                };
                let step = killed_at(node, steps.len(), &root, call).await;
                let answered = step.is_none();
                node = match unpublish {
                    true => scene.after_unpublish(&volume, &skill, answered).await,
                    false => {
                        let again = steps.len().is_multiple_of(2);
                        scene.after_publish(&volume, &skill, answered, again).await
                    }
                };
                match step {
                    Some(step) => steps.push(step),
                    None => break,
                }
            }
            println!("{case}: {} steps: {}", steps.len(), steps.join(" "));
            told.push(steps);
        }
        // What a pull flushes meanwhile comes between its steps, elsewhere each time: one of those
        // that make the mount may be missed.
        let reached = [
            ["mount", "fsopen", "fsmount", "move_mount"],
            ["mount", "mount", "move_mount", "move_mount"],
            ["umount"; 4],
        ];
        for (steps, of) in told.iter().zip(reached) {
            assert!(steps.iter().any(|step| of.contains(&step.as_str())), "{steps:?}");
        }
        scene.end(node).await;
    });
}

/// The steps that wait for the registry, each killed in its middle.
#[test]
fn kill_while_the_registry_is_waited_for_starts_the_pull_again() {
    run("crash::kill_while_the_registry_is_waited_for_starts_the_pull_again", async {
        let mut scene = Scene::new().await;
        let mut node = scene.restart().await;
        for (number, step) in ["manifest", "blob", "half a blob"].into_iter().enumerate() {
            let (volume, skill) = scene.volume(number);
            let tag = format!("v{number}");
            let layer = &scene.registry.layers("team/code-review", &tag)[0];
            let gate = Gate::held();
            let (on, fault) = match step {
                "manifest" => (On::manifest(&tag), Fault::Stall(gate.clone())),
                "blob" => (On::blob(layer), Fault::Stall(gate.clone())),
                _ => (On::blob(layer), Fault::Hold { after: 200, gate: gate.clone() }),
            };
            scene.registry.fault(on, fault);
            let call = tokio::spawn({
                let (client, volume) = (node.client.clone(), volume.clone());
                async move { client.publish(&volume).await }
            });
            gate.wait_for_waiting(1).await;
            node.kill().await;
            assert!(call.await.unwrap().is_err());
            gate.release();
            node = scene.after_publish(&volume, &skill, false, true).await;
        }
        assert_eq!(scene.tally, [(("publish", Left::Nothing), 3)].into());
        scene.end(node).await;
    });
}
