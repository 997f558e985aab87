use super::super::tests::{DIGEST, Node, pair};
use super::*;

/// The hosts of `r.example/a/b`, by tag or digest, under a `hosts.toml`.
fn told(text: &str, selector: &str) -> Vec<String> {
    let (certificate, key) = pair();
    let both = format!("{certificate}{key}");
    let node = Node::new(&[
        ("tree/r.example/hosts.toml", text),
        ("tree/r.example/ca.pem", &certificate),
        ("tree/r.example/key.pem", &key),
        ("tree/r.example/both.pem", &both),
    ]);
    node.told(&format!("r.example/a/b{selector}"))
}

const OWN: &str = "usual://r.example/v2 a/b as r.example/a/b";

#[test]
fn hosts_files_make_routes() {
    for (text, expected) in [
        ("# nothing", &[OWN][..]),
        ("server = \"\"", &[OWN]),
        ("server = \"r.example\"", &["https://r.example/v2 a/b as r.example/a/b"]),
        ("server = \"https://r.example/v2/\"", &["https://r.example/v2 a/b as r.example/a/b"]),
        ("server = \"http://r.example\"", &["http://r.example/v2 a/b as r.example/a/b"]),
        (
            "server = \"https://m.example:443\"",
            &["https://m.example/v2 a/b as m.example/a/b, ns=r.example"],
        ),
        ("[host.\"https://m\"]", &["https://m/v2 a/b as m/a/b, ns=r.example", OWN]),
        ("[host.\"M:5000\"]", &["https://m:5000/v2 a/b as m:5000/a/b, ns=r.example", OWN]),
        ("[host.\"http://m:5000\"]", &["http://m:5000/v2 a/b as m:5000/a/b, ns=r.example", OWN]),
        (
            "[host.\"https://z\"]\n[host.\"https://a\"]\n[host.\"https://k\"]",
            &[
                "https://z/v2 a/b as z/a/b, ns=r.example",
                "https://a/v2 a/b as a/a/b, ns=r.example",
                "https://k/v2 a/b as k/a/b, ns=r.example",
                OWN,
            ],
        ),
        (
            "server = \"https://m\"\n[host.\"https://m\"]\nskip_verify = true",
            &[
                "https://m/v2 a/b as m/a/b, ns=r.example, unverified",
                "https://m/v2 a/b as m/a/b, ns=r.example",
            ],
        ),
        ("[host.\"https://m/v2\"]", &["https://m/v2 a/b as m/a/b, ns=r.example", OWN]),
        ("[host.\"https://m/x\"]", &["https://m/x/v2 a/b as m/a/b, ns=r.example", OWN]),
        ("[host.\"https://m/v2/x\"]", &["https://m/v2/x/v2 a/b as m/a/b, ns=r.example", OWN]),
        (
            "[host.\"https://m/v2/x\"]\noverride_path = true",
            &["https://m/v2/x a/b as m/x/a/b, ns=r.example", OWN],
        ),
        (
            "[host.\"https://m/api/docker/Remote\"]\noverride_path = true",
            &["https://m/api/docker/Remote a/b as nothing, ns=r.example", OWN],
        ),
        (
            "[host.\"https://m\"]\noverride_path = true",
            &["https://m a/b as m/a/b, ns=r.example", OWN],
        ),
        ("[host.\"https://m\"]\ncapabilities = [\"pull\"]", &[OWN]),
        ("[host.\"https://m\"]\ncapabilities = [\"resolve\"]", &[OWN]),
        ("[host.\"https://m\"]\ncapabilities = [\"push\", \"referrers\"]", &[OWN]),
        (
            "[host.\"https://m\"]\ncapabilities = [\"Pull\", \"RESOLVE\"]",
            &["https://m/v2 a/b as m/a/b, ns=r.example", OWN],
        ),
        (
            "[host.\"https://m\"]\ncapabilities = []",
            &["https://m/v2 a/b as m/a/b, ns=r.example", OWN],
        ),
        (
            "server = \"https://r.example\"\ncapabilities = [\"push\"]\n[host.\"https://m\"]",
            &["https://m/v2 a/b as m/a/b, ns=r.example"],
        ),
        ("ca = \"ca.pem\"", &["usual://r.example/v2 a/b as r.example/a/b, ca 1"]),
        (
            "[host.\"https://m\"]\nca = [\"ca.pem\", \"both.pem\"]",
            &["https://m/v2 a/b as m/a/b, ns=r.example, ca 2", OWN],
        ),
        (
            "[host.\"https://m\"]\nclient = \"both.pem\"",
            &["https://m/v2 a/b as m/a/b, ns=r.example, client", OWN],
        ),
        (
            "[host.\"https://m\"]\nclient = [\"both.pem\"]",
            &["https://m/v2 a/b as m/a/b, ns=r.example, client", OWN],
        ),
        (
            "[host.\"https://m\"]\nclient = [[\"ca.pem\", \"key.pem\"], [\"ca.pem\", \"key.pem\"]]",
            &["https://m/v2 a/b as m/a/b, ns=r.example, client", OWN],
        ),
        (
            "[host.\"http://m:80\"]\nskip_verify = true",
            &["http://m/v2 a/b as m/a/b, ns=r.example, unverified", OWN],
        ),
        (
            "[host.\"http://m:5000\"]\nskip_verify = true",
            &["either://m:5000/v2 a/b as m:5000/a/b, ns=r.example, unverified", OWN],
        ),
        (
            "[host.\"https://m\"]\ndial_timeout = \"1m1.5s\"",
            &["https://m/v2 a/b as m/a/b, ns=r.example, 61.5s", OWN],
        ),
        (
            "[host.\"https://m\".header]\nx-one = \"1\"\nx-many = [\"2\", \"3\"]\nHost = \"h\"",
            &["https://m/v2 a/b as m/a/b, ns=r.example, x-one: 1, x-many: 2, x-many: 3", OWN],
        ),
        (
            "unknown = 1\n[plugins.x]\ny = 2\n[host.\"https://m\"]\nz = 3",
            &["https://m/v2 a/b as m/a/b, ns=r.example", OWN],
        ),
    ] {
        assert_eq!(told(text, ":v1"), expected, "{text}");
    }
}

