//! What kubelet does, for pods that come and go without a pause.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::watch;
use tonic::{Code, Status};

use crate::content::{Content, is_whole};
use crate::driver::Driver;
use crate::sample::Counts;
use crate::support::Random;
use crate::support::driver::Volume;

/// How often a volume is asked for before its pod is given up.
const TRIES: u32 = 4;

pub(crate) struct Caller {
    number: usize,
    driver: Arc<Driver>,
    content: Arc<Content>,
    counts: Arc<Counts>,
    random: Random,
}

impl Caller {
    pub(crate) fn new(
        number: usize,
        driver: &Arc<Driver>,
        content: &Arc<Content>,
        counts: &Arc<Counts>,
        random: Random,
    ) -> Self {
        let (driver, content, counts) = (driver.clone(), content.clone(), counts.clone());
        Self { number, driver, content, counts, random }
    }

    /// One volume of each kind, from the first call to the last.
    pub(crate) async fn warm_up(mut self) {
        for choice in 0..16 {
            let volume = self.content.volume(&self.driver.root, &format!("warm-{choice}"), choice);
            self.live(volume).await;
        }
    }

    /// Pod after pod, until `stopped`.
    pub(crate) async fn run(mut self, stopped: watch::Receiver<bool>) {
        let mut next = 0_u64;
        while !*stopped.borrow() {
            next += 1;
            let id = format!("csi-{}-{next}", self.number);
            let volume = self.content.volume(&self.driver.root, &id, self.random.next() >> 8);
            self.live(volume).await;
        }
    }

    /// A pod's whole life.
    async fn live(&mut self, volume: Volume) {
        let mut called_off = false;
        for _ in 0..TRIES {
            match self.publish(&volume).await {
                Ok(()) => {
                    called_off = false;
                    self.use_it(&volume).await;
                    break;
                }
                Err(status) => {
                    called_off = is_final(status.code());
                    if called_off {
                        // As kubelet: it removes the directory, and may never unpublish.
                        match fs::remove_dir(&volume.target) {
                            Err(error) if error.kind() == ErrorKind::NotFound => {}
                            Ok(()) => {}
                            Err(error) => self.counts.wrong(&format!("after {status}: {error}")),
                        }
                    }
                    let pause = Duration::from_millis(self.random.below(60));
                    tokio::time::sleep(pause).await;
                }
            }
        }
        if !called_off {
            self.unpublish(&volume).await;
        }
        if let Err(error) = fs::remove_dir(volume.target.parent().unwrap()) {
            self.counts.wrong(&format!("{}: the pod's directory stays: {error}", volume.id));
        }
    }

    async fn publish(&mut self, volume: &Volume) -> Result<(), Status> {
        let impatient = self.random.percent(10);
        let time = if impatient { self.random.below(40) } else { 20_000 };
        let call = self.driver.client.publish_within(volume, Duration::from_millis(time));
        let hung_up = impatient && self.random.percent(50);
        let outcome = if hung_up {
            let wait = Duration::from_millis(self.random.below(20));
            let outcome = tokio::time::timeout(wait, call).await;
            outcome.unwrap_or_else(|_| Err(Status::cancelled("the caller has hung up")))
        } else {
            call.await
        };
        let counter = match &outcome {
            Ok(()) => &self.counts.published,
            Err(status) if is_final(status.code()) => &self.counts.refused,
            Err(_) => &self.counts.unfinished,
        };
        counter.fetch_add(1, Relaxed);
        outcome
    }

    /// Reads every byte, and does what kubelet does meanwhile.
    async fn use_it(&mut self, volume: &Volume) {
        let found = tokio::task::block_in_place(|| check(&volume.target));
        if let Err(what) = found {
            self.counts.wrong(&format!("{}: {what}", volume.id));
        }
        if self.random.percent(10) {
            // A kubelet that was restarted.
            if let Err(status) = self.driver.client.publish(volume).await {
                self.counts.wrong(&format!("{}: published again: {status}", volume.id));
            }
        }
        if self.random.percent(10) {
            let condition = self.driver.client.condition(volume).await;
            if condition.abnormal {
                self.counts.wrong(&format!("{}: {}", volume.id, condition.message));
            }
        }
        let stay = if self.random.percent(1) { 4_000 } else { 10 };
        tokio::time::sleep(Duration::from_millis(self.random.below(stay))).await;
    }

    async fn unpublish(&mut self, volume: &Volume) {
        let mut calls = if self.random.percent(5) { 2 } else { 1 };
        while calls > 0 {
            match self.driver.client.unpublish(volume).await {
                Ok(()) => calls -= 1,
                // The publish that nobody waits for any more is still at it.
                Err(status) if status.code() == Code::Aborted => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err(status) => {
                    self.counts.wrong(&format!("{}: unpublish: {status}", volume.id));
                    return;
                }
            }
        }
        self.counts.unpublished.fetch_add(1, Relaxed);
    }
}

/// Kubelet's two kinds of codes (see `csi/status.rs`).
fn is_final(code: Code) -> bool {
    let others = [Code::Cancelled, Code::DeadlineExceeded, Code::Unavailable];
    !others.contains(&code) && !matches!(code, Code::ResourceExhausted | Code::Aborted)
}

/// One skill, or a directory for each of two.
fn check(target: &Path) -> Result<(), String> {
    let skills = match target.join("data").exists() {
        true => vec![target.to_owned()],
        false => {
            let entries = fs::read_dir(target).map_err(|error| error.to_string())?;
            entries.flatten().map(|entry| entry.path()).collect()
        }
    };
    if skills.is_empty() {
        return Err("it shows nothing".into());
    }
    for skill in skills {
        let data = fs::read(skill.join("data"));
        let data = data.map_err(|error| format!("{}: {error}", skill.display()))?;
        if !is_whole(&data) {
            return Err(format!("{} has wrong bytes", skill.display()));
        }
    }
    Ok(())
}
