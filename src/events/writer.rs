//! What empties the queue: one request after the other, as the driver itself.

use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::Receiver;

use super::history::{Entry, History};
use super::timestamp::rfc3339;
use super::{Reporter, Told};
use crate::kube::{self, Api, CallError, EventName, EventSource, PodReference};
use crate::observability::chain;
use crate::observability::metrics::{EventOutcome, Metrics};

/// How long the log is not told again that events cannot be written.
const SILENCE: Duration = Duration::from_secs(600);

/// Writes events to the API server.
#[derive(Debug)]
pub struct Writer {
    api: Api,
    reporter: Reporter,
    waiting: Receiver<Told>,
    metrics: Metrics,
    history: History,
    /// When the log was told last that one could not be written.
    told_at: Option<Instant>,
}

impl Writer {
    pub(super) fn new(
        api: Api,
        reporter: Reporter,
        waiting: Receiver<Told>,
        metrics: Metrics,
    ) -> Self {
        Self { api, reporter, waiting, metrics, history: History::default(), told_at: None }
    }

    /// Writes what is told, and once `stop` resolves what is left. That takes as long as the API
    /// server does: whoever stops waits for no more than [`super::DRAIN`].
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let mut stopping = false;
        loop {
            let told = tokio::select! {
                told = self.waiting.recv() => told,
                () = &mut stop, if !stopping => {
                    self.waiting.close();
                    stopping = true;
                    continue;
                }
            };
            let Some(told) = told else { return };
            self.write(told).await;
        }
    }

    async fn write(&mut self, told: Told) {
        let Some(entry) = self.history.note(&told, Instant::now()) else {
            return self.metrics.event(EventOutcome::Limited);
        };
        match self.send(&told, entry).await {
            Ok(()) => self.metrics.event(EventOutcome::Written),
            Err(error) => {
                self.metrics.event(EventOutcome::Failed);
                self.tell(&error);
            }
        }
    }

    /// One line of the log for a while: a tenant whose quota is used up can make writing fail again
    /// and again.
    fn tell(&mut self, error: &CallError) {
        let now = Instant::now();
        if self.told_at.is_some_and(|told| now.duration_since(told) < SILENCE) {
            return;
        }
        self.told_at = Some(now);
        let hint = match error {
            CallError::Forbidden(_) => {
                "; the driver needs create and patch on events, or a namespace takes no more"
            }
            _ => "",
        };
        tracing::warn!("cannot write events of pods: {}{hint}", chain(error));
    }

    async fn send(&self, told: &Told, entry: Entry) -> Result<(), CallError> {
        let caller = self.api.caller("").await?;
        let namespace = &told.about.namespace;
        let event = self.event(told, entry);
        if event.count > 1 {
            match self.api.repeat_event(&caller, namespace, &event).await {
                // The API server keeps events for an hour, and the first may not have come through.
                Err(CallError::NotFound) => {}
                outcome => return outcome,
            }
        }
        self.api.create_event(&caller, namespace, &event).await
    }

    fn event(&self, told: &Told, entry: Entry) -> kube::Event {
        let Reporter { driver, node } = &self.reporter;
        let about = &told.about;
        let namespace = about.namespace.to_string();
        kube::Event {
            metadata: EventName { name: entry.name, namespace: namespace.clone() },
            involved_object: PodReference {
                api_version: "v1",
                kind: "Pod",
                namespace,
                name: about.pod.to_string(),
                uid: about.uid.clone(),
                field_path: about.volume.as_ref().map(|name| format!("spec.volumes{{{name}}}")),
            },
            reason: told.reason,
            message: told.message.clone(),
            kind: told.kind,
            first_timestamp: rfc3339(entry.first),
            last_timestamp: rfc3339(told.at),
            count: entry.count,
            source: EventSource { component: driver.clone(), host: node.clone() },
            reporting_component: driver.clone(),
            reporting_instance: node.clone(),
        }
    }
}
