use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

#[derive(Default)]
struct Fake {
    ready: AtomicBool,
}

impl Pages for Fake {
    fn unready(&self) -> Option<&'static str> {
        (!self.ready.load(Ordering::Relaxed)).then_some("still asleep")
    }

    fn metrics(&self) -> Result<String, fmt::Error> {
        Ok("answer 42\n# EOF\n".into())
    }

    fn log_at(&self, level: &str) -> Result<(), String> {
        match level {
            "debug" | "skillmount=trace,h2=info" => Ok(()),
            _ => Err(format!("no level {level:?}")),
        }
    }
}

async fn start() -> (SocketAddr, Arc<Fake>) {
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let (address, pages) = (listener.local_addr().unwrap(), Arc::new(Fake::default()));
    tokio::spawn(serve(listener, pages.clone()));
    (address, pages)
}

/// Everything that comes until the server hangs up; less if it does so with a reset.
async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let _reset = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    rest(&mut stream).await
}

/// The status line and the body.
async fn get(address: SocketAddr, path: &str) -> (String, String) {
    let answer = exchange(address, &format!("GET {path} HTTP/1.1\r\nHost: node\r\n\r\n")).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().into(), body.into())
}

fn ok(body: &str) -> (String, String) {
    ("HTTP/1.1 200 OK".into(), body.into())
}

#[tokio::test]
async fn health_is_told() {
    let (address, pages) = start().await;
    assert_eq!(get(address, "/livez").await, ok("ok\n"));
    let not = ("HTTP/1.1 503 Service Unavailable".into(), "not ready: still asleep\n".into());
    assert_eq!(get(address, "/readyz").await, not);
    pages.ready.store(true, Ordering::Relaxed);
    assert_eq!(get(address, "/readyz").await, ok("ok\n"));
    assert_eq!(get(address, "/readyz?verbose").await, ok("ok\n"));
}

#[tokio::test]
async fn metrics_are_in_the_format_that_is_accepted() {
    let (address, _) = start().await;
    for (accept, kind) in [
        ("*/*", PROMETHEUS),
        ("text/plain;version=0.0.4;q=0.5", PROMETHEUS),
        ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", OPENMETRICS),
    ] {
        let request = format!("GET /metrics HTTP/1.1\r\nHost: node\r\nAccept: {accept}\r\n\r\n");
        let answer = exchange(address, &request).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains(&format!("content-type: {kind}\r\n")), "{accept}: {answer}");
        assert!(answer.ends_with("\r\n\r\nanswer 42\n# EOF\n"), "{answer}");
    }
}

#[tokio::test]
async fn anything_else_is_refused() {
    let (address, _) = start().await;
    for path in ["/", "/metrics/", "/healthz", "//livez", "/%6civez", "/..;/metrics"] {
        let (status, body) = get(address, path).await;
        assert_eq!(status, "HTTP/1.1 404 Not Found", "{path}");
        assert_eq!(body, "not found: /metrics, /livez, /readyz\n");
    }
    for method in ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
        let request = format!("{method} /livez HTTP/1.1\r\nHost: node\r\n\r\n");
        let answer = exchange(address, &request).await;
        assert!(answer.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"), "{answer}");
        assert!(answer.contains("allow: GET\r\n"), "{answer}");
    }
    let answer = exchange(address, "nonsense\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    // Of HTTP/2, tonic's own, this knows nothing.
    let answer = exchange(address, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert!(!answer.contains("200"), "{answer}");
}

#[tokio::test]
async fn a_long_head_is_refused_and_a_body_is_not_read() {
    let (address, _) = start().await;
    // All of it is read before the answer: what is left unread would reset the connection.
    let mut head = "GET /livez HTTP/1.1\r\nHost: node\r\nX-Filler: ".to_owned();
    head.push_str(&"a".repeat(MAX_HEAD - head.len()));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = rest(&mut stream).await;
    let expected = "HTTP/1.1 431 Request Header Fields Too Large\r\n";
    assert!(answer.starts_with(expected), "{answer}");
    let body = "GET /livez HTTP/1.1\r\nHost: node\r\nContent-Length: 1000000000\r\n\r\n";
    let answer = exchange(address, body).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

#[tokio::test]
async fn clients_that_stay_shut_nobody_out() {
    let (address, _) = start().await;
    let mut slow = Vec::new();
    for _ in 0..MAX_CONNECTIONS + 3 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost:").await.unwrap();
        slow.push(stream);
    }
    assert_eq!(get(address, "/livez").await, ok("ok\n"));
    // The oldest had to go, the newest may still come to its end.
    for stream in &mut slow[..4] {
        assert_eq!(rest(stream).await, "");
    }
    let newest = slow.last_mut().unwrap();
    newest.write_all(b" node\r\n\r\n").await.unwrap();
    assert!(rest(newest).await.starts_with("HTTP/1.1 200 OK\r\n"));
}

#[tokio::test]
async fn a_client_that_says_nothing_is_left() {
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    client.write_all(b"GET /livez HTTP/1.1\r\n").await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let from = stream.peer_addr().unwrap();
    connection(stream, from, Arc::new(Fake::default()), Duration::from_millis(1)).await;
    assert_eq!(rest(&mut client).await, "");
}

#[test]
fn endpoints_are_ports_or_addresses() {
    for (text, expected) in [
        (":9808", HttpEndpoint::Any(9808)),
        ("127.0.0.1:9808", HttpEndpoint::Address(([127, 0, 0, 1], 9808).into())),
        ("0.0.0.0:1", HttpEndpoint::Address(([0, 0, 0, 0], 1).into())),
        ("[::1]:9808", HttpEndpoint::Address((Ipv6Addr::LOCALHOST, 9808).into())),
    ] {
        let endpoint: HttpEndpoint = text.parse().unwrap();
        assert_eq!(endpoint, expected);
        assert_eq!(endpoint.to_string(), text);
    }
    for bad in
        ["9808", ":", ":+1", ":65536", "localhost:9808", "::1:9808", "127.0.0.1", "http://:1"]
    {
        assert_eq!(bad.parse::<HttpEndpoint>(), Err(NotAnEndpoint), "{bad:?}");
    }
}

#[tokio::test]
async fn a_port_alone_is_all_addresses() {
    let listener = bind(HttpEndpoint::Any(0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    assert!(address.ip().is_unspecified());
    tokio::spawn(serve(listener, Arc::new(Fake::default())));
    assert_eq!(get((Ipv4Addr::LOCALHOST, address.port()).into(), "/livez").await, ok("ok\n"));
}

#[tokio::test]
async fn the_log_level_is_changed_from_the_pod_itself() {
    let (address, _) = start().await;
    let put = async |method: &str, level: &str| {
        let request = format!("{method} /log-level/{level} HTTP/1.1\r\nHost: node\r\n\r\n");
        let answer = exchange(address, &request).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().to_owned(), body.to_owned())
    };
    for (method, level, status, body) in [
        ("PUT", "debug", "200", "logging at debug\n"),
        ("PUT", "skillmount=trace,h2=info", "200", "logging at skillmount=trace,h2=info\n"),
        ("PUT", "loud", "400", "no level \"loud\"\n"),
        ("PUT", "", "400", "no level \"\"\n"),
        ("GET", "debug", "405", "only PUT\n"),
        ("POST", "debug", "405", "only PUT\n"),
    ] {
        assert_eq!(put(method, level).await, (status.into(), body.into()), "{method} {level}");
    }
    let pages = Fake::default();
    let refused = log_level(&Method::PUT, "debug", false, &pages);
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
}
