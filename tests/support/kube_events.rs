//! What the API server of kube_api.rs does with events that it is given.

use std::collections::BTreeMap;

use serde_json::Value;
use skillmount::kube::Name;

use super::openapi;

/// A new event as it is stored, and what is wrong with it.
pub fn made(path: &str, body: &[u8]) -> (Value, Vec<String>) {
    let mut event: Value = serde_json::from_slice(body).unwrap();
    // What nobody has to say.
    event["kind"] = "Event".into();
    event["apiVersion"] = "v1".into();
    let mut wrong = openapi::check_object("POST", path, &event);
    wrong.extend(unfit(&event, path));
    (event, wrong)
}

/// Merges a patch into an event (RFC 7396), and says what is wrong with what comes of it.
pub fn merge(event: &mut Value, path: &str, patch: &[u8]) -> Vec<String> {
    let patch: BTreeMap<String, Value> = serde_json::from_slice(patch).unwrap();
    // Of what is neither object nor null, a merge is this.
    assert!(patch.values().all(|value| !value.is_object() && !value.is_null()), "{patch:?}");
    event.as_object_mut().unwrap().extend(patch);
    let mut wrong = openapi::check_object("PATCH", path, event);
    wrong.extend(unfit(event, path));
    wrong
}

/// What the API server would refuse beyond the types (`legacyValidateEvent` and the limits of
/// events.k8s.io, kubernetes pkg/apis/core/validation/events.go).
fn unfit(event: &Value, path: &str) -> Vec<String> {
    let namespace = path.split('/').nth(4);
    let longest = |field: &str, limit: usize| event[field].as_str().unwrap().len() <= limit;
    let named = |at: &str| event[at]["namespace"].as_str() == namespace;
    let is_name = |text: &Value| text.as_str().unwrap().parse::<Name>().is_ok();
    [
        (named("metadata"), "another namespace than the path's"),
        (named("involvedObject"), "about another namespace"),
        (is_name(&event["metadata"]["name"]), "a name that no object has"),
        (longest("message", 1024), "a message that is too long"),
        (longest("reason", 128), "a reason that is too long"),
        (!event.to_string().contains("CANARY"), "a secret"),
        (matches!(event["type"].as_str(), Some("Normal" | "Warning")), "an unknown type"),
    ]
    .iter()
    .filter(|(fits, _)| !fits)
    .map(|(_, problem)| (*problem).to_owned())
    .collect()
}
