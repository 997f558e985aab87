use super::super::tests::{DIGEST, Node};
use super::*;

fn told(text: &str, reference: &str) -> Vec<String> {
    Node::new(&[("conf/registries.conf", text)]).told(reference)
}

const MIRRORED: &str = "[[registry]]\nprefix = \"r.example/a\"\nlocation = \"real.example:5000/x/a\"\n\
    [[registry.mirror]]\nlocation = \"m.example/cache\"\n\
    [[registry.mirror]]\nlocation = \"n.example\"\ninsecure = true\n";

#[test]
fn registries_make_routes() {
    let by_digest = |selector: &str| {
        let text = "[[registry]]\nlocation = \"r.example\"\nmirror-by-digest-only = true\n\
                    [[registry.mirror]]\nlocation = \"m.example\"";
        told(text, &format!("r.example/a{selector}"))
    };
    let digest = format!("@{DIGEST}");
    assert_eq!(by_digest(":v1"), ["usual://r.example/v2 a as r.example/a"]);
    let mirrored =
        ["usual://m.example/v2 a as m.example/a, mirror", "usual://r.example/v2 a as r.example/a"];
    assert_eq!(by_digest(&digest), mirrored);

    let from = |which: &str, selector: &str| {
        let text = format!(
            "[[registry]]\nlocation = \"r.example\"\n[[registry.mirror]]\nlocation = \"m.example\"\n\
             pull-from-mirror = \"{which}\""
        );
        told(&text, &format!("r.example/a{selector}")).len()
    };
    for (which, tags, digests) in
        [("all", 2, 2), ("", 2, 2), ("digest-only", 1, 2), ("tag-only", 2, 1)]
    {
        assert_eq!((from(which, ":v1"), from(which, &digest)), (tags, digests), "{which}");
    }

    for (text, reference, expected) in [
        ("", "r.example/a", &["usual://r.example/v2 a as r.example/a"][..]),
        (
            MIRRORED,
            "r.example/a/b:v1",
            &[
                "usual://m.example/v2 cache/b as m.example/cache/b, mirror",
                "either://n.example/v2 b as n.example/b, mirror, unverified",
                "usual://real.example:5000/v2 x/a/b as real.example:5000/x/a/b, mirror",
            ],
        ),
        (MIRRORED, "r.example/ab", &["usual://r.example/v2 ab as r.example/ab"]),
        (MIRRORED, "r.example:5000/a/b", &["usual://r.example:5000/v2 a/b as r.example:5000/a/b"]),
        (MIRRORED, "x.r.example/a/b", &["usual://x.r.example/v2 a/b as x.r.example/a/b"]),
        (
            "[[registry]]\nprefix = \"r.example\"\nlocation = \"one\"\n\
             [[registry]]\nprefix = \"r.example/a\"\nlocation = \"two\"",
            "r.example/a/b",
            &["usual://two/v2 b as two/b, mirror"],
        ),
        (
            "[[registry]]\nprefix = \"*.example\"\ninsecure = true",
            "r.example/a",
            &["either://r.example/v2 a as r.example/a, unverified"],
        ),
        (
            "[[registry]]\nprefix = \"*.example\"\nlocation = \"m.example/all\"",
            "a.b.example/a",
            &["usual://m.example/v2 all/a as m.example/all/a, mirror"],
        ),
        (
            "[[registry]]\nprefix = \"*.example\"\nlocation = \"m\"",
            "r.example.com/a",
            &["usual://r.example.com/v2 a as r.example.com/a"],
        ),
        (
            "[[registry]]\nlocation = \"docker.io\"\n[[registry.mirror]]\nlocation = \"m.example/hub/\"",
            "skill",
            &[
                "usual://m.example/v2 hub/library/skill as m.example/hub/library/skill, mirror",
                "usual://registry-1.docker.io/v2 library/skill as docker.io/library/skill",
            ],
        ),
        (
            "[[registry]]\nlocation = \"r.example\"\ninsecure = true",
            "r.example/a",
            &["either://r.example/v2 a as r.example/a, unverified"],
        ),
        (
            "[[registry]]\nlocation = \"r.example\"\n[[registry.mirror]]\nlocation = \"m.example/UPPER\"",
            "r.example/a",
            &[
                "usual://m.example/v2 UPPER/a as nothing, mirror",
                "usual://r.example/v2 a as r.example/a",
            ],
        ),
        (
            "unqualified-search-registries = [\"docker.io\"]\nshort-name-mode = \"enforcing\"\n\
             credential-helpers = [\"x\"]\n[aliases]\na = \"r.example/b\"\n[other]\nx = 1",
            "r.example/a",
            &["usual://r.example/v2 a as r.example/a"],
        ),
        (
            "[[registry]]\nlocation = \"r.example/bad\"\nblocked = true",
            "r.example/bad/skill",
            &["r.example/bad is blocked in \"/conf/registries.conf\""],
        ),
        (
            "[[registry]]\nprefix = \"*.example\"\nblocked = true",
            "r.example/bad/skill",
            &["*.example is blocked in \"/conf/registries.conf\""],
        ),
    ] {
        assert_eq!(told(text, reference), expected, "{reference}: {text}");
    }
}