#[test]
fn a_registry_is_no_mirror_of_itself() {
    for (server, expected) in [
        ("https://r.example:443", "https://r.example/v2 a as r.example:443/a"),
        ("https://R.example", "https://r.example/v2 a as r.example:443/a"),
        ("http://r.example:443", "http://r.example:443/v2 a as r.example:443/a"),
        ("https://r.example:80", "https://r.example:80/v2 a as r.example:80/a, ns=r.example:443"),
        ("http://r.example", "http://r.example/v2 a as r.example/a, ns=r.example:443"),
    ] {
        let text = format!("server = \"{server}\"");
        let node = Node::new(&[("tree/r.example_443_/hosts.toml", &text)]);
        assert_eq!(node.told("r.example:443/a:v1"), [expected], "{server}");
        let default = Node::new(&[("tree/_default/hosts.toml", &text)]);
        let is_mirror = default.told("r.example/a:v1")[0].contains("ns=");
        assert_eq!(is_mirror, server.ends_with(":80") || server == "http://r.example:443");
    }
}

#[test]
fn digests_need_less_than_tags() {
    let text = "server = \"https://s\"\ncapabilities = [\"pull\"]\n\
                [host.\"https://m\"]\ncapabilities = [\"pull\"]";
    assert_eq!(
        told(text, ":v1"),
        ["\"/tree/r.example/hosts.toml\" has no host that may be asked for a tag (capabilities)"]
    );
    let both =
        ["https://m/v2 a/b as m/a/b, ns=r.example", "https://s/v2 a/b as s/a/b, ns=r.example"];
    assert_eq!(told(text, &format!("@{DIGEST}")), both);
    assert_eq!(told(text, &format!(":v1@{DIGEST}")), both);
}

