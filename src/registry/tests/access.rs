use super::*;

/// Wants `alice` in each request below `/v2/acme/`; the root is open, as on some registries.
fn wants_alice(seen: &Seen) -> Response<Body> {
    match (seen.path.as_str(), seen.authorization.as_deref()) {
        ("/v2/", _) => answer(200, &[], "{}"),
        (_, Some(ALICE)) => manifest(),
        (_, Some(_)) => error(401, "UNAUTHORIZED", "incorrect username or password"),
        (_, None) => wants("Basic realm=\"x, y\""),
    }
}

/// A registry with a token service on the same host, which takes `alice` and her identity token.
fn bearer(port: u16, token: &str) -> impl Fn(&Seen) -> Response<Body> + Clone + use<> {
    let token = token.to_owned();
    let challenge = format!(
        "Bearer realm=\"http://127.0.0.1:{port}/token?x=1\",service=\"the, registry\",scope=\"repository:acme/skill:pull\""
    );
    move |seen| {
        let grant = || {
            let body = serde_json::json!({ "access_token": token, "expires_in": 300 });
            answer(200, &[], body.to_string())
        };
        match (seen.path.split('?').next().unwrap(), seen.authorization.as_deref()) {
            ("/token", Some(ALICE)) => grant(),
            ("/token", None) if seen.method == "POST" => grant(),
            ("/token", _) => answer(401, &[], r#"{"details":"incorrect username or password"}"#),
            (_, Some(value)) if value == format!("Bearer {token}") => manifest(),
            _ => wants(&challenge),
        }
    }
}

/// Starts a server whose handler knows its own port.
async fn start<H>(handler: impl Fn(u16) -> H) -> Server
where
    H: Fn(&Seen) -> Response<Body> + Clone + Send + Sync + 'static,
{
    let own: Arc<std::sync::OnceLock<H>> = Arc::default();
    let slot = own.clone();
    let server = Server::start(move |seen| slot.get().unwrap()(seen)).await;
    drop(own.set(handler(server.port())));
    server
}

const MANIFEST_PATH: &str = "/v2/acme/skill/manifests/1";

#[tokio::test]
async fn basic_is_sent_when_the_repository_asks() {
    let server = Server::start(wants_alice).await;
    let host = server.host();
    let registry = client(&[&host]);
    let resolved = pull(&registry, &host, &[alice()]).await.unwrap();
    assert_eq!(resolved.access.credential(), Some(&alice()));
    assert_eq!(server.log(), [format!("{MANIFEST_PATH} -"), format!("{MANIFEST_PATH} {ALICE}")]);
    // Who has the credential does not ask again; who has not is not let in by it.
    pull(&registry, &host, &[alice()]).await.unwrap();
    assert_eq!(server.log()[2..], [format!("{MANIFEST_PATH} {ALICE}")]);
    pull(&registry, &host, &[]).await.unwrap_err();
    pull(&registry, &host, &[basic("o", "alice", "other")]).await.unwrap_err();
}

#[tokio::test]
async fn candidates_are_tried_in_order() {
    let server = Server::start(wants_alice).await;
    let host = server.host();
    let registry = client(&[&host]);
    let wrong = [basic("first", "bob", "1"), basic("second", "bob", "2")];
    let bob = ["Basic Ym9iOjE=", "Basic Ym9iOjI="];
    let mut candidates = wrong.to_vec();
    candidates.push(alice());
    let resolved = pull(&registry, &host, &candidates).await.unwrap();
    assert_eq!(resolved.access.credential(), Some(&alice()));
    let mut expected = vec![format!("{MANIFEST_PATH} -")];
    expected.extend([bob[0], bob[1], ALICE].map(|login| format!("{MANIFEST_PATH} {login}")));
    assert_eq!(server.log(), expected);
    assert_eq!(
        pull(&registry, &host, &wrong).await.unwrap_err(),
        "the registry accepted no matching credential: \
         first: 401 Unauthorized: incorrect username or password; \
         second: 401 Unauthorized: incorrect username or password"
    );
    assert_eq!(
        pull(&registry, &host, &wrong[..1]).await.unwrap_err(),
        "the registry accepted no matching credential: \
         first: 401 Unauthorized: incorrect username or password"
    );
    assert_eq!(
        pull(&registry, &host, &[]).await.unwrap_err(),
        "the registry asks for a login and no credential matched (401 \
         Unauthorized: authentication required); a pull secret (nodePublishSecretRef) needs an entry for \"R\""
    );
}

#[tokio::test]
async fn public_content_is_anonymous_even_with_credentials() {
    let server = Server::start(|_| manifest()).await;
    let host = server.host();
    let resolved = pull(&client(&[&host]), &host, &[alice()]).await.unwrap();
    assert_eq!(resolved.access.credential(), None);
    assert_eq!(server.log(), [format!("{MANIFEST_PATH} -")]);
}

#[tokio::test]
async fn a_hidden_repository_is_found_with_the_roots_challenge() {
    let server = Server::start(|seen| match (seen.path.as_str(), seen.authorization.as_deref()) {
        ("/v2/", _) => wants("Basic realm=\"x\""),
        (_, Some(ALICE)) => manifest(),
        _ => error(404, "NAME_UNKNOWN", "repository name not known"),
    })
    .await;
    let host = server.host();
    let registry = client(&[&host]);
    pull(&registry, &host, &[alice()]).await.unwrap();
    assert_eq!(
        pull(&registry, &host, &[basic("o", "bob", "1")]).await.unwrap_err(),
        "not found: o: 404 Not Found: repository name not known"
    );
}

#[tokio::test]
async fn a_token_is_got_and_kept() {
    let server = start(|port| bearer(port, "t0k.en")).await;
    let host = server.host();
    let registry = client(&[&host]);
    let token = "service=the%2C+registry&scope=repository%3Aacme%2Fskill%3Apull";
    let resolved = pull(&registry, &host, &[alice()]).await.unwrap();
    assert_eq!(resolved.access.credential(), Some(&alice()));
    pull(&registry, &host, &[alice()]).await.unwrap();
    assert_eq!(
        server.log(),
        [
            format!("{MANIFEST_PATH} -"),
            format!("/token?x=1&{token}&account=alice {ALICE}"),
            format!("{MANIFEST_PATH} Bearer t0k.en"),
            format!("{MANIFEST_PATH} Bearer t0k.en"),
        ]
    );
    assert_eq!(
        pull(&registry, &host, &[basic("o", "bob", "1")]).await.unwrap_err(),
        "the registry accepted no matching credential: o: 401 Unauthorized: \
         incorrect username or password"
    );
}

#[tokio::test]
async fn an_identity_token_is_posted() {
    let server = start(|port| bearer(port, "t0k.en")).await;
    let host = server.host();
    let identity = Credential::new("o", Login::Identity("re+fresh".into()));
    pull(&client(&[&host]), &host, &[identity]).await.unwrap();
    let seen = server.seen();
    assert_eq!((seen[1].method.as_str(), seen[1].path.as_str()), ("POST", "/token?x=1"));
    assert_eq!(
        seen[1].body,
        "service=the%2C+registry&scope=repository%3Aacme%2Fskill%3Apull&\
         grant_type=refresh_token&client_id=skillmount&refresh_token=re%2Bfresh"
    );
    assert_eq!(seen[2].authorization.as_deref(), Some("Bearer t0k.en"));
}

#[tokio::test]
async fn a_refresh_token_does_not_follow_a_redirect() {
    let elsewhere = Server::start(|_| answer(200, &[], r#"{"token":"t"}"#)).await;
    let location = format!("http://{}/token", elsewhere.host());
    let server = start(move |port| {
        let location = location.clone();
        move |seen: &Seen| match seen.path.starts_with("/token") {
            true => answer(307, &[("location", &location)], ""),
            false => wants(&format!("Bearer realm=\"http://127.0.0.1:{port}/token\"")),
        }
    })
    .await;
    let host = server.host();
    let identity = Credential::new("o", Login::Identity("refresh".into()));
    assert_eq!(
        pull(&client(&[&host]), &host, &[identity]).await.unwrap_err(),
        "R answers a request for a token with 307 Temporary Redirect"
    );
    assert_eq!(elsewhere.log(), [""; 0]);
}

#[tokio::test]
async fn a_bearer_login_is_sent_as_it_is() {
    let server = start(|port| bearer(port, "t0k.en")).await;
    let host = server.host();
    let login = |token: &str| Credential::new("o", Login::Bearer(token.into()));
    let registry = client(&[&host]);
    pull(&registry, &host, &[login("t0k.en")]).await.unwrap();
    assert_eq!(
        pull(&registry, &host, &[login("a\r\nb"), login("wrong")]).await.unwrap_err(),
        "the registry accepted no matching credential: \
         o: not sent: it has characters that no token may have; \
         o: 401 Unauthorized: authentication required"
    );
    assert_eq!(
        server.log(),
        [format!("{MANIFEST_PATH} Bearer t0k.en"), format!("{MANIFEST_PATH} Bearer wrong")]
    );
}

#[tokio::test]
async fn bad_tokens_are_refused() {
    for (body, expected) in [
        (r#"{"token":"a\nb"}"#.to_owned(), "sends a token with characters that no token may have"),
        (r#"{"token":"a b"}"#.to_owned(), "sends a token with characters that no token may have"),
        (r#"{"token":""}"#.to_owned(), "sends no token"),
        ("<html>".to_owned(), "sends something else than a token in JSON"),
        (" ".repeat(2 << 20), "sends more than 1 MiB instead of a token"),
    ] {
        let server = start(move |port| {
            let body = body.clone();
            move |seen: &Seen| match seen.path.starts_with("/token") {
                true => answer(200, &[], body.clone()),
                false => wants(&format!("Bearer realm=\"http://127.0.0.1:{port}/token\"")),
            }
        })
        .await;
        let host = server.host();
        assert_eq!(
            pull(&client(&[&host]), &host, &[alice()]).await.unwrap_err(),
            format!("R {expected}")
        );
    }
}

#[tokio::test]
async fn credentials_go_to_no_unsafe_realm() {
    let elsewhere = Server::start(|_| answer(200, &[], r#"{"token":"t"}"#)).await;
    let port = elsewhere.port();
    for (realm, shown, problem) in [
        // A host that is neither the registry's nor listed, though it is this machine.
        (
            format!("http://localhost:{port}/t"),
            format!("http://localhost:{port}"),
            "is not an https URL",
        ),
        (
            format!("http://u:p@127.0.0.1:{port}/t"),
            format!("http://127.0.0.1:{port}"),
            "comes with a login of its own",
        ),
        ("file:///etc/passwd".into(), "file://".into(), "is not an https URL"),
        ("token".into(), "(unreadable)".into(), "is not a URL"),
    ] {
        let challenge = format!("Bearer realm=\"{realm}\",service=\"s\"");
        let server = Server::start(move |_| wants(&challenge)).await;
        let host = server.host();
        let error = client(&[&host])
            .resolve(&repository(&host), &tag(), only(&[alice()]))
            .await
            .unwrap_err();
        assert!(matches!(error, RegistryError::Realm { .. }), "{error:?}");
        assert_eq!(
            text(&error, &host),
            format!(
                "no credential was sent: the registry names the token service \
                 {shown}, which {problem}"
            )
        );
        assert_eq!(server.seen().len(), 1);
    }
    assert_eq!(elsewhere.log(), [""; 0]);
}

#[tokio::test]
async fn only_the_registry_itself_may_name_a_realm() {
    let thief = start(|port| {
        move |_: &Seen| wants(&format!("Bearer realm=\"http://127.0.0.1:{port}/token\""))
    })
    .await;
    let location = format!("http://{}/x", thief.host());
    let server = Server::start(move |_| answer(307, &[("location", &location)], "")).await;
    let host = server.host();
    pull(&client(&[&host]), &host, &[alice()]).await.unwrap_err();
    assert!(thief.log().iter().all(|line| line == "/x -"), "{:?}", thief.log());
}

#[tokio::test]
async fn an_expired_token_is_renewed_once() {
    let issued = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let revoked = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flag = revoked.clone();
    let server = start(move |port| {
        let (issued, revoked) = (issued.clone(), flag.clone());
        move |seen: &Seen| {
            use std::sync::atomic::Ordering::Relaxed;
            if seen.path.starts_with("/token") {
                let number = issued.fetch_add(1, Relaxed);
                return answer(200, &[], format!(r#"{{"token":"t{number}"}}"#));
            }
            let good = if revoked.load(Relaxed) { "Bearer t1" } else { "Bearer t0" };
            match seen.authorization.as_deref() == Some(good) {
                true => manifest(),
                false => wants(&format!("Bearer realm=\"http://127.0.0.1:{port}/token\"")),
            }
        }
    })
    .await;
    let host = server.host();
    let registry = client(&[&host]);
    let resolved = pull(&registry, &host, &[alice()]).await.unwrap();
    revoked.store(true, std::sync::atomic::Ordering::Relaxed);
    registry.manifest(&resolved.access, &resolved.digest).await.unwrap();
    let tokens = server.log().iter().filter(|line| line.starts_with("/token")).count();
    assert_eq!(tokens, 2);
}

#[tokio::test]
async fn a_secret_that_the_server_repeats_is_not_shown() {
    for (status, expected) in [
        (
            403,
            "the registry forbids the pull: secret key \".dockerconfigjson\", entry \"a\": 403 \
             Forbidden",
        ),
        (400, "R answers 400 Bad Request"),
        (500, "R failed: 500 Internal Server Error"),
    ] {
        let server = Server::start(move |seen| match seen.authorization {
            None => wants("Basic realm=\"x\""),
            Some(_) => error(status, "X", "wonder is no password"),
        })
        .await;
        let host = server.host();
        let error = client(&[&host])
            .resolve(&repository(&host), &tag(), only(&[alice()]))
            .await
            .unwrap_err();
        assert_eq!(text(&error, &host), expected);
        assert!(!format!("{error:?}").contains("wonder"));
    }
}

#[tokio::test]
async fn a_login_that_the_server_repeats_as_it_was_sent_is_not_shown() {
    let server = Server::start(move |seen| match &seen.authorization {
        None => wants("Basic realm=\"x\""),
        Some(sent) => error(403, "X", &format!("what is {sent}?")),
    })
    .await;
    let host = server.host();
    let refused = pull(&client(&[&host]), &host, &[alice()]).await.unwrap_err();
    assert!(!refused.contains("YWxpY2U6d29uZGVy"), "{refused}");
    assert!(refused.ends_with("403 Forbidden"), "{refused}");
}

/// What a session brings is granted to the holder of its login: not to whoever logged in first.
#[tokio::test]
async fn one_login_of_two_secrets_is_two_callers() {
    let server = Server::start(|seen| match seen.authorization {
        None => wants("Basic realm=\"x\""),
        Some(_) => manifest(),
    })
    .await;
    let host = server.host();
    let registry = client(&[&host]);
    let salt = crate::credentials::Salt::new(&[7; 32]);
    let holder = |name: &str| crate::credentials::Holder::secret("team", name, "uid");
    for name in ["a", "b"] {
        let held = Credential { holder: Some(holder(name)), ..alice() };
        let resolved = pull(&registry, &host, &[held]).await.unwrap();
        let identities = resolved.access.identities(&salt);
        assert!(identities.contains(&holder(name).identity(&salt)), "{name}");
        assert_eq!(identities.len(), 2);
    }
}

#[tokio::test]
async fn a_message_names_some_of_many_logins() {
    let server = Server::start(|_| wants("Basic realm=\"x\"")).await;
    let host = server.host();
    let many: Vec<_> = (0..20).map(|n| basic(&format!("login {n}"), "u", &n.to_string())).collect();
    let refused = pull(&client(&[&host]), &host, &many).await.unwrap_err();
    assert!(refused.contains("login 5: ") && !refused.contains("login 6: "), "{refused}");
    assert!(refused.ends_with("; and 14 more"), "{refused}");
}

#[tokio::test]
async fn a_withdrawn_credential_makes_way_for_the_next() {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    let withdrawn = Arc::new(AtomicBool::new(false));
    let flag = withdrawn.clone();
    let server = start(move |port| {
        let withdrawn = flag.clone();
        move |seen: &Seen| {
            let is_alice = seen.authorization.as_deref() == Some(ALICE);
            match (seen.path.starts_with("/token"), withdrawn.load(Relaxed)) {
                (true, true) if is_alice => answer(401, &[], ""),
                (true, true) => answer(200, &[], r#"{"token":"bob"}"#),
                (true, false) => answer(200, &[], r#"{"token":"alice"}"#),
                (false, gone) => {
                    let good = if gone { "Bearer bob" } else { "Bearer alice" };
                    match seen.authorization.as_deref() == Some(good) {
                        true => manifest(),
                        false => wants(&format!("Bearer realm=\"http://127.0.0.1:{port}/token\"")),
                    }
                }
            }
        }
    })
    .await;
    let host = server.host();
    let registry = client(&[&host]);
    let candidates = [alice(), basic("o", "bob", "1")];
    let resolved = pull(&registry, &host, &candidates).await.unwrap();
    assert_eq!(resolved.access.credential(), Some(&candidates[0]));
    withdrawn.store(true, Relaxed);
    let resolved = pull(&registry, &host, &candidates).await.unwrap();
    assert_eq!(resolved.access.credential(), Some(&candidates[1]));
}
