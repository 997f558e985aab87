use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::credentials::key::{MAX_KEY, split_port};
use crate::credentials::{Salt, glob};
use crate::reference::Reference;

fn repository(reference: &str) -> Repository {
    reference.parse::<Reference>().unwrap().repository().clone()
}

fn secret(key: &str, value: &Value) -> BTreeMap<String, Vec<u8>> {
    BTreeMap::from([(key.to_owned(), value.to_string().into_bytes())])
}

fn from_secret(data: &BTreeMap<String, Vec<u8>>) -> Result<Keyring, SecretError> {
    Keyring::from_secret(data, "secret")
}

fn auths(auths: Value) -> Keyring {
    from_secret(&secret(".dockerconfigjson", &json!({ "auths": auths }))).unwrap()
}

/// A keyring with one login per key, whose user name is the key.
fn keyring(keys: &[&str]) -> Keyring {
    let entries =
        keys.iter().map(|key| ((*key).to_owned(), json!({ "username": key, "password": "pw" })));
    auths(Value::Object(entries.collect()))
}

fn show(login: &Login) -> String {
    match login {
        Login::Basic { username, password } => format!("{username}:{password}"),
        Login::Identity(token) => format!("identity {token}"),
        Login::Bearer(token) => format!("bearer {token}"),
    }
}

fn tried(keyring: &Keyring, reference: &str) -> Vec<String> {
    keyring.matching(&repository(reference)).iter().map(|c| show(&c.login)).collect()
}

/// The rows of the table: key, reference, whether it matches. An empty key is written `-`.
fn table() -> Vec<(&'static str, &'static str, bool)> {
    let text = include_str!("../../../tests/support/matching.txt");
    let rows = text.lines().filter(|line| !line.starts_with("# "));
    rows.map(|row| {
        let [key, reference, matches] = row.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{row:?}");
        };
        (if key == "-" { "" } else { key }, reference, matches == "yes")
    })
    .collect()
}

#[test]
fn one_key_matches_as_in_kubelet() {
    let rows = table();
    assert_eq!(rows.len(), 77);
    for (key, reference, expected) in rows {
        assert_eq!(!tried(&keyring(&[key]), reference).is_empty(), expected, "{key} {reference}");
    }
}

#[test]
fn several_keys_are_tried_in_kubelets_order() {
    let all: &[(&[&str], &str, &[&str])] = &[
        (&["quay.io", "quay.io/org"], "quay.io/org/x", &["quay.io/org", "quay.io"]),
        (&["quay.io", "quay.io/org"], "quay.io/other/x", &["quay.io"]),
        (
            &["*.io", "quay.io", "quay.io/org/x", "quay.io/org"],
            "quay.io/org/x",
            &["quay.io/org/x", "quay.io/org", "quay.io", "*.io"],
        ),
        // Both, as kubelet: docker.io matches, so the fallback is not asked.
        (&["docker.io", "https://index.docker.io/v1/"], "nginx", &["docker.io"]),
        (
            &["docker.io/acme", "https://index.docker.io/v1/"],
            "nginx",
            &["https://index.docker.io/v1/"],
        ),
        // One key in two spellings: both logins.
        (&["https://ghcr.io", "ghcr.io"], "ghcr.io/x", &["ghcr.io", "https://ghcr.io"]),
    ];
    for (keys, reference, expected) in all {
        let expected: Vec<_> = expected.iter().map(|key| format!("{key}:pw")).collect();
        assert_eq!(tried(&keyring(keys), reference), expected, "{keys:?} {reference}");
    }
}

