//! Faults and gates.

use bytes::Bytes;
use futures_util::StreamExt as _;
use reqwest::StatusCode;

use crate::support::{Fault, Gate, On, Options, User};
use crate::{client, get, header, json, with_blob};

#[tokio::test]
async fn faults_strike_as_scripted() {
    let (registry, digest, path) = with_blob(Options::default(), b"0123456789");
    registry.fault(On::blob(&digest).times(2), Fault::status(503));
    registry.fault(On::blob(&digest).nth(3), Fault::retry_after("7"));
    registry.fault(On::blob(&digest).nth(4), Fault::CloseConnection);
    registry.fault(On::blob(&digest).nth(5), Fault::Truncate(4));
    registry.fault(On::blob(&digest).nth(6), Fault::WrongBytes);
    registry.fault(On::blob(&digest).nth(7), Fault::ExtraBytes(2));
    registry.fault(On::blob(&digest).nth(8), Fault::HugeBody(200_000));
    registry.fault(On::blob(&digest).nth(9), Fault::Body(Bytes::from_static(b"other")));
    registry.fault(On::blob(&digest).nth(9), Fault::DropHeader("docker-content-digest"));
    registry.fault(On::blob(&digest).nth(9), Fault::ContentType("text/html".into()));
    for _ in 0..2 {
        assert_eq!(get(&registry, &path).await.status().as_u16(), 503);
    }
    let limited = get(&registry, &path).await;
    assert_eq!((limited.status().as_u16(), header(&limited, "retry-after")), (429, "7"));
    assert_eq!(json(limited).await["errors"][0]["code"], "TOOMANYREQUESTS");

    let url = format!("{}{path}", registry.url());
    assert!(client().get(&url).send().await.is_err());

    let cut = get(&registry, &path).await;
    assert_eq!(header(&cut, "content-length"), "10");
    let chunks: Vec<_> = cut.bytes_stream().collect().await;
    assert_eq!(chunks[0].as_ref().unwrap(), "0123");
    assert!(chunks[1].is_err());

    assert_eq!(get(&registry, &path).await.text().await.unwrap(), "0123446789");
    let extra = get(&registry, &path).await;
    assert_eq!(header(&extra, "content-length"), "12");
    assert_eq!(extra.text().await.unwrap(), "0123456789xx");
    let huge = get(&registry, &path).await;
    assert_eq!(header(&huge, "content-length"), "");
    assert_eq!(huge.bytes().await.unwrap().len(), 200_000);
    let other = get(&registry, &path).await;
    assert_eq!(header(&other, "content-type"), "text/html");
    assert_eq!(header(&other, "docker-content-digest"), "");
    assert_eq!(other.text().await.unwrap(), "other");

    assert_eq!(get(&registry, &path).await.text().await.unwrap(), "0123456789");
    let statuses: Vec<u16> = registry.requests().iter().map(|asked| asked.status).collect();
    assert_eq!(statuses, [503, 503, 429, 0, 200, 200, 200, 200, 200, 200]);
    registry.fault(On::path("/"), Fault::status(500));
    registry.clear_faults();
    assert_eq!(get(&registry, "/v2/").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn redirects_lead_to_a_store_that_takes_no_credentials() {
    let users = [User::new("admin", "a")];
    let (registry, digest, path) = with_blob(Options::basic(users.clone()), b"0123456789");
    registry.fault(On::blob(&digest), Fault::RedirectTo(registry.storage_url(&digest)));
    let url = format!("{}{path}", registry.url());
    let request = client().get(url).header("authorization", users[0].basic());
    assert_eq!(request.send().await.unwrap().text().await.unwrap(), "0123456789");
    let asked = registry.requests();
    assert_eq!((asked[0].status, asked[1].status), (307, 200));
    assert_eq!((&asked[1].host, &asked[1].authorization), (&registry.second_host(), &None));
    let url = registry.storage_url(&digest);
    let leaked = client().get(url).header("authorization", "Bearer x").send().await.unwrap();
    assert_eq!(leaked.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn gates_hold_a_body_where_the_test_says() {
    let (registry, digest, path) = with_blob(Options::default(), b"0123456789");
    let gate = Gate::held();
    registry.fault(On::blob(&digest).times(1), Fault::Hold { after: 4, gate: gate.clone() });
    let mut body = get(&registry, &path).await.bytes_stream();
    assert_eq!(body.next().await.unwrap().unwrap(), "0123");
    gate.wait_for_waiting(1).await;
    assert_eq!(gate.served(), 4);
    gate.release();
    assert_eq!(body.next().await.unwrap().unwrap(), "456789");
    gate.wait_for_served(10).await;

    let gate = Gate::held();
    registry.fault(On::blob(&digest).nth(1), Fault::Slow { chunk: 3, gate: gate.clone() });
    let mut body = get(&registry, &path).await.bytes_stream();
    for (admitted, expected) in [(1, "012"), (1, "345")] {
        gate.admit(admitted);
        assert_eq!(body.next().await.unwrap().unwrap(), expected);
    }
    gate.wait_for_waiting(1).await;
    assert_eq!(gate.served(), 6);
    // A client that leaves is noticed: nothing waits any more.
    drop(body);
    gate.wait_for_none_waiting().await;

    let gate = Gate::held();
    registry.fault(On::path("/v2/").nth(1), Fault::Stall(gate.clone()));
    let (answer, ()) = tokio::join!(get(&registry, &path), async {
        gate.wait_for_waiting(1).await;
        assert_eq!(registry.requests().last().unwrap().status, 0);
        gate.admit(1);
    });
    assert_eq!(answer.status(), StatusCode::OK);
}
