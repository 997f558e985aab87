//! How bytes get here: connections, proxies, HTTP/2, layers side by side.

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::support::artifacts::Layer;
use crate::support::auth::{Bearer, User};
use crate::support::{Fault, Gate, On, Tls};

const REPOSITORY: &str = "team/code-review";

#[test]
fn a_warm_token_costs_two_requests() {
    run("transport::a_warm_token_costs_two_requests", async {
        let users = [User::new("agent", CANARY)];
        let (registry, driver) = start(Options::bearer(users, Bearer::default())).await;
        let host = registry.host();
        for (tag, skill) in [("v1", skills::code_review()), ("v2", skills::docs_writer())] {
            artifacts::oras_dir(&registry, "team/bare", tag, &skill);
        }
        let volume = |id: &str, tag: &str| {
            let reference = registry.reference("team/bare", tag);
            driver.volume(id, &reference).secret(&host, "agent", CANARY)
        };
        driver.publish(&volume("csi-1", "v1")).await.unwrap();
        registry.clear();
        let connections = registry.connections();
        driver.publish(&volume("csi-2", "v2")).await.unwrap();
        let layer = &registry.layers("team/bare", "v2")[0];
        assert_eq!(
            registry.lines(),
            [
                "GET /v2/team/bare/manifests/v2 200".to_owned(),
                format!("GET /v2/team/bare/blobs/{layer} 200"),
            ]
        );
        assert_eq!(registry.connections(), connections, "what is open is used again");
    });
}

/// The config of `REPOSITORY:v1`.
fn config(registry: &Registry) -> String {
    let manifest = registry.manifest(REPOSITORY, "v1").unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    manifest["config"]["digest"].as_str().unwrap().to_owned()
}

#[test]
fn a_layer_is_asked_for_beside_the_config() {
    run("transport::a_layer_is_asked_for_beside_the_config", async {
        let registry = Registry::start(Options::default());
        artifacts::image(
            &registry,
            REPOSITORY,
            "v1",
            &[Layer::gzip(skills::code_review().tar().build())],
        );
        let driver = Driver::start(&namespace::scratch(), Setup::default()).await;
        let layer = registry.layers(REPOSITORY, "v1")[0].clone();
        let (held, volume) =
            (Gate::held(), driver.volume("csi-1", &registry.reference(REPOSITORY, "v1")));
        registry.fault(On::blob(config(&registry)), Fault::Stall(held.clone()));
        let both = async {
            held.wait_for_waiting(1).await;
            while registry.count("GET", &layer.to_string()) == 0 {
                tokio::task::yield_now().await;
            }
            assert!(!volume.target.exists(), "what the config says counts first");
            held.release();
        };
        let (published, ()) = tokio::join!(driver.publish(&volume), both);
        published.unwrap();
        assert_eq!(tree::listing(&volume.target), skills::code_review().listing());
        assert_eq!(registry.count("GET", "/blobs/"), 2);
    });
}

#[test]
fn a_config_that_refuses_ends_the_download_of_the_layer() {
    run("transport::a_config_that_refuses_ends_the_download_of_the_layer", async {
        let registry = Registry::start(Options::default());
        artifacts::image(
            &registry,
            REPOSITORY,
            "v1",
            &[Layer::gzip(skills::code_review().tar().build())],
        );
        let root = namespace::scratch();
        let driver = Driver::start(&root, Setup::default()).await;
        let layer = registry.layers(REPOSITORY, "v1")[0].clone();
        let (begun, asked) = (Gate::held(), Gate::held());
        let config = config(&registry);
        registry.fault(On::blob(&config), Fault::Stall(asked.clone()));
        registry.fault(On::blob(&config), Fault::WrongBytes);
        registry.fault(On::blob(&layer), Fault::Hold { after: 10, gate: begun.clone() });
        let volume = driver.volume("csi-1", &registry.reference(REPOSITORY, "v1"));
        let both = async {
            begun.wait_for_waiting(1).await;
            asked.release();
        };
        let (published, ()) = tokio::join!(driver.publish(&volume), both);
        let (code, message) = refused(published);
        assert_eq!(code, Code::DataLoss, "{message}");
        begun.wait_for_none_waiting().await;
        assert_clean(&root);
    });
}

#[test]
fn http2_is_spoken_where_it_is_offered() {
    run("transport::http2_is_spoken_where_it_is_offered", async {
        for (tls, version) in [(Tls::http2(), "HTTP/2.0"), (Tls::new(), "HTTP/1.1")] {
            let registry = Registry::start(Options { tls: Some(tls), ..Options::default() });
            // Larger than every window, in layers that wait for each other.
            let layer = |name: &str| {
                let text: String =
                    (0..600_000u32).map(|n| format!("{:x}", n.wrapping_mul(2654435761))).collect();
                Layer::gzip(skills::code_review().tar().file(name, text, 0o644).build())
            };
            let layers = ["a", "b", "c", "d"].map(layer);
            artifacts::image(&registry, REPOSITORY, "v1", &layers);
            let root = namespace::scratch().join(version.replace('/', "-"));
            fs::create_dir(&root).unwrap();
            let ca = root.join("ca.pem");
            fs::write(&ca, registry.ca_pem().unwrap()).unwrap();
            let mut setup = Setup::default();
            setup.registry.ca_files = vec![ca];
            let driver = Driver::start(&root, setup).await;
            let volume = driver.volume("csi-1", &registry.reference(REPOSITORY, "v1"));
            driver.publish(&volume).await.unwrap();
            let requests = registry.requests();
            assert!(requests.iter().all(|request| request.version == version), "{requests:?}");
            assert!(requests.iter().all(|request| request.host == registry.host()), "{requests:?}");
            if version == "HTTP/2.0" {
                assert_eq!(registry.connections(), 1, "all on one connection");
            }
            driver.unpublish(&volume).await.unwrap();
            driver.stop().await;
        }
    });
}