/// formats.md S01–S08.
#[test]
fn the_fields_secrets() {
    let login = |user: &str| json!({ "username": user, "password": "pw" });
    // S01: two secrets, one host: both are tried, in the secrets' order.
    let mut both = auths(json!({ "quay.io": login("first") }));
    both.merge(auths(json!({ "quay.io": login("second"), "quay.io/org": login("third") })));
    assert_eq!(tried(&both, "quay.io/x/y"), ["first:pw", "second:pw"]);
    // S02: path-scoped keys, sorted across the secrets of one source …
    assert_eq!(tried(&both, "quay.io/org/y"), ["third:pw", "first:pw", "second:pw"]);
    // … and after them those of the next source, however precise; no login twice.
    let mut sources = auths(json!({ "quay.io": login("first") }));
    sources.extend(auths(json!({ "quay.io": login("first"), "quay.io/org": login("third") })));
    assert_eq!(tried(&sources, "quay.io/org/y"), ["first:pw", "third:pw"]);
    assert_eq!(sources.keys(), ["quay.io", "quay.io/org", "quay.io"]);
    // The fallback is each source's own.
    let mut hub = auths(json!({ "docker.io": login("first") }));
    hub.extend(auths(json!({ "https://index.docker.io/v1/": login("second") })));
    assert_eq!(tried(&hub, "nginx"), ["first:pw", "second:pw"]);
    // S03, S04: Docker Hub's usual key; a glob.
    assert_eq!(
        tried(&auths(json!({ "https://index.docker.io/v1/": login("u") })), "nginx"),
        ["u:pw"]
    );
    assert_eq!(tried(&auths(json!({ "*.example.com": login("u") })), "r.example.com/x"), ["u:pw"]);
    // S05: .dockercfg is the bare map.
    let legacy = from_secret(&secret(".dockercfg", &json!({ "ghcr.io": login("u") })));
    assert_eq!(tried(&legacy.unwrap(), "ghcr.io/x"), ["u:pw"]);
    // S06: no auths: a warning, no error.
    for value in [json!({}), json!({ "auths": null }), json!(null), json!({ "HttpHeaders": {} })] {
        let keyring = from_secret(&secret(".dockerconfigjson", &value)).unwrap();
        assert!(keyring.is_empty());
        let expected = "secret key \".dockerconfigjson\" has no `auths`, so no login";
        assert_eq!(keyring.warnings(), [expected], "{value}");
    }
    // S08: helpers only: ignored, never run.
    let helpers =
        json!({ "auths": { "ghcr.io": {} }, "credsStore": "evil", "credHelpers": { "x": "y" } });
    let keyring = from_secret(&secret("config.json", &helpers)).unwrap();
    assert!(keyring.is_empty());
    assert_eq!(keyring.warnings().len(), 2);
    assert!(keyring.warnings()[0].contains("are never run here"));
    assert!(keyring.warnings()[1].contains("entry \"ghcr.io\" has no user name"));
}

#[test]
fn every_spelling_of_a_login() {
    let padded = STANDARD.encode("user:pass:word");
    assert!(padded.ends_with('='));
    let unpadded = STANDARD_NO_PAD.encode("user:pass:word");
    let broken_lines = format!("{}\n{}\r\n", &padded[..4], &padded[4..]);
    for (entry, expected) in [
        (json!({ "auth": padded }), vec!["user:pass:word"]),
        (json!({ "auth": unpadded }), vec!["user:pass:word"]),
        (json!({ "auth": broken_lines }), vec!["user:pass:word"]),
        (json!({ "auth": padded, "username": "x", "password": "y" }), vec!["user:pass:word"]),
        (json!({ "auth": "", "username": "x", "password": "y" }), vec!["x:y"]),
        (json!({ "auth": null, "username": "x", "password": "y", "email": 1 }), vec!["x:y"]),
        (json!({ "Username": "x", "PASSWORD": "y" }), vec!["x:y"]),
        (json!({ "username": "x" }), vec!["x:"]),
        (json!({ "identitytoken": "t" }), vec!["identity t"]),
        (json!({ "registrytoken": "t" }), vec!["bearer t"]),
        // ACR's placeholder user is no login.
        (json!({ "auth": STANDARD.encode("0000:"), "identitytoken": "t" }), vec!["identity t"]),
        (
            json!({ "auth": padded, "identitytoken": "i", "registrytoken": "r" }),
            vec!["user:pass:word", "identity i", "bearer r"],
        ),
        (json!({}), vec![]),
        (json!(null), vec![]),
        (json!({ "username": "", "password": "" }), vec![]),
    ] {
        let keyring = auths(json!({ "ghcr.io": entry }));
        assert_eq!(tried(&keyring, "ghcr.io/x"), expected, "{entry}");
    }
}

