use super::*;

const DATA: &[u8] = b"0123456789abcdefghij";

fn digest() -> Digest {
    Digest::sha256(DATA)
}

/// A part of the data from `start`, as `body` gives it.
fn part(start: usize, mut body: Response<Body>) -> Response<Body> {
    let range = format!("bytes {start}-19/20").parse().unwrap();
    body.headers_mut().insert("content-range", range);
    body
}

/// A body that says it has `length` bytes, and breaks after `part`.
fn broken(status: u16, part: &'static [u8], length: usize) -> Response<Body> {
    let parts = [Ok(Bytes::from_static(part)), Err(std::io::Error::other("cut"))];
    // The server writes out what it has when the next part is not there yet.
    let parts = futures_util::stream::iter(parts).then(|part| async {
        tokio::task::yield_now().await;
        part
    });
    answer(status, &[("content-length", &length.to_string())], Body::from_stream(parts))
}

async fn access(registry: &Registry, host: &str, candidates: &[Credential]) -> Access {
    pull(registry, host, candidates).await.unwrap().access
}

async fn read(
    registry: &Registry,
    access: &Access,
    size: u64,
    cap: u64,
) -> Result<Vec<u8>, RegistryError> {
    let blob = registry.blob(access, &digest(), size, cap).await?;
    let parts: Vec<Bytes> = blob.try_collect().await?;
    Ok(parts.concat())
}

/// A server with the manifest, and `blob` for the rest.
async fn serve(
    blob: impl Fn(&Seen) -> Response<Body> + Clone + Send + Sync + 'static,
) -> (Server, Registry, String) {
    let server = Server::start(move |seen| match seen.path.contains("/manifests/") {
        true => manifest(),
        false => blob(seen),
    })
    .await;
    let host = server.host();
    let registry = client(&[&host]);
    (server, registry, host)
}

fn ranges(server: &Server) -> Vec<Option<String>> {
    server.seen().into_iter().skip(1).map(|seen| seen.range).collect()
}

#[tokio::test]
async fn a_blob_is_streamed() {
    let (server, registry, host) = serve(|_| answer(200, &[], DATA)).await;
    let access = access(&registry, &host, &[]).await;
    for size in [0, 20] {
        assert_eq!(read(&registry, &access, size, 100).await.unwrap(), DATA);
    }
    assert_eq!(
        server.log()[1..],
        [
            format!("/v2/acme/skill/blobs/{} -", digest()),
            format!("/v2/acme/skill/blobs/{} -", digest())
        ]
    );
    assert_eq!(server.seen()[1].agent.as_deref(), Some(RegistryConfig::default().user_agent));
}

#[tokio::test]
async fn a_broken_blob_is_resumed() {
    // By a range; from the start, where ranges are ignored; where they are refused; and where
    // another range comes than was asked for.
    let modes: [fn(&Seen) -> Response<Body>; 4] = [
        |seen| match seen.range.as_deref() {
            None => broken(200, b"01234567", 20),
            Some("bytes=8-") => part(8, broken(206, b"89", 12)),
            Some("bytes=10-") => part(10, answer(206, &[], &DATA[10..])),
            other => panic!("{other:?}"),
        },
        |seen| match seen.range {
            None => broken(200, b"01234567", 20),
            Some(_) => answer(200, &[], DATA),
        },
        |seen| match seen.range {
            None => answer(200, &[], DATA),
            Some(_) => answer(416, &[], ""),
        },
        |seen| match seen.range {
            None => answer(200, &[], DATA),
            Some(_) => part(9, answer(206, &[], &DATA[9..])),
        },
    ];
    for (mode, handler) in modes.into_iter().enumerate() {
        for size in [0, 20] {
            let first = std::sync::atomic::AtomicBool::new(true);
            let first = Arc::new(first);
            let (server, registry, host) = serve(move |seen| {
                match mode >= 2 && first.swap(false, std::sync::atomic::Ordering::Relaxed) {
                    true => broken(200, b"01234567", 20),
                    false => handler(seen),
                }
            })
            .await;
            let access = access(&registry, &host, &[]).await;
            assert_eq!(read(&registry, &access, size, 100).await.unwrap(), DATA, "{mode} {size}");
            let some = |range: &str| Some(range.to_owned());
            let expected = match mode {
                0 => vec![None, some("bytes=8-"), some("bytes=10-")],
                1 => vec![None, some("bytes=8-")],
                _ => vec![None, some("bytes=8-"), None],
            };
            assert_eq!(ranges(&server), expected, "{mode} {size}");
        }
    }
}

