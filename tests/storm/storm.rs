//! The storm itself: calls, a kill, a look at what is left, a start, and the same calls again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::caller::{self, Until};
use crate::catalogue::Catalogue;
use crate::checks;
use crate::model::{Slot, State};
use crate::namespace;
use crate::node::{Node, command};
use crate::operator;
use crate::quiet;
use crate::support::Random;
use crate::weather::Moment;
use crate::{CANARY, Checked};

/// How many volumes there are at once.
const SLOTS: usize = 12;
/// After so many kills the calls come to an end, and everything is compared.
const QUIET: u64 = 20;

/// What the callers share.
pub(crate) struct World {
    pub(crate) root: PathBuf,
    pub(crate) catalogue: Catalogue,
    pub(crate) counts: Counts,
    /// What kills have left of the volumes whose calls were not answered.
    pub(crate) left: Mutex<BTreeMap<&'static str, u64>>,
    /// The driver that serves; none once it was killed.
    driver: watch::Sender<Option<u32>>,
    answers: watch::Sender<u64>,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) publish_calls: AtomicU64,
    pub(crate) published: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) unpublish_calls: AtomicU64,
    pub(crate) unpublished: AtomicU64,
    pub(crate) unanswered: AtomicU64,
    pub(crate) evicted: AtomicU64,
    pub(crate) pruned: AtomicU64,
    pub(crate) verified: AtomicU64,
    pub(crate) bytes: AtomicU64,
}

impl World {
    /// Whether the driver was killed, so that no answer is expected of it.
    pub(crate) fn is_dead(&self) -> bool {
        self.driver.borrow().is_none()
    }

    /// The process that [`strike`](Self::strike) is to kill.
    pub(crate) fn victim(&self) -> u32 {
        self.driver.borrow().expect("a driver that serves")
    }

    /// SIGKILL, unless it is dead.
    pub(crate) fn strike(&self, victim: u32) {
        let is_alive = |driver: &mut Option<u32>| driver.take_if(|id| *id == victim).is_some();
        // First, so that whoever gets no answer knows why.
        if self.driver.send_if_modified(is_alive) {
            let id = Pid::from_raw(i32::try_from(victim).unwrap());
            kill(id, Signal::SIGKILL).unwrap();
        }
    }

    /// Returns when somebody has killed the driver.
    pub(crate) async fn wait_for_death(&self) {
        self.driver.subscribe().wait_for(Option::is_none).await.unwrap();
    }

    /// A call was answered as it should.
    pub(crate) fn answered(&self) {
        self.answers.send_modify(|count| *count += 1);
    }

    /// Returns after so many answers of this driver.
    pub(crate) async fn wait_for_answers(&self, count: u64) {
        self.answers.subscribe().wait_for(|now| *now >= count).await.unwrap();
    }
}

struct Storm {
    world: Arc<World>,
    slots: Vec<Slot>,
    flags: Vec<String>,
    random: Random,
    kill: u64,
}

pub(crate) async fn run(seed: u64, kills: u64) {
    let mut random = Random::new(seed);
    let root = namespace::scratch();
    std::fs::create_dir_all(root.join("pods")).unwrap();
    let catalogue = Catalogue::new(&mut random.fork());
    // Not much more than what a few volumes show: what is not mounted goes at each start.
    let budget = catalogue.bytes() / 6;
    let flags =
        ["--gc-min-age=0", "--gc-high-threshold=100", "--pull-backoff=0", "--scrub-interval=1"];
    let mut flags = flags.map(String::from).to_vec();
    flags.push(format!("--gc-max-bytes={budget}"));
    let world = World {
        root,
        catalogue,
        counts: Counts::default(),
        left: Mutex::default(),
        driver: watch::Sender::new(None),
        answers: watch::Sender::new(0),
    };
    let slots = (0..SLOTS).map(|number| Slot::new(number, random.fork())).collect();
    let mut storm = Storm { world: Arc::new(world), slots, flags, random, kill: 0 };
    let start = Instant::now();
    let outcome = storm.blow(kills).await;
    println!("{} kills in {:.1?}: {:?}", storm.kill, start.elapsed(), storm.world.counts);
    println!("left of what was not answered: {:?}", storm.world.left.lock().unwrap());
    if let Err(text) = outcome {
        for slot in &storm.slots {
            println!("slot {}:\n  {}", slot.number, slot.history.join("\n  "));
        }
        panic!("SKILLMOUNT_STORM_SEED={seed}, kill {}: {text}", storm.kill);
    }
}