#[test]
fn a_single_login_belongs_to_its_address() {
    let data = |pairs: &[(&str, &str)]| -> BTreeMap<String, Vec<u8>> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), v.as_bytes().to_vec())).collect()
    };
    let keyring = |pairs: &[(&str, &str)]| from_secret(&data(pairs)).unwrap();
    let full = keyring(&[
        ("serverAddress", "https://reg.example.com/auth/v3\n"),
        ("Username", "u"),
        ("PASSWORD", "p\n"),
        ("csi.storage.k8s.io/serviceAccount.tokens", "{}"),
    ]);
    assert_eq!(tried(&full, "reg.example.com/x"), ["u:p"]);
    assert_eq!(tried(&full, "evil.com/x"), [""; 0]);
    assert!(full.warnings().is_empty());
    let origin = full.matching(&repository("reg.example.com/x"))[0].to_string();
    assert_eq!(origin, "secret key \"serverAddress\", entry \"reg.example.com\"");
    let token =
        keyring(&[("serverAddress", "https://index.docker.io/v1/"), ("identityToken", "t")]);
    assert_eq!(tried(&token, "nginx"), ["identity t"]);

    let no_address = keyring(&[("username", "u"), ("password", "p")]);
    assert!(no_address.is_empty());
    assert!(no_address.warnings()[0].contains("no `serverAddress`"));
    let other = keyring(&[("tls.crt", "x")]);
    assert!(other.warnings()[0].ends_with("but \"tls.crt\""), "{:?}", other.warnings());
    // Only kubelet's tokens: nobody wrote a secret, nothing to warn of.
    let tokens = keyring(&[("csi.storage.k8s.io/serviceAccount.tokens", "{}")]);
    assert!(tokens.is_empty() && tokens.warnings().is_empty());
}

