//! Which login goes to which host, seen on the wire: the table of keys and references that
//! `src/credentials/keyring/tests.rs` holds the keyring to, and look-alike hosts above all.

use super::*;
use crate::node::Node;

/// What was asked of whom, with which login.
type Seen = (String, Option<String>);

/// The hosts of the table that are this machine: no proxy is asked for those.
fn is_here(reference: &str) -> bool {
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|host| reference.starts_with(host))
}

/// A registry behind every name: the driver's proxy, which asks everybody for a login and accepts
/// none.
struct Proxy {
    registry: Registry,
    node: Node,
    root: PathBuf,
}

impl Proxy {
    async fn start(hosts: &[String]) -> Self {
        let registry = Registry::start(Options::basic([]));
        let root = namespace::scratch();
        let plain = format!("--plain-http={}", hosts.join(","));
        let proxy = [("HTTP_PROXY", format!("http://{}", registry.host()))];
        let node = Node::start_with(&root, &[&plain, "--pull-backoff=0"], &proxy).await;
        Self { registry, node, root }
    }

    /// The requests of a publish that is refused, without what was asked twice.
    async fn seen(&self, id: &str, reference: &str, auths: &str) -> Vec<Seen> {
        self.registry.clear();
        let volume = Volume::new(&self.root, id, &format!("{reference}:v1"));
        let volume = volume.raw_secret(".dockerconfigjson", auths);
        let (code, message) = refused(self.node.client.publish(&volume).await);
        assert_eq!(code, Code::Unauthenticated, "{reference}: {message}");
        let mut seen: Vec<Seen> = vec![];
        for request in self.registry.requests() {
            let login = request.authorization.as_deref().map(user_of);
            let one = (request.host, login);
            if !seen.contains(&one) {
                seen.push(one);
            }
        }
        seen
    }
}

/// The host that a reference is asked of.
fn host(reference: &str) -> String {
    match reference.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) && host != "docker.io" => host.into(),
        _ => "registry-1.docker.io".into(),
    }
}

fn auths(keys: &[(&str, &str)]) -> String {
    let entry = |(key, user): &(&str, &str)| {
        let login = serde_json::json!({ "username": user, "password": CANARY });
        ((*key).to_owned(), login)
    };
    let entries: serde_json::Map<_, _> = keys.iter().map(entry).collect();
    serde_json::json!({ "auths": entries }).to_string()
}

#[test]
fn a_login_goes_to_the_hosts_of_its_key_and_to_no_other() {
    run("matching::a_login_goes_to_the_hosts_of_its_key_and_to_no_other", async {
        let text = include_str!("../support/matching.txt");
        let rows: Vec<_> = text
            .lines()
            .filter(|line| !line.starts_with("# "))
            .map(|line| line.split('\t').collect::<Vec<_>>())
            .filter(|row| !is_here(row[1]))
            .collect();
        assert!(rows.len() >= 60, "{}", rows.len());
        let mut hosts: Vec<_> = rows.iter().map(|row| host(row[1])).collect();
        hosts.sort();
        hosts.dedup();
        let proxy = Proxy::start(&hosts).await;
        for (number, row) in rows.iter().enumerate() {
            let [key, reference, matches] = row[..] else { panic!("{row:?}") };
            let key = if key == "-" { "" } else { key };
            let seen = proxy.seen(&format!("csi-{number}"), reference, &auths(&[(key, "u")])).await;
            let mut expected = vec![(host(reference), None)];
            if matches == "yes" {
                expected.push((host(reference), Some("u".to_owned())));
            }
            assert_eq!(seen, expected, "{key} {reference}");
        }
        proxy.node.terminate().await;
    });
}

/// The order of kubelet: longer keys first, names before globs.
#[test]
fn several_logins_go_out_in_kubelets_order() {
    run("matching::several_logins_go_out_in_kubelets_order", async {
        let hosts = ["quay.io", "ghcr.io", "registry-1.docker.io"].map(str::to_owned);
        let proxy = Proxy::start(&hosts).await;
        let rows: [(&str, &[(&str, &str)], &[&str]); 6] = [
            ("quay.io/org/x", &[("quay.io", "a"), ("quay.io/org", "b")], &["b", "a"]),
            ("quay.io/other/x", &[("quay.io", "a"), ("quay.io/org", "b")], &["a"]),
            (
                "quay.io/org/x",
                &[("*.io", "a"), ("quay.io", "b"), ("quay.io/org/x", "c"), ("quay.io/org", "d")],
                &["c", "d", "b", "a"],
            ),
            ("nginx", &[("docker.io", "a"), ("https://index.docker.io/v1/", "b")], &["a"]),
            ("nginx", &[("docker.io/acme", "a"), ("https://index.docker.io/v1/", "b")], &["b"]),
            ("ghcr.io/x", &[("https://ghcr.io", "a"), ("ghcr.io", "b")], &["b", "a"]),
        ];
        for (number, (reference, keys, expected)) in rows.into_iter().enumerate() {
            let seen = proxy.seen(&format!("csi-{number}"), reference, &auths(keys)).await;
            let users: Vec<_> = seen.into_iter().filter_map(|(_, user)| user).collect();
            assert_eq!(users, expected, "{reference} {keys:?}");
        }
        proxy.node.terminate().await;
    });
}