#[tokio::test]
async fn a_blob_of_another_size_is_refused() {
    let cases: [(&'static [u8], u64, u64, &str); 3] = [
        (DATA, 19, 100, "the registry sends more than 19 bytes"),
        (DATA, 0, 19, "the registry sends more than 19 bytes"),
        (&DATA[..19], 20, 100, "the registry sent 19 of 20 bytes"),
    ];
    for chunked in [false, true] {
        for (body, size, cap, expected) in cases {
            let (_server, registry, host) = serve(move |_| match chunked {
                false => answer(200, &[], body),
                true => {
                    let parts = futures_util::stream::iter([Ok::<_, std::io::Error>(body)]);
                    answer(200, &[], Body::from_stream(parts))
                }
            })
            .await;
            let access = access(&registry, &host, &[]).await;
            let error = read(&registry, &access, size, cap).await.unwrap_err();
            assert_eq!(text(&error, &host), expected);
        }
    }
}

#[tokio::test]
async fn a_stalled_blob_times_out() {
    let server = Server::start(|seen| match seen.path.contains("/manifests/") {
        true => manifest(),
        false => {
            let first = futures_util::stream::iter([Ok::<_, std::io::Error>(&b"0"[..])]);
            answer(200, &[], Body::from_stream(first.chain(futures_util::stream::pending())))
        }
    })
    .await;
    let host = server.host();
    let registry = client_with(RegistryConfig {
        plain_http: vec![host.clone()],
        read_timeout: Duration::from_millis(100),
        ..quick()
    });
    let access = access(&registry, &host, &[]).await;
    let error = read(&registry, &access, 20, 100).await.unwrap_err();
    assert!(matches!(error, RegistryError::Timeout { .. }), "{error:?}");
    assert!(error.is_transient());
}

#[tokio::test]
async fn refused_blobs_are_typed() {
    for (status, code, expected) in [
        (
            404,
            "BLOB_UNKNOWN",
            "not found (404 Not Found: m); if it is private, a pull secret (nodePublishSecretRef) needs an entry for \"R\"",
        ),
        (
            403,
            "DENIED",
            "the registry asks for a login and no credential matched (403 Forbidden: m); a pull secret (nodePublishSecretRef) needs an entry for \"R\"",
        ),
        (
            429,
            "TOOMANYREQUESTS",
            "R limits the rate of requests (429 Too Many Requests: m); a credential may raise the limit",
        ),
        (500, "UNKNOWN", "R failed: 500 Internal Server Error: m"),
    ] {
        let (server, registry, host) = serve(move |_| error(status, code, "m")).await;
        let access = access(&registry, &host, &[]).await;
        let error = registry.blob(&access, &digest(), 20, 100).await.err().unwrap();
        assert_eq!(text(&error, &host), expected);
        assert_eq!(ranges(&server).len(), if error.is_transient() { 3 } else { 1 }, "{status}");
    }
}

#[tokio::test]
async fn a_redirected_blob_loses_the_authorization() {
    let storage = Server::start(|_| answer(200, &[], DATA)).await;
    let location = format!("http://{}/stored?signature=s", storage.host());
    let server = Server::start(move |seen| match seen.authorization.as_deref() {
        None => wants("Basic realm=\"x\""),
        Some(_) if seen.path.contains("/manifests/") => manifest(),
        Some(_) => answer(307, &[("location", &location)], ""),
    })
    .await;
    let host = server.host();
    let registry = client(&[&host]);
    let access = access(&registry, &host, &[alice()]).await;
    assert_eq!(read(&registry, &access, 20, 100).await.unwrap(), DATA);
    assert_eq!(server.log().last().unwrap(), &format!("/v2/acme/skill/blobs/{} {ALICE}", digest()));
    assert_eq!(storage.log(), ["/stored?signature=s -"]);
}

#[tokio::test]
async fn a_blob_waits_as_long_as_it_is_told() {
    for (seconds, expected) in [("0", 3), ("11", 1)] {
        let (server, registry, host) = serve(move |_| {
            let mut reply = error(429, "TOOMANYREQUESTS", "m");
            reply.headers_mut().insert("retry-after", seconds.parse().unwrap());
            reply
        })
        .await;
        let access = access(&registry, &host, &[]).await;
        let error = registry.blob(&access, &digest(), 20, 100).await.err().unwrap();
        assert!(matches!(error, RegistryError::TooManyRequests { .. }), "{error:?}");
        assert_eq!(ranges(&server).len(), expected, "{seconds}");
    }
}

/// An error's body has no end; it is not waited for.
#[tokio::test]
async fn an_endless_refusal_ends() {
    let (_server, registry, host) = serve(|_| {
        let endless =
            futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b'x'; 4096]));
        answer(403, &[], Body::from_stream(endless))
    })
    .await;
    let access = access(&registry, &host, &[]).await;
    let error = registry.blob(&access, &digest(), 20, 100).await.err().unwrap();
    assert!(
        matches!(error, RegistryError::Unauthorized { .. } | RegistryError::Forbidden { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_blob_is_asked_for_with_the_token_as_it_is() {
    for token in ["a.b.c", "e30.eyJleHAiOjF9.x", "opaque"] {
        let server = Server::start(move |seen| {
            let host = "127.0.0.1";
            match seen.authorization.as_deref() == Some(&format!("Bearer {token}")) {
                true if seen.path.contains("/manifests/") => manifest(),
                true => answer(200, &[], DATA),
                false => wants(&format!("Bearer realm=\"http://{host}:1/token\"")),
            }
        })
        .await;
        let host = server.host();
        let registry = client(&[&host]);
        let login = Credential::new("o", Login::Bearer(token.into()));
        let access = access(&registry, &host, &[login]).await;
        for _ in 0..2 {
            assert_eq!(read(&registry, &access, 20, 100).await.unwrap(), DATA);
        }
        assert_eq!(server.seen().len(), 3, "{:?}", server.log());
    }
}