#[test]
fn kubelets_traps_are_told() {
    for key in ["registry-1.docker.io", "https://index.docker.io/v1"] {
        let keyring = keyring(&[key]);
        assert!(keyring.warnings()[0].contains("write https://index.docker.io/v1/"), "{key}");
    }
    let many: Vec<String> = (0..250).map(|n| format!("bad key {n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(keyring(&many).warnings().len() <= MAX_WARNINGS);
    assert!(keyring(&[&"a".repeat(MAX_KEY + 1), "reg[.io", "reg[].io", "reg.\\"]).is_empty());
}

#[test]
fn mistakes_are_located() {
    let bad = |value: &[u8]| {
        from_secret(&BTreeMap::from([(".dockerconfigjson".to_owned(), value.to_vec())]))
            .unwrap_err()
            .to_string()
    };
    let entry = |entry: Value| bad(json!({ "auths": { "ghcr.io": entry } }).to_string().as_bytes());
    let key = "secret key \".dockerconfigjson\"";
    for (message, expected) in [
        (bad(b"{\n \"auths\": hunter2}"), format!("{key} is not valid JSON: line 2, column 11")),
        (bad(b"[]"), format!("{key} is not a JSON object")),
        (bad(b"{\"auths\": []}"), format!("{key}, `auths` is not a JSON object")),
        (bad(&vec![b' '; MAX_DOCUMENT + 1]), format!("{key} has 1048577 bytes, more than 1048576")),
        (entry(json!("x")), format!("{key}, entry \"ghcr.io\" is not a JSON object")),
        (
            entry(json!({ "password": 1 })),
            format!("{key}, entry \"ghcr.io\", `password` is not a string"),
        ),
        (
            entry(json!({ "auth": "YT$i" })),
            format!(
                "{key}, entry \"ghcr.io\": `auth` is not the base64 of user:password: byte 2 is \
                 not base64"
            ),
        ),
        (
            entry(json!({ "auth": STANDARD.encode("nocolon") })),
            format!(
                "{key}, entry \"ghcr.io\": `auth` is not the base64 of user:password: what it \
                 encodes has no colon"
            ),
        ),
    ] {
        assert_eq!(message, expected);
    }
    assert!(
        Keyring::from_docker_config(b"{", "file \"/x\"")
            .unwrap_err()
            .to_string()
            .starts_with("file \"/x\"")
    );
    assert!(Keyring::from_docker_config(b"", "file \"/x\"").unwrap().is_empty());
    assert!(bad("[".repeat(100_000).as_bytes()).contains("is not valid JSON"));
}

#[test]
fn nothing_shows_a_secret() {
    const CANARY: &str = "hunter2";
    let encoded = STANDARD.encode(format!("{CANARY}:{CANARY}"));
    let mut shown = String::new();
    let mut show = |text: String| shown += &format!("{text}\n");
    let entry = json!({ "auth": encoded, "identitytoken": CANARY, "registrytoken": CANARY });
    let keyring = auths(json!({
        "ghcr.io": entry,
        format!("https://{CANARY}:{CANARY}@quay.io/?{CANARY}#{CANARY}"): entry,
        format!("https://u:12/{CANARY}@quay.io"): entry,
        format!("u:{CANARY} x@quay.io"): entry,
    }));
    show(format!("{keyring:?} {:?} {:?}", keyring.keys(), keyring.warnings()));
    for reference in ["ghcr.io/x", "quay.io/x"] {
        for credential in keyring.matching(&repository(reference)) {
            let identity = credential.identity(&Salt::new(&[7; 32]));
            show(format!("{credential:?} {credential} {:?} {identity:?}", credential.login));
        }
    }
    for bad in [
        format!("{{\"auths\": {{\"ghcr.io\": {{\"auth\": {CANARY}}}}}}}"),
        format!("{{\"auths\": \"{CANARY}\"}}"),
        format!("{{\"auths\": {{\"ghcr.io\": \"{CANARY}\"}}}}"),
        format!("{{\"auths\": {{\"ghcr.io\": {{\"password\": [\"{CANARY}\"]}}}}}}"),
        format!("{{\"auths\": {{\"ghcr.io\": {{\"auth\": \"{CANARY}\"}}}}}}"),
        format!("{{\"auths\": {{\"ghcr.io\": {{\"auth\": \"!{CANARY}\"}}}}}}"),
        format!("{{\"auths\": {{\"a:{CANARY}@b c\": \"{CANARY}\"}}}}"),
    ] {
        let error = Keyring::from_docker_config(bad.as_bytes(), "file").unwrap_err();
        show(format!("{error:?} {error}"));
    }
    assert!(!shown.contains(CANARY) && !shown.contains(&encoded), "{shown}");
    assert_eq!(shown.lines().count(), 1 + 6 + 7);
}

#[test]
fn a_fingerprint_is_of_all_logins_and_no_more() {
    let salt = Salt::new(&[7; 32]);
    let print = |entries: &[(&str, &str)]| {
        let auths: serde_json::Map<_, _> = entries
            .iter()
            .map(|(key, password)| {
                ((*key).to_owned(), json!({ "username": "u", "password": password }))
            })
            .collect();
        let text = json!({ "auths": auths }).to_string();
        Keyring::from_docker_config(text.as_bytes(), "x").unwrap().fingerprint(&salt)
    };
    let first = print(&[("a.example", "1"), ("b.example", "2")]);
    assert_eq!(print(&[("b.example", "2"), ("https://a.example/", "1")]), first);
    for other in [
        &[("a.example", "1")][..],
        &[("a.example", "1"), ("b.example", "3")],
        &[("a.example", "2"), ("b.example", "1")],
        &[("a.example", "1"), ("c.example", "2")],
        &[],
    ] {
        assert_ne!(print(other), first, "{other:?}");
    }
    let two = |first: &str, second: &str| {
        let mut ring = Keyring::from_docker_config(first.as_bytes(), "x").unwrap();
        ring.extend(Keyring::from_docker_config(second.as_bytes(), "x").unwrap());
        ring.fingerprint(&salt)
    };
    let (a, b) = (
        r#"{"auths":{"a.example":{"username":"u","password":"1"}}}"#,
        r#"{"auths":{"b.example":{"username":"u","password":"2"}}}"#,
    );
    assert_ne!(two(a, b), two(b, a), "the order of the sources is part of it");
}

proptest! {
    #[test]
    fn parsing_never_panics(text in "[{}\\[\\]\":,a-z0-9 ]{0,60}", key in "\\PC{0,20}") {
        drop(Keyring::from_docker_config(text.as_bytes(), "x"));
        let entry = json!({ "auths": { key: { "auth": text } } });
        drop(Keyring::from_docker_config(entry.to_string().as_bytes(), "x"));
    }

    /// Any key against a host: never a panic, and a match only if label by label it is one.
    #[test]
    fn a_login_stays_with_its_host(
        key in "(https?://)?[a-c*?\\[\\]^.:@#-]{0,8}(:[0-9]{0,3})?(/[a-c/]{0,4})?",
        host in "[a-c]{1,3}\\.[a-c]{1,3}(\\.[a-c])?(:[1-9][0-9]?)?",
        path in "[a-c]{1,3}(/[a-c]{1,3})?",
    ) {
        let keyring = keyring(&[&key]);
        let repository = repository(&format!("{host}/{path}"));
        for credential in keyring.matching(&repository) {
            let held = keyring.keys()[0].clone();
            prop_assert!(credential.origin.contains(&held));
            let (name, port) = split_port(held.split('/').next().unwrap());
            let (target, target_port) = split_port(&host);
            prop_assert_eq!(port, target_port);
            let (labels, targets): (Vec<_>, Vec<_>) =
                (name.split('.').collect(), target.split('.').collect());
            prop_assert_eq!(labels.len(), targets.len());
            for (label, target) in labels.iter().zip(targets) {
                prop_assert!(glob::matches(label, target), "{} {}", label, target);
            }
        }
    }

    /// A key without wildcards matches its own host and no other.
    #[test]
    fn a_plain_key_is_one_host(
        key in "[a-c]{1,2}\\.[a-c]{1,2}(:[1-9])?",
        host in "[a-c]{1,2}\\.[a-c]{1,2}(:[1-9])?",
    ) {
        let matched = !keyring(&[&key]).matching(&repository(&format!("{host}/x"))).is_empty();
        prop_assert_eq!(matched, key == host);
    }
}

#[test]
fn a_secret_of_thousands_of_logins_costs_nobody_anything() {
    // Keys that differ, and are one after the user has been taken out.
    let entries = |count: usize| {
        let entry = |n: usize| (format!("{n}@r.io"), json!({ "username": n.to_string() }));
        Value::Object((0..count).map(entry).collect())
    };
    let full = auths(entries(256));
    let matching = full.matching(&repository("r.io/x"));
    assert_eq!(matching.len(), MAX_CANDIDATES);
    let refused = from_secret(&secret(".dockerconfigjson", &json!({ "auths": entries(257) })));
    let expected = "secret key \".dockerconfigjson\" has 257 entries, more than 256";
    assert_eq!(refused.unwrap_err().to_string(), expected);
    let mut all = Keyring::default();
    for _ in 0..10 {
        all.extend(full.clone());
    }
    for _ in 0..10 {
        all.merge(full.clone());
    }
    assert_eq!(all.len(), MAX_LOGINS);
    assert_eq!(all.warnings(), ["secret is ignored: there are 2048 logins already"]);
}

#[test]
fn one_login_of_two_holders_is_two_keyrings() {
    let salt = Salt::new(&[7; 32]);
    let plain = auths(json!({ "r.io": { "username": "u", "password": "p" } }));
    let held = |uid: &str| plain.clone().held_by(&Holder::secret("team", "login", uid));
    assert_eq!(held("1").fingerprint(&salt), held("1").fingerprint(&salt));
    assert_ne!(held("1").fingerprint(&salt), held("2").fingerprint(&salt));
    assert_ne!(held("1").fingerprint(&salt), plain.fingerprint(&salt));
}