/// An artifact of two layers, of which the first one's body stops at a gate in its middle.
async fn gated(downloads: usize) -> (Registry, Driver, Gate, String) {
    let registry = Registry::start(Options::default());
    let skill = skills::code_review();
    let layers = [
        Layer::gzip(skill.tar().build()),
        Layer::gzip(skill.tar().file("more", "x", 0o644).build()),
    ];
    artifacts::image(&registry, REPOSITORY, "v1", &layers);
    let digests = registry.layers(REPOSITORY, "v1");
    let gate = Gate::held();
    registry.fault(On::blob(&digests[0]), Fault::Hold { after: 100, gate: gate.clone() });
    let driver =
        Driver::start(&namespace::scratch(), Setup { downloads, ..Setup::default() }).await;
    (registry, driver, gate, digests[1].to_string())
}

#[test]
fn the_next_layer_does_not_wait_for_the_first() {
    run("transport::the_next_layer_does_not_wait_for_the_first", async {
        let (registry, driver, gate, second) = gated(16).await;
        let volume = driver.volume("csi-1", &registry.reference(REPOSITORY, "v1"));
        let client = driver.client();
        let publishing = tokio::spawn(async move { client.publish(&volume).await });
        gate.wait_for_waiting(1).await;
        while registry.count("GET", &second) == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(gate.waiting(), 1, "the first one is not complete");
        gate.release();
        publishing.await.unwrap().unwrap();
    });
}

#[test]
fn no_more_layers_ahead_than_the_node_allows() {
    run("transport::no_more_layers_ahead_than_the_node_allows", async {
        let (registry, driver, gate, second) = gated(1).await;
        let volume = driver.volume("csi-1", &registry.reference(REPOSITORY, "v1"));
        let client = driver.client();
        let publishing = tokio::spawn(async move { client.publish(&volume).await });
        gate.wait_for_waiting(1).await;
        // Another pull does not wait for the one that is held: its lowest layer needs no place.
        artifacts::skillimage(&registry, "team/other", "v1", &skills::docs_writer());
        let other = driver.volume("csi-2", &registry.reference("team/other", "v1"));
        driver.publish(&other).await.unwrap();
        assert_eq!(registry.count("GET", &second), 0, "a layer ahead needs one");
        gate.release();
        publishing.await.unwrap().unwrap();
        assert_eq!(registry.count("GET", &second), 1);
    });
}

#[test]
fn the_lowest_failing_layer_is_named() {
    run("transport::the_lowest_failing_layer_is_named", async {
        let (registry, driver, gate, second) = gated(16).await;
        let first = registry.layers(REPOSITORY, "v1")[0].clone();
        registry.clear_faults();
        // The second fails at once; the first later, in another way.
        registry.fault(On::blob(&second), Fault::status(404));
        registry.fault(On::blob(&first), Fault::Stall(gate.clone()));
        registry.fault(On::blob(&first), Fault::WrongBytes);
        let volume = driver.volume("csi-1", &registry.reference(REPOSITORY, "v1"));
        let client = driver.client();
        let publishing = tokio::spawn(async move { client.publish(&volume).await });
        gate.wait_for_waiting(1).await;
        while !registry.lines().iter().any(|line| line.contains(&second) && line.ends_with("404")) {
            tokio::task::yield_now().await;
        }
        gate.release();
        let (code, message) = refused(publishing.await.unwrap());
        assert_eq!(code, Code::DataLoss, "{message}");
        assert!(message.contains(&first.to_string()[..19]), "{message}");
    });
}

/// A proxy that sends everything to one address, and notes what it was asked and shown.
async fn proxy(to: String) -> (String, std::sync::Arc<std::sync::Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let seen: std::sync::Arc<std::sync::Mutex<Vec<String>>> = Default::default();
    let log = seen.clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (to, log) = (to.clone(), log.clone());
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await.unwrap());
                }
                log.lock().unwrap().push(String::from_utf8(head.clone()).unwrap());
                let mut server = TcpStream::connect(to).await.unwrap();
                if head.starts_with(b"CONNECT ") {
                    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                } else {
                    server.write_all(&head).await.unwrap();
                }
                drop(copy_bidirectional(&mut client, &mut server).await);
            });
        }
    });
    (address, seen)
}

