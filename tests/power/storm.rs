//! What kubelet does on a machine whose power goes, and what it must find.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::machine::Machine;
use crate::mounts;
use crate::node::Node;
use crate::support::Random;
use crate::support::driver::Volume;
use crate::support::tree::{contents, names};
use crate::support::{Options, Registry, Skill, artifacts};

/// Kubelet's workers, and how many volumes each has.
const WORKERS: u64 = 4;
const VOLUMES_OF_ONE: u64 = 3;
/// What one of them does at most before the power goes.
const CALLS: u64 = 60;

/// What was found after cuts, and counted.
#[derive(Debug, Default)]
pub(crate) struct Found {
    publishes: u64,
    unpublishes: u64,
    /// Directories of trees on the disk when power came.
    trees_left: u64,
    /// Those that the driver believed.
    trees_believed: u64,
    /// Files that it put aside.
    unreadable: u64,
    /// Volumes published again, all of their bytes compared.
    compared: u64,
    /// Blobs that were downloaded again for them.
    blobs: u64,
}

impl Found {
    pub(crate) fn add(&mut self, other: &Self) {
        self.publishes += other.publishes;
        self.unpublishes += other.unpublishes;
        self.trees_left += other.trees_left;
        self.trees_believed += other.trees_believed;
        self.unreadable += other.unreadable;
        self.compared += other.compared;
        self.blobs += other.blobs;
    }
}

pub(crate) struct Storm {
    random: Random,
    registry: Registry,
    /// The skills that there are: numbers below this.
    skills: u64,
    /// Which skill each pod's volume is to show.
    wanted: BTreeMap<String, u64>,
    /// The trees that have survived a cut, and may not be lost by another.
    believed: BTreeSet<String>,
    pub(crate) found: Found,
}

/// Of several files, each of it another length and other bytes than in any other skill.
fn skill(number: u64) -> Skill {
    let mut random = Random::new(number);
    let name = format!("skill-{number}");
    let files = 1 + random.below(12);
    (0..files).fold(Skill::new(&name, "Is one of many."), |skill, file| {
        let lines = 1 + random.below(400);
        let line = |line| format!("{number} {file} {line} {:x}\n", random.next());
        let text: String = (0..lines).map(line).collect();
        skill.file(&format!("part-{}/{file}.md", file % 3), text, 0o644)
    })
}

/// What a pod would read.
fn expected(skill: &Skill) -> BTreeMap<String, Vec<u8>> {
    skill.files.iter().map(|(path, file)| (path.clone(), file.content.clone())).collect()
}

fn volume(root: &Path, registry: &Registry, id: &str, number: u64) -> Volume {
    Volume::new(root, id, &registry.reference("team/skill", &format!("v{number}")))
}

/// Everything is asked for by tag and may be served from the store, as with most pods.
fn asked(root: &Path, registry: &Registry, id: &str, number: u64) -> Volume {
    volume(root, registry, id, number).attribute("pullPolicy", "IfNotPresent")
}

impl Storm {
    pub(crate) fn new(random: Random) -> Self {
        Self {
            random,
            registry: Registry::start(Options::default()),
            skills: 0,
            wanted: BTreeMap::new(),
            believed: BTreeSet::new(),
            found: Found::default(),
        }
    }

    /// Starts the driver on what a cut has left, and does what kubelet does then.
    pub(crate) async fn recover(&mut self, machine: &Machine) -> Node {
        let root = &machine.root;
        self.found.trees_left += stored(root).len() as u64;
        // Half of the time with too few bytes for all, so that trees go too.
        let collects = self.random.below(2) == 0;
        let flags: &[&str] = match collects {
            true => &["--gc-max-bytes=100000", "--gc-min-age=0", "--gc-high-threshold=100"],
            false => &["--gc-high-threshold=100"],
        };
        // It starts, or this panics with its log.
        let node = Node::start(root, flags).await;
        let believed = stored(root);
        if !collects {
            let lost: Vec<_> = self.believed.difference(&believed).collect();
            assert_eq!(lost, [""; 0], "trees that were on the disk for certain are gone");
            for key in &believed {
                assert_tree(&root.join("state/trees").join(key));
            }
            verify(root);
        }
        self.found.trees_believed += believed.len() as u64;
        for directory in ["volumes", "references", "grants", "manifests"] {
            let names = names(&root.join("state").join(directory));
            let temporary = names.iter().filter(|name| name.starts_with('.')).count();
            assert_eq!(temporary, 0, "{directory}");
        }
        let quarantine = root.join("state/quarantine");
        self.found.unreadable += names(&quarantine).len() as u64;
        for name in names(&quarantine) {
            fs::remove_file(quarantine.join(name)).unwrap();
        }

        // The pods are to run again, all of them.
        assert_eq!(mounts(root), [], "nothing is mounted by itself");
        self.registry.clear();
        for (id, &number) in &self.wanted {
            let volume = asked(root, &self.registry, id, number);
            node.client.publish(&volume).await.unwrap_or_else(|s| panic!("{id}: {s}"));
            assert_eq!(contents(&volume.target), expected(&skill(number)), "{id}: skill {number}");
            self.found.compared += 1;
        }
        self.found.blobs += self.registry.count("GET", "/blobs/") as u64;
        // Kubelet has not forgotten those that it had unmounted, and may ask once more.
        for id in (0..WORKERS * VOLUMES_OF_ONE).map(id).filter(|id| !self.wanted.contains_key(id)) {
            let gone = volume(root, &self.registry, &id, 0);
            node.client.unpublish(&gone).await.unwrap_or_else(|s| panic!("{id}: {s}"));
            assert!(!gone.target.exists(), "{id}");
        }
        assert_eq!(mounts(root).len(), self.wanted.len());
        let records: BTreeSet<_> = names(&root.join("state/volumes")).into_iter().collect();
        let wanted: BTreeSet<_> = self.wanted.keys().map(|id| format!("{id}.json")).collect();
        assert_eq!(records, wanted);
        self.believed = match collects {
            true => BTreeSet::new(),
            false => believed,
        };
        node
    }

