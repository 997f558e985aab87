//! Content, ranges, TLS, pushes, and the life of a registry.

use oci_client::client::{ClientConfig, ClientProtocol, Config, ImageLayer};
use oci_client::secrets::RegistryAuth;
use reqwest::{Certificate, StatusCode};
use skillmount::reference::Digest;

use crate::support::{Bearer, Fault, On, Options, Registry, Tls, User, artifacts, skills};
use crate::{builder, client, get, header, json, with_blob};

const REPO: &str = "acme/code-review";

#[tokio::test]
async fn manifests_are_served_by_tag_and_digest_and_the_log_tells() {
    let registry = Registry::start(Options::default());
    let digest = artifacts::skillimage(&registry, REPO, "1.0.0", &skills::code_review());
    let by_tag = get(&registry, "/v2/acme/code-review/manifests/1.0.0").await;
    assert_eq!(header(&by_tag, "docker-content-digest"), digest.to_string());
    assert_eq!(header(&by_tag, "content-type"), artifacts::MANIFEST);
    assert_eq!(Digest::sha256(&by_tag.bytes().await.unwrap()), digest);
    let missing = get(&registry, "/v2/acme/code-review/manifests/2.0.0").await;
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    assert_eq!(json(missing).await["errors"][0]["code"], "MANIFEST_UNKNOWN");
    let nowhere = get(&registry, "/v2/acme/other/manifests/1.0.0").await;
    assert_eq!(json(nowhere).await["errors"][0]["code"], "NAME_UNKNOWN");
    let url = format!("{}/v2/{REPO}/manifests/{digest}", registry.url());
    let head = client().head(url).send().await.unwrap();
    let length = registry.manifest(REPO, "1.0.0").unwrap().len().to_string();
    assert_eq!(header(&head, "content-length"), length);
    assert_eq!(
        json(get(&registry, "/v2/acme/code-review/tags/list").await).await["tags"][0],
        "1.0.0"
    );
    assert_eq!(
        registry.lines(),
        [
            "GET /v2/acme/code-review/manifests/1.0.0 200".to_owned(),
            "GET /v2/acme/code-review/manifests/2.0.0 404".into(),
            "GET /v2/acme/other/manifests/1.0.0 404".into(),
            format!("HEAD /v2/acme/code-review/manifests/{digest} 200"),
            "GET /v2/acme/code-review/tags/list 200".into(),
        ]
    );
    registry.clear();
    assert_eq!(registry.count("GET", "/"), 0);
}

#[tokio::test]
async fn blobs_have_ranges_and_belong_to_their_repository() {
    let (registry, digest, path) = with_blob(Options::default(), b"0123456789");
    let url = format!("{}{path}", registry.url());
    for (range, status, body, content_range) in [
        ("bytes=0-3", 206, "0123", "bytes 0-3/10"),
        ("bytes=7-", 206, "789", "bytes 7-9/10"),
        ("bytes=-2", 206, "89", "bytes 8-9/10"),
        ("bytes=5-99", 206, "56789", "bytes 5-9/10"),
        ("lines=1-2", 200, "0123456789", ""),
    ] {
        let answer = client().get(&url).header("range", range).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{range}");
        assert_eq!(header(&answer, "content-range"), content_range, "{range}");
        assert_eq!(answer.text().await.unwrap(), body, "{range}");
    }
    let beyond = client().get(&url).header("range", "bytes=10-").send().await.unwrap();
    assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(header(&beyond, "content-range"), "bytes */10");
    registry.fault(On::blob(&digest), Fault::IgnoreRange);
    let whole = client().get(&url).header("range", "bytes=7-").send().await.unwrap();
    assert_eq!(
        (whole.status(), whole.text().await.unwrap().as_str()),
        (StatusCode::OK, "0123456789")
    );
    let elsewhere = get(&registry, &path.replace("/x/", "/y/")).await;
    assert_eq!(json(elsewhere).await["errors"][0]["code"], "BLOB_UNKNOWN");
}

#[tokio::test]
async fn a_registry_stops_restarts_and_ends_with_its_handle() {
    let (registry, _, path) = with_blob(Options::default(), b"x");
    let url = format!("{}{path}", registry.url());
    let client = builder().build().unwrap();
    assert_eq!(client.get(&url).send().await.unwrap().status(), StatusCode::OK);
    registry.stop().await;
    assert!(client.get(&url).send().await.is_err());
    registry.restart().await;
    assert_eq!(client.get(&url).send().await.unwrap().status(), StatusCode::OK);
    drop(registry);
    assert!(client.get(&url).send().await.is_err());
}

#[tokio::test]
async fn tls_needs_its_authority_and_its_name() {
    let trusting = |registry: &Registry| {
        let ca = Certificate::from_pem(registry.ca_pem().unwrap().as_bytes()).unwrap();
        builder().tls_certs_only([ca]).build().unwrap()
    };
    let registry = Registry::start(Options::tls());
    let url = format!("{}/v2/", registry.url());
    assert!(url.starts_with("https://127.0.0.1:"));
    assert_eq!(trusting(&registry).get(&url).send().await.unwrap().status(), StatusCode::OK);
    assert!(client().get(&url).send().await.is_err());

    let tls = Some(Tls::for_another_host());
    let other = Registry::start(Options { tls, ..Options::default() });
    let url = format!("{}/v2/", other.url());
    assert!(trusting(&other).get(url).send().await.is_err());
}

#[tokio::test]
async fn oci_client_pushes_and_pulls() {
    let users = [User::new("admin", "a")];
    let registry = Registry::start(Options::bearer(users, Bearer::default()));
    let host = registry.host();
    let protocol = ClientProtocol::HttpsExcept(vec![host.clone()]);
    let login = RegistryAuth::Basic("admin".into(), "a".into());
    let reference: oci_client::Reference = format!("{host}/acme/pushed:1").parse().unwrap();
    drop(builder());
    for monolithic in [true, false] {
        let config = ClientConfig {
            protocol: protocol.clone(),
            use_monolithic_push: monolithic,
            ..ClientConfig::default()
        };
        let client = oci_client::Client::try_from(config).unwrap();
        let tar = skills::code_review().tar().gzip();
        let layers = [ImageLayer::oci_v1_gzip(tar.clone(), None)];
        let config = Config::oci_v1("{}", None);
        client.push(&reference, &layers, config, &login, None).await.unwrap();
        let mut pulled = vec![];
        let (manifest, _) = client.pull_image_manifest(&reference, &login).await.unwrap();
        client.pull_blob(&reference, &manifest.layers[0], &mut pulled).await.unwrap();
        assert_eq!(pulled, tar);
        assert_eq!(registry.layers("acme/pushed", "1"), [Digest::sha256(&tar)]);
        registry.remove_blob(&Digest::sha256(&tar));
    }
}