impl Storm {
    async fn blow(&mut self, kills: u64) -> Checked {
        while self.kill < kills {
            self.kill += 1;
            let kill = self.kill;
            let moment = Moment::draw(&mut self.random);
            self.slots.iter_mut().for_each(|slot| slot.note(format!("kill {kill}: {moment:?}")));
            match moment {
                Moment::Starting(after) => self.kill_while_it_starts(after).await?,
                moment => self.kill_at(&moment).await?,
            }
            checks::all(&self.world, &self.slots, false)
                .map_err(|text| format!("after the kill: {text}"))?;
            operator::between_drivers(&self.world, &mut self.random).await?;
            if self.kill.is_multiple_of(QUIET) || self.kill == kills {
                let node = self.start().await?;
                self.calls(&node, Until::Answered).await?;
                quiet::check(&self.world, &mut self.slots, &node).await?;
                self.stop(node).await?;
            }
        }
        let node = self.start().await?;
        self.calls(&node, Until::Gone).await?;
        quiet::check(&self.world, &mut self.slots, &node).await?;
        self.stop(node).await?;
        operator::prune(&self.world).await?;
        quiet::check_end(&self.world)
    }

    /// A driver for what the last one has left, which must be whole again before anybody calls.
    async fn start(&mut self) -> Checked<Node> {
        self.world.catalogue.driver_started();
        self.world.catalogue.registry.clear();
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        let node = Node::start(&self.world.root, &flags).await;
        self.world.driver.send_replace(Some(node.id()));
        self.world.answers.send_replace(0);
        let recovered = checks::all(&self.world, &self.slots, true);
        recovered.map_err(|text| format!("after the start: {text}"))?;
        for slot in &mut self.slots {
            let State::Published(ask, _) = &slot.state else { continue };
            let condition = node.client.condition(&ask.volume).await;
            if condition.abnormal {
                return Err(format!("{}: {}", ask.id(), condition.message));
            }
        }
        Ok(node)
    }

    async fn kill_while_it_starts(&mut self, after: Duration) -> Checked {
        let mut command = command(&self.world.root);
        let command = command.args(&self.flags).stderr(std::process::Stdio::null());
        let mut child = command.spawn().unwrap();
        tokio::time::sleep(after).await;
        child.kill().await.unwrap();
        Ok(())
    }

    async fn kill_at(&mut self, moment: &Moment) -> Checked {
        let node = self.start().await?;
        let gate = moment.prepare(&self.world);
        let mut calls = self.spawn(&node, Until::Killed);
        let (world, mut random) = (self.world.clone(), self.random.fork());
        let people = tokio::spawn(async move {
            for _ in 0..random.below(3) {
                tokio::time::sleep(Duration::from_micros(random.below(20_000))).await;
                world.catalogue.release(&mut random);
            }
            operator::beside_a_driver(&world, &mut random).await
        });
        tokio::select! {
            () = moment.comes(&self.world, &gate) => {}
            // None ends while the driver lives, but by a violation.
            ended = calls.join_next() => self.ended(ended.unwrap().unwrap())?,
        }
        self.world.strike(node.id());
        let log = node.kill().await;
        Moment::pass(&self.world, &gate);
        while let Some(ended) = calls.join_next().await {
            self.ended(ended.unwrap())?;
        }
        self.slots.sort_by_key(|slot| slot.number);
        people.await.unwrap()?;
        self.judge(&log)
    }

    async fn calls(&mut self, node: &Node, until: Until) -> Checked {
        let mut calls = self.spawn(node, until);
        while let Some(ended) = calls.join_next().await {
            self.ended(ended.unwrap())?;
        }
        self.slots.sort_by_key(|slot| slot.number);
        Ok(())
    }

    fn spawn(&mut self, node: &Node, until: Until) -> JoinSet<(Slot, Checked)> {
        let mut calls = JoinSet::new();
        for mut slot in self.slots.drain(..) {
            let (world, client) = (self.world.clone(), node.client.clone());
            calls.spawn(async move {
                let outcome = caller::work(&world, &mut slot, &client, until).await;
                (slot, outcome)
            });
        }
        calls
    }

    fn ended(&mut self, (mut slot, outcome): (Slot, Checked)) -> Checked {
        let number = slot.number;
        if let Err(text) = &outcome {
            slot.note(format!("VIOLATION: {text}"));
        }
        self.slots.push(slot);
        outcome.map_err(|text| format!("slot {number}: {text}"))
    }

    /// Stops the driver as a rolling update does.
    async fn stop(&mut self, node: Node) -> Checked {
        self.world.driver.send_replace(None);
        let (status, log) = node.terminate().await;
        if !status.success() {
            return Err(format!("stopped, it ends with {status}:\n{log}"));
        }
        self.judge(&log)
    }

    fn judge(&self, log: &str) -> Checked {
        for line in log.lines() {
            if line.contains("panicked") || line.contains(" ERROR ") || line.contains(CANARY) {
                return Err(format!("the log says: {line}"));
            }
            if line.contains("collected garbage") {
                let count = line.split_once(" trees=").and_then(|(_, rest)| rest.split(' ').next());
                let count: u64 = count.and_then(|count| count.parse().ok()).unwrap_or_default();
                self.world.counts.evicted.fetch_add(count, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}
