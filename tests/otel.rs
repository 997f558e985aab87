//! What a collector is sent: one span for each call of kubelet's for a volume, and in it what the
//! pod waited for. Decoded by the numbers of OTLP's own description
//! (opentelemetry-proto, trace/v1/trace.proto), not by the library that encodes.
//!
//! ```sh
//! cargo test --features otel --test otel
//! ```

#![cfg(feature = "otel")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests assert")]

#[path = "support/namespace.rs"]
mod namespace;
#[allow(dead_code, reason = "shared with tests/publish")]
#[path = "publish/node.rs"]
mod node;
#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use node::Node;
use prost::Message;
use support::auth::User;
use support::driver::Volume;
use support::{Options, Registry, artifacts, skills};
use tokio::net::TcpListener;

const CANARY: &str = "CANARY-horse-battery";

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

#[derive(Clone, PartialEq, Message)]
struct Export {
    #[prost(message, repeated, tag = "1")]
    resources: Vec<OfResource>,
}

#[derive(Clone, PartialEq, Message)]
struct OfResource {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<OfScope>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct OfScope {
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(bytes = "vec", tag = "1")]
    trace: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start: u64,
    #[prost(fixed64, tag = "8")]
    end: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
    #[prost(message, repeated, tag = "11")]
    events: Vec<Resource>,
    #[prost(message, optional, tag = "15")]
    status: Option<Status>,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "3")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(string, optional, tag = "1")]
    text: Option<String>,
    #[prost(int64, optional, tag = "3")]
    number: Option<i64>,
}

/// The attributes as `key=value`.
fn attributes(pairs: &[KeyValue]) -> Vec<String> {
    let shown = |pair: &KeyValue| {
        let value = pair.value.clone().unwrap_or_default();
        let number = value.number.map(|number| number.to_string());
        format!("{}={}", pair.key, value.text.or(number).unwrap_or_default())
    };
    let mut shown: Vec<_> = pairs.iter().map(shown).collect();
    shown.sort();
    shown
}

/// A collector in this process: where it is, and what it was sent.
async fn collector() -> (SocketAddr, Arc<Mutex<Vec<Bytes>>>) {
    let (sent, listener) = (Arc::<Mutex<Vec<Bytes>>>::default(), TcpListener::bind("127.0.0.1:0"));
    let (listener, kept) = (listener.await.unwrap(), sent.clone());
    let address = listener.local_addr().unwrap();
    let take = move |body: Bytes| {
        kept.lock().unwrap().push(body);
        async {}
    };
    let router = Router::new().route("/v1/traces", post(take));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, sent)
}

fn run(test: &str, body: impl Future<Output = ()>) {
    namespace::in_namespace(test, || tokio::runtime::Runtime::new().unwrap().block_on(body));
}

#[test]
fn a_collector_is_sent_calls_and_their_phases() {
    run("a_collector_is_sent_calls_and_their_phases", async {
        let root = namespace::scratch();
        let registry = Registry::start(Options::basic([User::new("agent", CANARY)]));
        artifacts::skillimage(&registry, "team/code-review", "v1", &skills::code_review());
        let (address, sent) = collector().await;
        let environment = [
            (ENDPOINT, format!("http://{address}")),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=CANARY-collector".to_owned()),
        ];
        let node = Node::start_with(&root, &["--log-level=debug"], &environment).await;
        let volume = |id: &str, tag: &str| {
            let volume = Volume::new(&root, id, &registry.reference("team/code-review", tag));
            volume.secret(&registry.host(), "agent", CANARY)
        };
        node.client.publish(&volume("csi-1", "v1")).await.unwrap();
        node.client.publish(&volume("csi-2", "v1")).await.unwrap();
        node.client.publish(&volume("csi-3", "v9")).await.unwrap_err();
        node.client.unpublish(&volume("csi-1", "v1")).await.unwrap();
        let (status, log) = node.terminate().await;
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(log.contains(" rpc{call=0}: "), "{log}");
        for never in ["phase{", "call{", "cannot send traces"] {
            assert!(!log.contains(never), "{never}: {log}");
        }

        let mut spans = Vec::new();
        for body in sent.lock().unwrap().iter() {
            assert!(!String::from_utf8_lossy(body).contains("CANARY"));
            assert!(!String::from_utf8_lossy(body).contains("code-review"));
            for of in Export::decode(body.clone()).unwrap().resources {
                let resource = attributes(&of.resource.unwrap().attributes);
                assert!(resource.contains(&"service.name=skillmount".into()), "{resource:?}");
                spans.extend(of.scopes.into_iter().flat_map(|scope| scope.spans));
            }
        }
        spans.sort_by_key(|span| span.start);
        let (calls, phases): (Vec<_>, Vec<_>) = spans.iter().partition(|span| span.name == "rpc");
        let mut told = Vec::new();
        for call in calls {
            assert!(call.parent.is_empty(), "{call:?}");
            let mut names = Vec::new();
            for phase in phases.iter().filter(|phase| phase.parent == call.id) {
                assert_eq!((&phase.trace, phase.kind), (&call.trace, 1), "{phase:?}");
                assert!(call.start <= phase.start && phase.start <= phase.end);
                assert!(phase.end <= call.end, "{phase:?}");
                assert_eq!((attributes(&phase.attributes), phase.events.len()), (vec![], 0));
                names.push(phase.name.as_str());
            }
            let status = call.status.as_ref().map_or(0, |status| status.code);
            let attributes = attributes(&call.attributes).join(" ");
            told.push(format!("{attributes} {status}: {}", names.join(" ")));
        }
        assert_eq!(
            told,
            [
                "call=0 code=Ok rpc.method=NodePublishVolume volume_id=csi-1 0: \
                 wait resolve download store mount",
                "call=1 code=Ok rpc.method=NodePublishVolume volume_id=csi-2 0: mount",
                "call=2 code=NotFound rpc.method=NodePublishVolume volume_id=csi-3 2: wait resolve",
                "call=3 code=Ok rpc.method=NodeUnpublishVolume volume_id=csi-1 0: ",
            ]
        );
        assert_eq!(spans.len(), 4 + 8, "none is without its call");
    });
}

#[test]
fn a_collector_that_is_away_is_in_nobodys_way() {
    run("a_collector_that_is_away_is_in_nobodys_way", async {
        let root = namespace::scratch();
        let registry = Registry::start(Options::default());
        artifacts::skillimage(&registry, "team/code-review", "v1", &skills::code_review());
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = gone.local_addr().unwrap();
        drop(gone);
        let environment = [(ENDPOINT, format!("http://{address}"))];
        let node = Node::start_with(&root, &[], &environment).await;
        let reference = registry.reference("team/code-review", "v1");
        node.client.publish(&Volume::new(&root, "csi-1", &reference)).await.unwrap();
        let (status, log) = node.terminate().await;
        assert_eq!(status.code(), Some(0), "{log}");
        assert_eq!(log.matches("cannot send traces").count(), 1, "{log}");
        assert!(fs::exists(root.join("state/volumes/csi-1.json")).unwrap());
    });
}

#[tokio::test]
async fn an_endpoint_that_is_none_is_told_at_start() {
    let root = tempfile::tempdir().unwrap();
    let mut command = node::command(root.path());
    let output = command.env(ENDPOINT, "not a URL").output().await.unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{log}");
    assert!(log.starts_with("error: cannot send traces as OTEL_EXPORTER_OTLP_* says: "), "{log}");
}
