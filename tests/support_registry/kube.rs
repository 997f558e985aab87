//! The API server of the tests answers what Kubernetes' description of its API allows, and would
//! be found out if it did not.

use serde_json::{Value, json};

use crate::support::openapi::{check_object, check_status, template};

const POD: &str = "/api/v1/namespaces/team/pods/agent";
const SECRET: &str = "/api/v1/namespaces/team/secrets/login";

fn secret(change: impl Fn(&mut Value)) -> Vec<String> {
    let mut secret = json!({
        "kind": "Secret", "apiVersion": "v1", "type": "Opaque", "data": {"a": "YQ=="},
        "metadata": {"name": "login", "namespace": "team", "uid": "1"},
    });
    change(&mut secret);
    check_object("GET", SECRET, &secret)
}

#[test]
fn answers_are_compared_with_the_description() {
    assert_eq!(secret(|_| {}), [""; 0]);
    assert_eq!(secret(|secret| secret["dota"] = json!({})), [".dota: unknown"]);
    assert_eq!(secret(|secret| secret["data"]["a"] = json!(1)), [".data.a: not of type string"]);
    assert_eq!(
        secret(|secret| secret["metadata"]["uid"] = json!(1)),
        [".metadata.uid: not of type string"]
    );
    let pod = |spec: Value| check_object("GET", POD, &json!({"metadata": {}, "spec": spec}));
    let containers = json!([{"name": "a"}]);
    assert_eq!(pod(json!({"containers": containers})), [""; 0]);
    assert_eq!(pod(json!({})), [".spec: lacks \"containers\""]);
    assert_eq!(
        pod(json!({"containers": containers, "imagePullSecrets": ["a"]})),
        [".spec.imagePullSecrets[]: not of type object"]
    );
    assert_eq!(
        pod(json!({"containers": containers, "affinity": {}})),
        [".spec.affinity: io.k8s.api.core.v1.Affinity is not described"]
    );
    assert_eq!(
        check_status(&json!({"kind": "Status", "code": "404"})),
        [".code: not of type integer"]
    );
}

#[test]
fn paths_are_compared_with_the_description() {
    assert_eq!(template(POD).as_deref(), Some("/api/v1/namespaces/{namespace}/pods/{name}"));
    for other in
        ["/api/v1/pods/agent", "/api/v1/namespaces/team/pods", "/api/v1/namespaces/team/nodes/a"]
    {
        assert_eq!(template(other), None);
    }
}

#[test]
fn what_is_stored_is_compared_with_the_description() {
    let path = "/api/v1/namespaces/team/events";
    let event = json!({"metadata": {"name": "a.1"}, "involvedObject": {"kind": "Pod"}, "count": 1});
    assert_eq!(check_object("POST", path, &event), [""; 0]);
    assert_eq!(check_object("PATCH", &format!("{path}/a.1"), &event), [""; 0]);
    assert_eq!(
        check_object("POST", path, &json!({"involvedObject": {"pod": "a"}, "count": "1"})),
        [": lacks \"metadata\"", ".count: not of type integer", ".involvedObject.pod: unknown"]
    );
    let none = format!("GET is no method of {path}");
    assert_eq!(check_object("GET", path, &event), [none]);
}