#[test]
fn later_files_take_the_place_of_earlier_ones() {
    let text =
        |location: &str| format!("[[registry]]\nprefix = \"r.example\"\nlocation = \"{location}\"");
    let files = [
        ("conf/registries.conf", text("main")),
        ("conf/registries.conf.d/10-b.conf", text("ten")),
        ("conf/registries.conf.d/05-a.conf", text("five")),
        ("conf/registries.conf.d/99-z.txt", text("other")),
    ];
    let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    assert_eq!(Node::new(&files).told("r.example/a"), ["usual://ten/v2 a as ten/a, mirror"]);
    assert_eq!(Node::new(&files[..1]).told("r.example/a"), ["usual://main/v2 a as main/a, mirror"]);
    assert_eq!(Node::new(&files[1..2]).told("r.example/a"), ["usual://ten/v2 a as ten/a, mirror"]);
    assert_eq!(
        Node::new(&files[3..]).told("r.example/a"),
        ["cannot read \"/conf/registries.conf\": entity not found"]
    );
}

#[test]
fn broken_files_are_named_with_their_line() {
    for (text, line, problem) in [
        ("[[registry]\n", 1, None),
        ("\n[[registry]]\nlocation = 1", 3, Some("\"location\" is not a string")),
        ("\n[[registry]]\nblocked = true", 2, Some("a registry has neither prefix nor location")),
        (
            "[[registry]]\nprefix = \"r.example\"",
            1,
            Some("a registry has a prefix and no location"),
        ),
        (
            "[[registry]]\nprefix = \"*.x/y\"\nlocation = \"z\"",
            1,
            Some("a prefix with a wildcard is not of the form *.example.com"),
        ),
        (
            "[[registry]]\nprefix = \"r.*\"\nlocation = \"z\"",
            1,
            Some("a prefix with a wildcard is not of the form *.example.com"),
        ),
        (
            "[[registry]]\nlocation = \"https://r\"",
            2,
            Some("\"location\" has a scheme; a location is host[:port][/path]"),
        ),
        (
            "[[registry]]\nlocation = \"r?x=secret\"",
            2,
            Some("\"location\" is not host[:port][/path]"),
        ),
        ("[[registry]]\nlocation = \"u@r\"", 2, Some("\"location\" is not host[:port][/path]")),
        (
            "[[registry]]\nlocation = \"r\"\nblocked = 1",
            3,
            Some("\"blocked\" is not true or false"),
        ),
        (
            "[[registry]]\nlocation = \"r\"\n[[registry.mirror]]\ninsecure = true",
            3,
            Some("a mirror has no location"),
        ),
        (
            "[[registry]]\nlocation = \"r\"\n[[registry.mirror]]\nlocation = \"m\"\npull-from-mirror = \"x\"",
            5,
            Some("\"pull-from-mirror\" is all, digest-only or tag-only"),
        ),
        (
            "[[registry]]\nlocation = \"r\"\nmirror-by-digest-only = true\n[[registry.mirror]]\n\
             location = \"m\"\npull-from-mirror = \"all\"",
            6,
            Some("\"pull-from-mirror\" beside \"mirror-by-digest-only\""),
        ),
    ] {
        let told = told(text, "r.example/a");
        let place = format!("\"/conf/registries.conf\", line {line}: ");
        let rest = told[0].strip_prefix(&place).unwrap_or_else(|| panic!("{text}: {told:?}"));
        if let Some(problem) = problem {
            assert_eq!(rest, problem, "{text}");
        }
        assert!(!rest.is_empty() && !rest.contains("secret"), "{text}: {rest}");
    }
}

proptest::proptest! {
    #[test]
    fn parsing_ends(text in "\\PC*") {
        drop(parse(Path::new("/none"), text.as_bytes()));
    }
}
