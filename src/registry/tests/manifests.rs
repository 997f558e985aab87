use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

#[tokio::test]
async fn a_public_manifest_is_got_and_checked() {
    let server = Server::start(|_| manifest()).await;
    let host = server.host();
    let registry = client(&[&host]);
    let resolved = pull(&registry, &host, &[]).await.unwrap();
    assert_eq!(resolved.digest, Digest::sha256(MANIFEST.as_bytes()));
    assert_eq!(resolved.body, MANIFEST);
    assert_eq!(resolved.media_type.as_deref(), Some("application/vnd.oci.image.manifest.v1+json"));
    assert_eq!(resolved.access.credential(), None);
    let again = registry.manifest(&resolved.access, &resolved.digest).await.unwrap();
    assert_eq!(again.body, MANIFEST);
    let seen = server.seen();
    assert_eq!(
        server.log(),
        [
            "/v2/acme/skill/manifests/1 -".to_owned(),
            format!("/v2/acme/skill/manifests/{} -", again.digest)
        ]
    );
    assert_eq!(seen[0].agent.as_deref(), Some(RegistryConfig::default().user_agent));
}

#[tokio::test]
async fn a_wrong_manifest_is_refused() {
    let wrong = Digest::sha256(b"other");
    let right = Digest::sha256(MANIFEST.as_bytes());
    let announced = wrong.to_string();
    let server = Server::start(move |seen| match seen.path.ends_with("/1") {
        true => answer(200, &[("docker-content-digest", &announced)], MANIFEST),
        false => manifest(),
    })
    .await;
    let host = server.host();
    let registry = client(&[&host]);
    for selector in [tag(), Selector::Digest(wrong.clone())] {
        let error = registry.resolve(&repository(&host), &selector, only(&[])).await.unwrap_err();
        assert!(!error.is_transient());
        assert_eq!(
            text(&error, &host),
            format!("the registry sent other content than {wrong} (its digest is {right})")
        );
    }
}

#[tokio::test]
async fn an_endless_manifest_is_refused() {
    let server = Server::start(|_| answer(200, &[], vec![b' '; 5 << 20])).await;
    let host = server.host();
    assert_eq!(
        pull(&client(&[&host]), &host, &[]).await.unwrap_err(),
        "the manifest is longer than 4194304 bytes"
    );
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn refusals_without_a_credential_say_what_to_do() {
    for (status, expected) in [
        (
            403,
            "the registry asks for a login and no credential matched (403 Forbidden: \
             no way); a pull secret (nodePublishSecretRef) needs an entry for \"R\"",
        ),
        (
            404,
            "not found (404 Not Found: no way); if it is private, a pull secret (nodePublishSecretRef) needs an entry for \"R\"",
        ),
        (418, "R answers 418 I'm a teapot: no way"),
    ] {
        let server = Server::start(move |_| error(status, "X", "no\\nway\\u0007")).await;
        let host = server.host();
        assert_eq!(pull(&client(&[&host]), &host, &[]).await.unwrap_err(), expected);
        assert_eq!(server.seen().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn overload_is_waited_out() {
    for status in [429, 500, 503] {
        let count = Arc::new(AtomicU32::new(0));
        let server = Server::start(move |_| match count.fetch_add(1, Ordering::Relaxed) {
            0 | 1 => answer(status, &[("retry-after", "0")], ""),
            _ => manifest(),
        })
        .await;
        let host = server.host();
        pull(&client(&[&host]), &host, &[]).await.unwrap();
        assert_eq!(server.seen().len(), 3, "{status}");
    }
}

#[tokio::test]
async fn overload_that_lasts_is_an_error() {
    for (status, retry_after, tries, expected) in [
        (
            429,
            "0",
            3,
            "R limits the rate of requests (429 Too Many Requests: slow down); a \
             credential may raise the limit",
        ),
        (
            429,
            "3600",
            1,
            "R limits the rate of requests (429 Too Many Requests: slow down); a \
             credential may raise the limit",
        ),
        (502, "0", 3, "R failed: 502 Bad Gateway: slow down"),
    ] {
        let server = Server::start(move |_| {
            let mut response = error(status, "TOOMANYREQUESTS", "slow down");
            response.headers_mut().insert("retry-after", retry_after.parse().unwrap());
            response
        })
        .await;
        let host = server.host();
        let error =
            client(&[&host]).resolve(&repository(&host), &tag(), only(&[])).await.unwrap_err();
        assert!(error.is_transient());
        assert_eq!(text(&error, &host), expected);
        assert_eq!(server.seen().len(), tries);
    }
}

#[tokio::test]
async fn a_silent_server_and_no_server_are_told_apart() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let config = RegistryConfig {
        plain_http: vec![host.clone()],
        read_timeout: Duration::from_millis(50),
        ..quick()
    };
    let registry = client_with(config);
    assert_eq!(pull(&registry, &host, &[]).await.unwrap_err(), "R did not answer in time");
    drop(listener);
    assert_eq!(
        pull(&registry, &host, &[]).await.unwrap_err(),
        "cannot connect to R: Connection refused (os error 111)"
    );
}

#[tokio::test]
async fn redirects_in_a_circle_end() {
    let server = Server::start(|seen| answer(307, &[("location", &seen.path)], "")).await;
    let host = server.host();
    assert_eq!(
        pull(&client(&[&host]), &host, &[]).await.unwrap_err(),
        "R redirects more than ten times"
    );
    assert_eq!(server.seen().len(), 11);
}

#[tokio::test]
async fn a_redirected_manifest_loses_the_authorization() {
    let storage = Server::start(|_| manifest()).await;
    let location = format!("http://{}/stored", storage.host());
    let server = Server::start(move |seen| match seen.authorization.as_deref() {
        None => wants("Basic realm=\"x\""),
        Some(_) => answer(307, &[("location", &location)], ""),
    })
    .await;
    let host = server.host();
    pull(&client(&[&host]), &host, &[alice()]).await.unwrap();
    assert_eq!(storage.log(), ["/stored -"]);
}

#[tokio::test]
async fn a_host_without_tls_has_to_be_listed() {
    let server =
        Server::start(|_| answer(307, &[("location", "http://registry.invalid/x")], "")).await;
    let host = server.host();
    assert_eq!(
        pull(&client(&[&host]), &host, &[]).await.unwrap_err(),
        "R redirects to a host without TLS that --plain-http does not list; that is not followed"
    );
    assert_eq!(server.seen().len(), 1);
}