#[test]
fn proxies_of_the_environment_are_used() {
    run("transport::proxies_of_the_environment_are_used", async {
        let root = namespace::scratch();
        let tls = Options { tls: Some(Tls::with_names(&["registry.test"])), ..Options::default() };
        let (secure, plain) = (Registry::start(tls), Registry::start(Options::default()));
        for registry in [&secure, &plain] {
            artifacts::skillimage(registry, REPOSITORY, "v1", &skills::code_review());
        }
        let ca = root.join("ca.pem");
        fs::write(&ca, secure.ca_pem().unwrap()).unwrap();
        let pull =
            |reference: String, environment: Vec<(&'static str, String)>, output: PathBuf| {
                let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_skillmount"));
                command.env_clear().envs(environment);
                command.args(["pull", &reference, "--connect-timeout=5", "--log-level=trace"]);
                command
                    .arg("--plain-http=plain.test")
                    .arg("--ca-file")
                    .arg(&ca)
                    .arg("--output")
                    .arg(output);
                async move {
                    let output = command.output().await.unwrap();
                    let text = String::from_utf8_lossy(&output.stderr).into_owned();
                    assert!(!text.contains("CANARY"), "{text}");
                    (output.status.success(), text)
                }
            };
        for (name, registry, host, first) in [
            ("HTTPS_PROXY", &secure, "registry.test", "CONNECT registry.test:443 "),
            ("https_proxy", &secure, "registry.test", "CONNECT registry.test:443 "),
            ("ALL_PROXY", &secure, "registry.test", "CONNECT registry.test:443 "),
            ("HTTP_PROXY", &plain, "plain.test", "GET http://plain.test/v2/"),
        ] {
            let (address, seen) = proxy(registry.host()).await;
            let url = format!("http://user:{CANARY}@{address}");
            let output = root.join(name);
            let reference = format!("{host}/{REPOSITORY}:v1");
            let (ok, text) = pull(reference.clone(), vec![(name, url.clone())], output).await;
            assert!(ok, "{name}: {text}");
            {
                let seen = seen.lock().unwrap();
                assert!(seen[0].starts_with(first), "{name}: {seen:?}");
                let shown = User::new("user", CANARY).basic();
                let header = format!("proxy-authorization: {}", shown.to_lowercase());
                assert!(seen[0].to_lowercase().contains(&header), "{name}: {seen:?}");
            }
            // Not for what NO_PROXY lists, which does not exist; and not for this machine.
            let asked = seen.lock().unwrap().len();
            let environment = vec![(name, url.clone()), ("NO_PROXY", ".test".to_owned())];
            let (ok, text) = pull(reference, environment, root.join("none")).await;
            assert!(!ok && text.contains(&format!("cannot connect to {host}")), "{text}");
            let local = registry.reference(REPOSITORY, "v1");
            let output = root.join(format!("{name}-local"));
            let (ok, text) = pull(local, vec![(name, url)], output).await;
            assert!(ok, "{text}");
            assert_eq!(seen.lock().unwrap().len(), asked, "{name}");
        }
        // A proxy that is not there is no secret, but its password is.
        let url = format!("http://user:{CANARY}@127.0.0.1:1");
        let reference = format!("registry.test/{REPOSITORY}:v1");
        let (ok, text) = pull(reference, vec![("HTTPS_PROXY", url)], root.join("none")).await;
        assert!(!ok && text.contains("cannot connect to registry.test"), "{text}");
    });
}

#[test]
fn a_cut_blob_goes_on_where_it_was_cut() {
    run("transport::a_cut_blob_goes_on_where_it_was_cut", async {
        let registry = Registry::start(Options::default());
        let root = namespace::scratch();
        let driver = Driver::start(&root, Setup::default()).await;
        let sizes =
            |size: u64| [0, 1, 2, 9, 10, size / 4, size / 2, size - size / 4, size - 2, size - 1];
        for number in 0..10 {
            let tag = format!("v{number}");
            // Another layer each time, since what is stored is not asked for.
            let tar = skills::code_review().tar().file("number", &tag, 0o644).build();
            artifacts::image(&registry, REPOSITORY, &tag, &[Layer::gzip(tar)]);
            let layer = registry.layers(REPOSITORY, &tag)[0].clone();
            let manifest: serde_json::Value =
                serde_json::from_slice(&registry.manifest(REPOSITORY, &tag).unwrap()).unwrap();
            let size = manifest["layers"][0]["size"].as_u64().unwrap();
            let cut = sizes(size)[number];
            registry.fault(On::blob(&layer).times(1), Fault::Truncate(cut));
            let volume =
                driver.volume(&format!("csi-{number}"), &registry.reference(REPOSITORY, &tag));
            driver.publish(&volume).await.unwrap();
            assert_eq!(fs::read_to_string(volume.target.join("number")).unwrap(), tag);
            let path = format!("GET /v2/{REPOSITORY}/blobs/{layer}");
            let asked: Vec<_> =
                registry.lines().into_iter().filter(|line| line.starts_with(&path)).collect();
            let again = match cut {
                0 => format!("{path} 200"),
                cut => format!("{path} bytes={cut}- 206"),
            };
            assert_eq!(asked, [format!("{path} 200"), again], "cut at {cut} of {size}");
        }
    });
}
