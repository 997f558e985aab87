use serde_json::{Value, json};

use super::*;
use crate::reference::Reference;

const V1: &str = "credentialprovider.kubelet.k8s.io/v1";
const ORIGIN: &str = "credential provider \"p\"";

fn repository(text: &str) -> Repository {
    text.parse::<Reference>().unwrap().repository().clone()
}

fn with(name: &str, value: Value) -> Value {
    let mut answer = json!({
        "kind": "CredentialProviderResponse",
        "apiVersion": V1,
        "cacheKeyType": "Image",
        "auth": { "r.io": { "username": "u", "password": "CANARY" } },
    });
    answer[name] = value;
    answer
}

fn outcome(answer: &Value, forbidden: Option<&str>) -> Result<Answer, String> {
    parse(answer.to_string().as_bytes(), V1, ORIGIN, forbidden).map_err(|error| error.to_string())
}

#[test]
fn the_question_is_kubelets() {
    let image = repository("nginx:1");
    let ask = |token| String::from_utf8(request(V1, &image, token).unwrap()).unwrap();
    let plain = format!(
        r#"{{"kind":"CredentialProviderRequest","apiVersion":"{V1}","image":"docker.io/library/nginx"}}"#
    );
    assert_eq!(ask(None), plain);
    let with = plain.replace("nginx\"}", "nginx\",\"serviceAccountToken\":\"t\"}");
    assert_eq!(ask(Some("t")), with);
}

#[test]
fn answers_are_understood_or_refused() {
    let json = "its answer is not a CredentialProviderResponse in JSON (line 1, column ";
    let version = "its answer is not a CredentialProviderResponse of apiVersion \
                   credentialprovider.kubelet.k8s.io/v1";
    let key_type = "the cacheKeyType of its answer is not one of Image, Registry, Global";
    let duration = "the cacheDuration of its answer is not a duration";
    for (answer, expected) in [
        (with("auth", Value::Null), None),
        (with("auth", json!({ "r.io": { "username": null } })), None),
        (with("later", json!({ "more": true })), None),
        (with("cacheDuration", json!("5m")), None),
        (with("cacheDuration", Value::Null), None),
        (with("cacheDuration", json!("CANARY")), Some(duration)),
        (with("cacheDuration", json!(5)), Some(json)),
        (with("cacheKeyType", json!("CANARY")), Some(key_type)),
        (with("cacheKeyType", json!("image")), Some(key_type)),
        (with("kind", json!("CANARY")), Some(version)),
        (with("apiVersion", json!("credentialprovider.kubelet.k8s.io/v1beta1")), Some(version)),
        (with("auth", json!({ "r.io": "CANARY" })), Some(json)),
        (with("auth", json!({ "r.io": { "password": ["CANARY"] } })), Some(json)),
        (json!({}), Some(version)),
        (json!("CANARY"), Some(json)),
    ] {
        let told = outcome(&answer, None).err();
        match (&told, expected) {
            (None, None) => {}
            (Some(told), Some(expected)) => {
                assert!(told.starts_with(expected) && !told.contains("CANARY"), "{answer}: {told}");
            }
            _ => panic!("{answer}: {told:?}"),
        }
    }
    for bytes in [&b""[..], b"\xff", b"CANARY", b"{}{}"] {
        let error = parse(bytes, V1, ORIGIN, None).err().unwrap();
        assert!(matches!(error, AnswerError::Json { .. }), "{bytes:?}");
    }
}

#[test]
fn a_lifetime_is_the_answers() {
    let lifetime =
        |value: Value| outcome(&with("cacheDuration", value), None).ok().unwrap().lifetime;
    assert_eq!(lifetime(Value::Null), None);
    assert_eq!(lifetime(json!("0s")), Some(Duration::ZERO));
    assert_eq!(lifetime(json!("-1h")), Some(Duration::ZERO));
    assert_eq!(lifetime(json!("1h")), Some(Duration::from_secs(3600)));
}

#[test]
fn the_token_is_no_password_where_it_would_be_kept_longer_than_it_lives() {
    let error = outcome(&with("kind", json!("CredentialProviderResponse")), Some("CANARY"));
    assert!(error.err().unwrap().contains("cacheType Token"));
    outcome(&with("auth", json!({})), Some("CANARY")).ok().unwrap();
}

/// Which of an answer's keys count for which image: the rules of a keyring, and nothing for
/// images that no key matches.
#[test]
fn keys_say_what_a_login_is_for() {
    let auth = |key: &str| json!({ "username": key, "password": "CANARY" });
    let keys = [
        "r.io",
        "r.io/team",
        "*.r.io",
        "r.io:5000",
        "https://index.docker.io/v1/",
        "[bad",
        "",
        "s.io/v2/",
    ];
    let auths: serde_json::Map<_, _> =
        keys.iter().map(|key| ((*key).to_owned(), auth(key))).collect();
    let answer = outcome(&with("auth", Value::Object(auths)), None).ok().unwrap();
    for (image, expected) in [
        ("r.io/team/x", &["r.io/team", "r.io"][..]),
        ("r.io/teams", &["r.io/team", "r.io"]),
        ("r.io/x", &["r.io"]),
        ("a.r.io/x", &["*.r.io"]),
        ("a.b.r.io/x", &[]),
        ("r.io:5000/x", &["r.io:5000"]),
        ("r.io:5001/x", &[]),
        ("r.io.evil.example/x", &[]),
        ("nginx", &["https://index.docker.io/v1/"]),
        ("s.io/x", &["s.io/v2/"]),
    ] {
        let found = answer.keyring.matching(&repository(image));
        let users: Vec<_> = found
            .iter()
            .map(|credential| match &credential.login {
                Login::Basic { username, .. } => username.as_str(),
                _ => panic!(),
            })
            .collect();
        assert_eq!(users, expected, "{image}");
    }
    let origins = answer.keyring.matching(&repository("r.io/x"));
    assert_eq!(origins[0].origin, "credential provider \"p\", entry \"r.io\"");
    assert_eq!(answer.keyring.warnings().len(), 2, "{:?}", answer.keyring.warnings());
}
