//! Events, as `events` of the core group: what every Kubernetes has, what kubelet writes, and what
//! `kubectl describe pod` shows.

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde::Serialize;
use tokio::time::Instant;

use super::{Api, CallError, Caller, Name};

const RESOURCE: &str = "events";

/// An event on a pod (`io.k8s.api.core.v1.Event`), with the fields that client-go's recorder
/// writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// The event's own name and namespace; the latter is the pod's.
    pub metadata: EventName,
    /// The pod.
    pub involved_object: PodReference,
    /// One word that programs may look for.
    pub reason: &'static str,
    /// At most 1024 bytes.
    pub message: String,
    /// `Normal` or `Warning`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// When it was so first (RFC 3339, in whole seconds).
    pub first_timestamp: String,
    /// When it was so last.
    pub last_timestamp: String,
    /// How often it was so.
    pub count: u32,
    /// Who says so, as old clients read it.
    pub source: EventSource,
    /// The same as newer ones do.
    pub reporting_component: String,
    /// The node.
    pub reporting_instance: String,
}

/// What an event is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EventName {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
}

/// Whom an event is about (`io.k8s.api.core.v1.ObjectReference`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodReference {
    /// `v1`.
    pub api_version: &'static str,
    /// `Pod`.
    pub kind: &'static str,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid, by which clients find its events.
    pub uid: String,
    /// Which part of it, such as `spec.volumes{skills}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field_path: Option<String>,
}

/// Who says what an event says (`io.k8s.api.core.v1.EventSource`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EventSource {
    /// The driver's name.
    pub component: String,
    /// The node.
    pub host: String,
}

/// What changes of an event when it is so once more.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Repeat<'a> {
    count: u32,
    last_timestamp: &'a str,
}

impl Api {
    /// Writes a new event.
    pub async fn create_event(
        &self,
        caller: &Caller,
        namespace: &Name,
        event: &Event,
    ) -> Result<(), CallError> {
        let url = self.path(namespace, RESOURCE, None);
        self.send(caller, Method::POST, url, "application/json", event).await
    }

    /// Says of an event that is there that it was so once more.
    pub async fn repeat_event(
        &self,
        caller: &Caller,
        namespace: &Name,
        event: &Event,
    ) -> Result<(), CallError> {
        let url = self.path(namespace, RESOURCE, Some(&event.metadata.name));
        let repeat = Repeat { count: event.count, last_timestamp: &event.last_timestamp };
        let kind = "application/merge-patch+json";
        self.send(caller, Method::PATCH, url, kind, &repeat).await
    }

    async fn send(
        &self,
        caller: &Caller,
        method: Method,
        url: reqwest::Url,
        kind: &'static str,
        object: &impl Serialize,
    ) -> Result<(), CallError> {
        // Of texts and numbers there is JSON in any case.
        let body = serde_json::to_vec(object).unwrap_or_default();
        let with = |request: reqwest::RequestBuilder| request.header(CONTENT_TYPE, kind).body(body);
        // Nobody waits: what any request may take bounds it.
        let deadline = Instant::now() + self.timeout();
        self.exchange(caller, method, url, with, deadline).await.map(drop)
    }
}