#[test]
fn broken_files_are_named_with_their_line() {
    let many: String = (0..17).map(|n| format!("[host.\"https://m{n}\"]\n")).collect();
    for (text, line, problem) in [
        ("server = ", 1, None),
        ("\n\nserver", 3, None),
        ("server = 'a'\nserver = 'b'", 2, None),
        ("server = 1", 1, Some("\"server\" is not a string")),
        (
            "\nserver = \"ftp://m\"",
            2,
            Some("the host is not an http or https URL, or has more than a path"),
        ),
        (
            "[host.\"https://u:secret@m\"]",
            1,
            Some("the host is not an http or https URL, or has more than a path"),
        ),
        (
            "[host.\"https://m?x=secret\"]",
            1,
            Some("the host is not an http or https URL, or has more than a path"),
        ),
        (
            "[host.\"https://\"]",
            1,
            Some("the host is not an http or https URL, or has more than a path"),
        ),
        ("host = 1", 1, Some("\"host\" is not a table")),
        ("[host]\n\"https://m\" = 1", 2, Some("\"https://m\" is not a table")),
        (
            "[host.\"https://m\"]\ncapabilities = [\"pul\"]",
            2,
            Some("unknown capability: pull, resolve, push, referrers"),
        ),
        ("[host.\"https://m\"]\ncapabilities = [1]", 2, Some("\"capabilities\" is not a string")),
        (
            "[host.\"https://m\"]\nskip_verify = \"yes\"",
            2,
            Some("\"skip_verify\" is not true or false"),
        ),
        (
            "[host.\"https://m\"]\noverride_path = 1",
            2,
            Some("\"override_path\" is not true or false"),
        ),
        (
            "[host.\"https://m\"]\nclient = [[\"ca.pem\"]]",
            2,
            Some("\"client\" has a pair that is none"),
        ),
        ("[host.\"https://m\"]\nca = 1", 2, Some("\"ca\" is not a string")),
        (
            "[host.\"https://m\"]\ndial_timeout = \"5\"",
            2,
            Some("\"dial_timeout\" is not a duration such as 5s"),
        ),
        ("[host.\"https://m\"]\ndial_timeout = 5", 2, Some("\"dial_timeout\" is not a string")),
        (
            "[host.\"https://m\".header]\n\"x y\" = \"secret\"",
            2,
            Some("a header's name cannot be one"),
        ),
        (
            "[host.\"https://m\".header]\nx = \"secret\\n\"",
            2,
            Some("header x has a value it cannot have"),
        ),
        ("[host.\"https://m\".header]\nx = 1", 2, Some("\"x\" is not a string")),
        (many.as_str(), 17, Some("more than 16 hosts")),
    ] {
        let told = told(text, ":v1");
        let place = format!("\"/tree/r.example/hosts.toml\", line {line}: ");
        let rest = told[0].strip_prefix(&place).unwrap_or_else(|| panic!("{text}: {told:?}"));
        if let Some(problem) = problem {
            assert_eq!(rest, problem, "{text}");
        }
        assert!(!rest.is_empty() && !rest.contains("secret"), "{text}: {rest}");
    }
    assert_eq!(
        told("ca = \"none.pem\"", ":v1"),
        ["cannot read \"/tree/r.example/none.pem\": entity not found"]
    );
    assert_eq!(
        told("ca = \"key.pem\"", ":v1"),
        ["\"/tree/r.example/key.pem\" holds no PEM certificates"]
    );
    assert_eq!(
        told("client = \"ca.pem\"", ":v1"),
        ["\"/tree/r.example/ca.pem\" holds no PEM certificate with its key"]
    );
}

#[test]
fn durations_are_gos() {
    let ms = Duration::from_millis;
    for (text, expected) in [
        ("5s", Some(Some(ms(5000)))),
        ("1m30s", Some(Some(ms(90_000)))),
        ("1.5s", Some(Some(ms(1500)))),
        (".5s", Some(Some(ms(500)))),
        ("300ms", Some(Some(ms(300)))),
        ("1000us", Some(Some(ms(1)))),
        ("1000µs", Some(Some(ms(1)))),
        ("2000000ns", Some(Some(ms(2)))),
        ("+1s", Some(Some(ms(1000)))),
        ("24h", Some(Some(MAX_DIAL))),
        ("0", Some(None)),
        ("0s", Some(None)),
        ("-1s", None),
        ("5", None),
        ("s", None),
        ("1 s", None),
        ("1d", None),
        ("1.2.3s", None),
    ] {
        assert_eq!(duration(text), expected, "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn parsing_ends(text in "\\PC*", duration_text in "[0-9.a-zµ+-]*") {
        let path = Path::new("/none/hosts.toml");
        drop(parse(path, text.as_bytes(), "r.example", &mut Reader::default()));
        proptest::prop_assert!(duration(&duration_text).flatten().is_none_or(|d| d <= MAX_DIAL));
    }
}