    /// Publishes and unpublishes until the power goes, or for a while.
    pub(crate) async fn rage(&mut self, machine: &Machine, node: &Node) {
        for number in self.skills..self.skills + 10 {
            let tag = format!("v{number}");
            artifacts::skillimage(&self.registry, "team/skill", &tag, &skill(number));
        }
        self.skills += 10;
        let calls = 1 + self.random.below(CALLS);
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| Worker {
                machine,
                node,
                registry: &self.registry,
                random: self.random.fork(),
                skills: self.skills,
                wanted: BTreeMap::new(),
                all: (0..VOLUMES_OF_ONE).map(|n| id(worker * VOLUMES_OF_ONE + n)).collect(),
                calls: (0, 0),
            })
            .collect();
        let wanted = std::mem::take(&mut self.wanted);
        let workers = workers.into_iter().map(|mut worker| {
            worker.wanted =
                wanted.iter().filter(|(id, _)| worker.all.contains(id)).map(own).collect();
            worker.work(calls)
        });
        for worker in futures_util::future::join_all(workers).await {
            self.found.publishes += worker.calls.0;
            self.found.unpublishes += worker.calls.1;
            self.wanted.extend(worker.wanted);
        }
    }
}

fn own((id, number): (&String, &u64)) -> (String, u64) {
    (id.clone(), *number)
}

fn id(number: u64) -> String {
    format!("csi-{number}")
}

/// One of kubelet's workers, with volumes that no other one has.
struct Worker<'a> {
    machine: &'a Machine,
    node: &'a Node,
    registry: &'a Registry,
    random: Random,
    skills: u64,
    wanted: BTreeMap<String, u64>,
    all: Vec<String>,
    /// Publishes and unpublishes.
    calls: (u64, u64),
}

impl Worker<'_> {
    async fn work(mut self, calls: u64) -> Self {
        let root = &self.machine.root;
        for _ in 0..calls {
            let id = self.random.one_of(&self.all.iter().collect::<Vec<_>>()).clone();
            if let Some(number) = self.wanted.remove(&id) {
                let volume = volume(root, self.registry, &id, number);
                assert_eq!(contents(&volume.target), expected(&skill(number)), "{id}");
                self.node.client.unpublish(&volume).await.unwrap_or_else(|s| panic!("{id}: {s}"));
                self.calls.1 += 1;
            } else {
                // New ones more often than those that are there.
                let number = match self.random.below(3) {
                    0 => self.random.below(self.skills),
                    _ => self.skills - 1 - self.random.below(10),
                };
                let volume = asked(root, self.registry, &id, number);
                self.node.client.publish(&volume).await.unwrap_or_else(|s| panic!("{id}: {s}"));
                self.wanted.insert(id, number);
                self.calls.0 += 1;
            }
            if self.machine.is_cut() {
                break;
            }
        }
        self
    }
}

/// The keys of the trees that are described.
fn stored(root: &Path) -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir(root.join("state/trees")) else { return BTreeSet::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter_map(|name| name.strip_suffix(".json").map(Into::into)).collect()
}

/// Every byte of a stored tree is that of its skill, of which nothing in the state directory is
/// believed but the name.
fn assert_tree(tree: &Path) {
    let [name] = names(&tree.join("0")).try_into().unwrap();
    let number = name.strip_prefix("skill-").unwrap().parse().unwrap();
    let found = contents(tree.join("0").join(&name));
    assert!(found == expected(&skill(number)), "{} is not {name}", tree.display());
}

/// `skillmount verify` finds nothing damaged.
fn verify(root: &Path) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skillmount"));
    let state = format!("--state-dir={}", root.join("state").display());
    let output = command.env_clear().args(["verify", &state]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.ends_with("damaged: 0, not known: 0\n"), "{text}");
}
