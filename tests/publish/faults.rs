//! Every way in which a registry goes wrong: how a pull ends, and after how many requests. The
//! table of docs/testing.md, row by row.

use std::time::Duration;

use super::*;
use crate::messages::generic;
use crate::support::auth::{Auth, Bearer, Realm, User};
use crate::support::{Fault, Gate, On, gzip};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/testing.md");
const REPOSITORY: &str = "team/code-review";

/// A fault: what it is called, which requests it strikes, and how.
type Row = (&'static str, Box<dyn Fn(&Registry)>);

fn row(name: &'static str, set: impl Fn(&Registry) + 'static) -> Row {
    (name, Box::new(set))
}

fn manifest() -> On {
    On::get("/manifests/")
}

fn layer(registry: &Registry) -> On {
    On::blob(&registry.layers(REPOSITORY, "v1")[0])
}

/// One fault on the manifest's requests.
fn on_manifest(name: &'static str, on: fn(On) -> On, fault: Fault) -> Row {
    row(name, move |registry| registry.fault(on(manifest()), fault.clone()))
}

/// One fault on the layer's requests.
fn on_layer(name: &'static str, on: fn(On) -> On, fault: Fault) -> Row {
    row(name, move |registry| registry.fault(on(layer(registry)), fault.clone()))
}

fn once(on: On) -> On {
    on.times(1)
}

fn always(on: On) -> On {
    on
}

fn rows() -> Vec<Row> {
    let html = "<html><body>Sign in</body></html>";
    vec![
        on_manifest("manifest: 500 once", once, Fault::status(500)),
        on_manifest("manifest: 502 once", once, Fault::status(502)),
        on_manifest("manifest: 503 twice", |on| on.times(2), Fault::status(503)),
        on_manifest("manifest: 504 always", always, Fault::status(504)),
        on_manifest("manifest: 429 once", once, Fault::status(429)),
        on_manifest("manifest: 429, `Retry-After: 0`, once", once, Fault::retry_after("0")),
        on_manifest("manifest: 429, `Retry-After: 3600`", always, Fault::retry_after("3600")),
        on_manifest(
            "manifest: 503, `Retry-After` with a date, once",
            once,
            Fault::retry_after_with(503, "Wed, 21 Oct 2026 07:28:00 GMT"),
        ),
        on_manifest("manifest: closed before the answer, once", once, Fault::CloseConnection),
        on_manifest("manifest: closed before the answer, always", always, Fault::CloseConnection),
        on_manifest("manifest: closed in its middle, once", once, Fault::Truncate(100)),
        on_manifest("manifest: closed in its middle, always", always, Fault::Truncate(100)),
        on_manifest("manifest: no answer", always, Fault::Stall(Gate::held())),
        on_manifest("manifest: 403", always, Fault::status(403)),
        on_manifest("manifest: 404", always, Fault::status(404)),
        on_manifest("manifest: 400", always, Fault::status(400)),
        on_manifest(
            "manifest: 204",
            always,
            Fault::Status { code: 204, body: "".into(), headers: vec![] },
        ),
        on_manifest("manifest: altered", always, Fault::WrongBytes),
        on_manifest(
            "manifest: another digest announced",
            always,
            Fault::SetHeader("docker-content-digest", format!("sha256:{}", "0".repeat(64))),
        ),
        on_manifest(
            "manifest: no digest announced but nonsense",
            always,
            Fault::SetHeader("docker-content-digest", "nonsense".into()),
        ),
        on_manifest(
            "manifest: no digest announced",
            always,
            Fault::DropHeader("docker-content-digest"),
        ),
        on_manifest("manifest: without a length", always, Fault::Chunked),
        on_manifest("manifest: 5 MiB", always, Fault::HugeBody(5 << 20)),
        row("manifest: HTML", move |registry| {
            registry.fault(manifest(), Fault::Body(html.into()));
            registry.fault(manifest(), Fault::ContentType("text/html".into()));
            registry.fault(manifest(), Fault::DropHeader("docker-content-digest"));
        }),
        row("manifest: gzip, which was not asked for", |registry| {
            let body = gzip(&registry.manifest(REPOSITORY, "v1").unwrap());
            registry.fault(manifest(), Fault::Body(body.into()));
            registry.fault(manifest(), Fault::SetHeader("content-encoding", "gzip".into()));
        }),
        row("manifest: redirected to itself for ever", |registry| {
            let url = format!("{}/v2/{REPOSITORY}/manifests/v1", registry.url());
            registry.fault(manifest(), Fault::RedirectTo(url));
        }),
        on_manifest(
            "manifest: redirected to a host without TLS",
            always,
            Fault::RedirectTo("http://registry.invalid/x".into()),
        ),
        on_manifest("manifest: redirected to no URL", always, Fault::RedirectTo("http://".into())),
        on_manifest(
            "manifest: redirected to a file",
            always,
            Fault::RedirectTo("file:///etc/passwd".into()),
        ),
        row("layer: redirected to a storage", |registry| {
            let digest = &registry.layers(REPOSITORY, "v1")[0];
            registry.fault(layer(registry), Fault::RedirectTo(registry.storage_url(digest)));
        }),
        on_layer("layer: 503 once", once, Fault::status(503)),
        on_layer("layer: 500 always", always, Fault::status(500)),
        on_layer("layer: 404", always, Fault::status(404)),
        on_layer("layer: closed before the answer, once", once, Fault::CloseConnection),
        on_layer("layer: cut, once", once, Fault::Truncate(100)),
        row("layer: cut, and ranges ignored, once", |registry| {
            registry.fault(once(layer(registry)), Fault::Truncate(100));
            registry.fault(layer(registry), Fault::IgnoreRange);
        }),
        row("layer: cut, and ranges refused (416)", |registry| {
            registry.fault(once(layer(registry)), Fault::Truncate(100));
            registry.fault(layer(registry).nth(2), Fault::status(416));
        }),
        row("layer: cut, and another range sent", |registry| {
            registry.fault(once(layer(registry)), Fault::Truncate(100));
            let range = ("content-range", "bytes 7-9/10".to_owned());
            registry.fault(layer(registry).nth(2), Fault::SetHeader(range.0, range.1));
        }),
        row("layer: cut again and again, ranges ignored", |registry| {
            registry.fault(layer(registry), Fault::Truncate(100));
            registry.fault(layer(registry), Fault::IgnoreRange);
        }),
        on_layer(
            "layer: silent after 100 bytes, once",
            once,
            Fault::Hold { after: 100, gate: Gate::held() },
        ),
        on_layer("layer: altered", always, Fault::WrongBytes),
        on_layer("layer: shorter than its descriptor says", always, Fault::Body("short".into())),
        on_layer("layer: longer than its descriptor says", always, Fault::ExtraBytes(1)),
        on_layer("layer: endless, without a length", always, Fault::HugeBody(1 << 30)),
        on_layer("layer: without a length", always, Fault::Chunked),
        row("token: 500 once", |registry| registry.fault(once(On::token()), Fault::status(500))),
        row("token: 500 always", |registry| registry.fault(On::token(), Fault::status(500))),
        row("token: 401", |registry| registry.fault(On::token(), Fault::status(401))),
        row("token: HTML", move |registry| registry.fault(On::token(), Fault::Body(html.into()))),
        row("token: no token", |registry| registry.fault(On::token(), Fault::Body("{}".into()))),
        row("token: 2 MiB", |registry| registry.fault(On::token(), Fault::HugeBody(2 << 20))),
        row("token: redirected for ever", |registry| {
            let url = format!("{}/token", registry.url());
            registry.fault(On::token(), Fault::RedirectTo(url));
        }),
        row("token: good for one request", |_| {}),
        row("realm: another host without TLS", |_| {}),
        row("realm: a URL with a login", |_| {}),
    ]
}

/// How the registry of a row asks for credentials.
fn options(name: &str) -> Options {
    let bearer = |bearer: Bearer| Options::bearer([User::new("agent", CANARY)], bearer);
    match name {
        "token: good for one request" => bearer(Bearer { uses: Some(1), ..Bearer::default() }),
        "realm: another host without TLS" => {
            bearer(Bearer { realm: Realm::At("http://10.0.0.1/token".into()), ..Bearer::default() })
        }
        "realm: a URL with a login" => {
            let url = "https://user:CANARY@registry.invalid/token";
            bearer(Bearer { realm: Realm::At(url.into()), ..Bearer::default() })
        }
        name if name.starts_with("token") => bearer(Bearer::default()),
        _ => Options { auth: Auth::Anonymous, ..Options::default() },
    }
}

#[test]
fn every_fault_ends_as_documented() {
    run("faults::every_fault_ends_as_documented", async {
        let root = namespace::scratch();
        let mut setup = Setup::default();
        setup.registry.read_timeout = Duration::from_millis(300);
        let driver = Driver::start(&root, setup).await;
        // None may get the address of an earlier one, whose skill is stored.
        let (mut told, mut kept) = (Vec::new(), Vec::new());
        for (name, set) in rows() {
            let registry = Registry::start(options(name));
            artifacts::skillimage(&registry, REPOSITORY, "v1", &skills::code_review());
            set(&registry);
            let host = registry.host();
            let reference = registry.reference(REPOSITORY, "v1");
            let volume = driver.volume("csi-1", &reference).secret(&host, "agent", CANARY);
            let outcome = driver.publish(&volume).await;
            let requests = registry.lines().len();
            let outcome = match outcome {
                Ok(()) => {
                    assert_eq!(tree::listing(&volume.target), skills::code_review().listing());
                    driver.unpublish(&volume).await.unwrap();
                    "mounted".to_owned()
                }
                Err(status) => {
                    assert!(!status.message().contains("CANARY"), "{status}");
                    assert!(!volume.target.exists(), "{name}");
                    let hosts = [registry.host(), registry.second_host()];
                    let text = generic(status.message(), &hosts, &root);
                    let begin = format!("cannot pull registry.example/{REPOSITORY}:v1");
                    let text = text.strip_prefix(&begin).unwrap_or_else(|| panic!("{text}"));
                    // Which logins there were is not what this is about.
                    let text = text
                        .split_once("): ")
                        .filter(|_| text.starts_with(" (logins"))
                        .map_or(text.trim_start_matches(": "), |(_, text)| text);
                    format!("`{:?}`: {text}", status.code())
                }
            };
            driver.in_use(0).await;
            kept.push(registry);
            told.push(format!("| {name} | {outcome} | {requests} |"));
        }
        assert!(told.len() >= 25);
        let text = fs::read_to_string(DOCUMENT).unwrap();
        let documented: Vec<_> = text.lines().filter(|line| told_by_table(line)).collect();
        assert_eq!(documented, told, "docs/testing.md should say:\n{}", told.join("\n"));
    });
}

/// Whether a line is a row of the table of faults.
fn told_by_table(line: &str) -> bool {
    ["| manifest: ", "| layer: ", "| token: ", "| realm: "]
        .iter()
        .any(|begin| line.starts_with(begin))
}
