//! The ways of asking for credentials.

use reqwest::StatusCode;
use serde_json::Value;

use crate::support::{Auth, Bearer, Options, Realm, Registry, User, auth};
use crate::{client, get, header, json, with_blob};

#[tokio::test]
async fn basic_and_open_root_ask_for_a_password_per_repository() {
    let users = [User::new("admin", "a"), User::reader("team", "t", &["acme"])];
    for (options, root) in
        [(Options::basic(users.clone()), 401), (Options::open_root(users.clone()), 200)]
    {
        let (registry, _, path) = with_blob(options.rule("public", Auth::Anonymous), b"x");
        assert_eq!(get(&registry, "/v2/").await.status().as_u16(), root);
        let refused = get(&registry, &path).await;
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(header(&refused, "www-authenticate"), r#"Basic realm="Registry Realm""#);
        for (user, target, status) in [
            (&User::new("team", "wrong"), path.as_str(), 401),
            (&users[1], path.as_str(), 200),
            (&users[1], "/v2/acmeother/x/manifests/1", 403),
            (&users[0], "/v2/acmeother/x/manifests/1", 404),
        ] {
            let url = format!("{}{target}", registry.url());
            let answer =
                client().get(url).header("authorization", user.basic()).send().await.unwrap();
            assert_eq!(answer.status().as_u16(), status, "{user:?} {target}");
        }
        assert_eq!(get(&registry, "/v2/public/x/manifests/1").await.status().as_u16(), 404);
    }
}

/// A token, by GET with an `Authorization` or by POST with a form.
async fn token(url: String, authorization: Option<String>, form: Option<&str>) -> (u16, Value) {
    let request = match form {
        Some(form) => client().post(url).body(form.to_owned()),
        None => client().get(url),
    };
    let request = match authorization {
        Some(value) => request.header("authorization", value),
        None => request,
    };
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), json(answer).await)
}

#[tokio::test]
async fn bearer_tokens_have_scopes_and_end() {
    let users = [User::reader("team", "t", &["acme"]).with_identity_token("refresh-me")];
    let bearer = Bearer {
        realm: Realm::SecondHost,
        field: auth::TokenField::AccessToken,
        expires_in: Some(300),
        uses: Some(2),
        public: vec!["public".into()],
        ..Bearer::default()
    };
    let (registry, _, path) = with_blob(Options::bearer(users.clone(), bearer), b"x");
    let realm = format!("http://{}/token", registry.second_host());
    let challenge = format!(r#"Bearer realm="{realm}",service="registry.test""#);
    assert_eq!(header(&get(&registry, "/v2/").await, "www-authenticate"), challenge);
    let scope = "repository:acme/x:pull";
    let refused = get(&registry, &path).await;
    assert_eq!(header(&refused, "www-authenticate"), format!(r#"{challenge},scope="{scope}""#));

    let ask = format!("{realm}?service=registry.test&scope={scope}");
    let (status, body) = token(ask.clone(), Some(users[0].basic()), None).await;
    assert_eq!((status, &body["token"], &body["expires_in"]), (200, &Value::Null, &300.into()));
    let bearer = |body: &Value| format!("Bearer {}", body["access_token"].as_str().unwrap());
    let fetch = async |authorization: String, path: &str| {
        let url = format!("{}{path}", registry.url());
        client().get(url).header("authorization", authorization).send().await.unwrap()
    };
    for status in [200, 200, 401] {
        assert_eq!(fetch(bearer(&body), &path).await.status().as_u16(), status);
    }
    let ended = fetch(bearer(&body), &path).await;
    assert!(header(&ended, "www-authenticate").ends_with(r#",error="invalid_token""#));

    let form = |kind: &str, what: &str| {
        format!("grant_type={kind}&{what}&service=registry.test&client_id=x&scope={scope}")
    };
    for (form, status) in [
        (form("refresh_token", "refresh_token=refresh-me"), 200),
        (form("refresh_token", "refresh_token=other"), 401),
        (form("password", "username=team&password=t"), 200),
    ] {
        assert_eq!(token(realm.clone(), None, Some(&form)).await.0, status, "{form}");
    }
    assert_eq!(token(ask.clone(), Some(User::new("team", "no").basic()), None).await.0, 401);

    let (_, anonymous) = token(ask, None, None).await;
    let lacking = fetch(bearer(&anonymous), &path).await;
    assert!(header(&lacking, "www-authenticate").ends_with(r#",error="insufficient_scope""#));
    let ask = format!("{realm}?service=registry.test&scope=repository:public/x:pull");
    let (_, anonymous) = token(ask, None, None).await;
    let public = "/v2/public/x/manifests/1";
    assert_eq!(fetch(bearer(&anonymous), public).await.status(), StatusCode::NOT_FOUND);
    registry.expire_tokens();
    assert_eq!(fetch(bearer(&anonymous), public).await.status(), StatusCode::UNAUTHORIZED);
    assert!(
        registry
            .requests()
            .iter()
            .any(|asked| { asked.path == "/token" && asked.host == registry.second_host() })
    );
}

#[tokio::test]
async fn a_realm_may_lie_and_a_token_endpoint_may_refuse() {
    let evil = Realm::At("http://127.0.0.1:9/token".into());
    let options = Options::bearer([], Bearer { realm: evil, ..Bearer::default() });
    let registry = Registry::start(options);
    let challenge = get(&registry, "/v2/").await;
    assert!(header(&challenge, "www-authenticate").contains(r#"realm="http://127.0.0.1:9/token""#));

    let bearer = Bearer { refuse_at_token: true, without_post: true, ..Bearer::default() };
    let registry = Registry::start(Options::bearer([User::reader("team", "t", &["acme"])], bearer));
    let url =
        format!("{}/token?service=registry.test&scope=repository:other/x:pull", registry.url());
    let basic = User::new("team", "t").basic();
    assert_eq!(token(url.clone(), Some(basic), None).await.0, 403);
    assert_eq!(token(url.clone(), None, None).await.0, 401);
    assert_eq!(token(url, None, Some("grant_type=password")).await.0, 404);
}
