//! What a pod is told of its skills while they come: the events of kubelet's image pulling, at the
//! same points. Each call of kubelet is one of many for the same pull, so what was told of a pull
//! that still runs is remembered until its end is told.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::publish::MAX_WARNINGS;
use super::{PublishError, PublishRequest, Volumes};
use crate::events::{Event, Events, Subject};
use crate::observability::chain;
use crate::pull::{Progress, PullError, Pulled, Source};
use crate::store::Record;

/// Pulls that are remembered. Of more, the beginning is told with each call.
const MAX_RUNNING: usize = 1024;

/// Tells pods.
#[derive(Debug)]
pub(super) struct Teller {
    events: Events,
    /// The pulls that a pod was told of, by volume and source, whose end it was not told yet.
    running: Mutex<HashMap<(String, Source), Arc<Progress>>>,
    /// What was told of the condition of volumes, by their ids.
    abnormal: Mutex<HashMap<String, String>>,
}

/// Tells one pod of one of its volumes.
#[derive(Debug)]
pub(super) struct Telling<'a> {
    teller: &'a Teller,
    volume_id: &'a str,
    about: Arc<Subject>,
}

impl Volumes {
    /// What tells the pod of a volume; none where no events are wanted, or kubelet does not say
    /// whose volume it is.
    pub(super) fn telling<'a>(&'a self, request: &'a PublishRequest) -> Option<Telling<'a>> {
        let teller = self.teller.as_ref()?;
        let about = Arc::new(Subject::of(&request.pod, &request.target)?);
        Some(Telling { teller, volume_id: &request.volume_id, about })
    }
}

impl Teller {
    pub(super) fn new(events: Events) -> Self {
        Self { events, running: Mutex::default(), abnormal: Mutex::default() }
    }

    /// Nobody is to be told of this volume any more.
    pub(super) fn forget(&self, volume_id: &str) {
        self.running().retain(|(id, _), _| id != volume_id);
        self.abnormal().remove(volume_id);
    }

    /// The condition of a volume: what is wrong with it is told once.
    pub(super) fn condition(&self, record: &Record, problem: Option<&str>) {
        let Some(problem) = problem else {
            self.abnormal().remove(&record.volume_id);
            return;
        };
        let Some(subject) = Subject::of(&record.pod, &record.target) else { return };
        let told = self.abnormal().insert(record.volume_id.clone(), problem.to_owned());
        if told.as_deref() != Some(problem) {
            self.events.tell(&Arc::new(subject), &Event::Abnormal { problem });
        }
    }

    fn abnormal(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.abnormal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> MutexGuard<'_, HashMap<(String, Source), Arc<Progress>>> {
        // The table stays consistent between statements.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Telling<'_> {
    /// Waits for a pull and tells how it goes, from the moment when a registry is asked.
    pub(super) async fn follow(
        &self,
        source: &Source,
        progress: Arc<Progress>,
        pull: impl Future<Output = Result<Arc<Pulled>, PublishError>>,
    ) -> Result<Arc<Pulled>, PublishError> {
        let mut pull = pin!(pull);
        let outcome = tokio::select! {
            // What has been asked is told first, also where the answer is there too.
            biased;
            () = progress.asked() => {
                self.begun(source, &progress);
                pull.await
            }
            outcome = &mut pull => {
                if progress.has_asked() {
                    self.begun(source, &progress);
                }
                outcome
            }
        };
        match &outcome {
            Ok(pulled) => self.arrived(pulled, Some(&progress)),
            Err(error) => self.failed(source, error),
        }
        outcome
    }

    /// It is here: fetched by a pull that this pod waited for, or by another.
    pub(super) fn arrived(&self, pulled: &Pulled, progress: Option<&Progress>) {
        let earlier = self.ended(&pulled.source);
        let took = match progress.filter(|_| !pulled.local) {
            Some(progress) => progress.took(),
            // One that outlasted kubelet's call may have ended since.
            None => earlier.and_then(|progress| progress.took()),
        };
        let reference = &pulled.source.to_string();
        self.tell(&match took {
            None => Event::Present { reference },
            Some(took) => {
                let bytes = pulled.trees.iter().map(|tree| tree.info.totals.bytes).sum();
                Event::Pulled { reference, took: took.pull, waited: took.all, bytes }
            }
        });
    }

    /// What is odd about it.
    pub(super) fn odd(&self, pulled: &Pulled) {
        let findings: Vec<_> = pulled.warnings().take(MAX_WARNINGS).map(String::as_str).collect();
        if !findings.is_empty() {
            let (reference, findings) = (&pulled.source.to_string(), &findings.join("; "));
            self.tell(&Event::Odd { reference, findings });
        }
    }

    /// A registry is asked; told once for each pull.
    fn begun(&self, source: &Source, progress: &Arc<Progress>) {
        let mut running = self.teller.running();
        let key = (self.volume_id.to_owned(), source.clone());
        if running.get(&key).is_some_and(|known| Arc::ptr_eq(known, progress)) {
            return;
        }
        if running.len() < MAX_RUNNING || running.contains_key(&key) {
            running.insert(key, progress.clone());
        }
        drop(running);
        self.tell(&Event::Pulling { reference: &source.to_string() });
    }

    fn ended(&self, source: &Source) -> Option<Arc<Progress>> {
        self.teller.running().remove(&(self.volume_id.to_owned(), source.clone()))
    }

    /// What is wrong with anything but the pull, kubelet's own event says.
    fn failed(&self, source: &Source, error: &PublishError) {
        let reference = &source.to_string();
        let problem = match error {
            PublishError::Pull { source, .. } if matches!(**source, PullError::NotPresent) => {
                return self.tell(&Event::NeverPulled { reference });
            }
            PublishError::Pull { note, source, .. } => {
                format!("{}: {}", note.as_deref().unwrap_or_default(), chain(source))
            }
            PublishError::Unread { note, source, .. } => {
                format!(" with the logins that could be read{note}: {}", chain(source))
            }
            PublishError::BackOff { .. } => return self.tell(&Event::BackOff { reference }),
            // It goes on.
            _ => return,
        };
        drop(self.ended(source));
        self.tell(&Event::Failed { reference, problem: &problem });
    }

    fn tell(&self, event: &Event<'_>) {
        self.teller.events.tell(&self.about, event);
    }
}
