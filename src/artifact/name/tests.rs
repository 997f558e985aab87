use super::*;
use crate::artifact::testing::manifest;

#[test]
fn the_specifications_grammar() {
    let long = "a".repeat(65);
    for (name, ok) in [
        ("a", true),
        ("code-review-2", true),
        ("über-日本", true),
        ("ａｂｃ", true),
        (&long[..64], true),
        (&long, false),
        ("", false),
        ("Foo", false),
        ("a_b", false),
        ("a.b", false),
        ("skills:scan", false),
        ("a--b", false),
        ("-a", false),
        ("a-", false),
    ] {
        assert_eq!(specification_problem(name).is_none(), ok, "{name}");
    }
}

#[test]
fn m20_directory_names() {
    let long = "x".repeat(129);
    for (name, colon, ok) in [
        ("Foo_1.2-b", false, true),
        ("_x", false, true),
        ("caf\u{e9}", false, true),
        ("हिन्दी", false, true),
        ("skills:scan", true, true),
        ("skills:scan", false, false),
        (":x", true, false),
        ("cafe\u{301}", false, false),
        ("..", false, false),
        (".git", false, false),
        ("-x", false, false),
        ("a/b", false, false),
        ("a b", false, false),
        ("a\u{202e}b", false, false),
        ("", false, false),
        (&long[..128], false, true),
        (&long, false, false),
        (&"日".repeat(100), false, false),
    ] {
        assert_eq!(directory_problem(name, colon).is_none(), ok, "{name}");
    }
}

#[test]
fn m19_collisions_name_both() {
    let check = |names: &[&str]| {
        refuse_collisions(names.iter().enumerate().map(|(i, name)| (*name, format!("p{i}"))))
    };
    assert_eq!(check(&["a", "b"]), Ok(()));
    assert_eq!(
        check(&["a", "Foo", "foo"]).unwrap_err().to_string(),
        "two skills have the same name: \"Foo\" (p1) and \"foo\" (p2)"
    );
    for names in [["x", "x"], ["caf\u{e9}", "CAFE\u{301}"]] {
        check(&names).unwrap_err();
    }
}

#[test]
fn o20_hints_come_from_everything_but_the_title() {
    let json = |config: &str| {
        manifest(&format!(
            r#"{{"config":{{"mediaType":"{config}","digest":"@c"}},"annotations":{{
            "org.opencontainers.image.title":"Code Review/x","io.agentskills.skill.name":" a ",
            "dev.toolhive.skills.name":"","org.agent.skill.name":"c"}}}}"#
        ))
    };
    let found = hints(
        &json("application/vnd.oci.image.config.v1+json"),
        Some(br#"{"config":{"Labels":{"dev.toolhive.skills.name":"b"}}}"#),
        "repo",
    );
    let expected = [
        ("annotation io.agentskills.skill.name", "a".to_owned()),
        ("label dev.toolhive.skills.name", "b".into()),
        ("annotation org.agent.skill.name", "c".into()),
    ];
    assert_eq!(
        found,
        Hints { names: expected.into(), fallback: "repo".into(), ..Hints::default() }
    );
    let f2 = json(super::super::media_types::AGENTSKILLS_CONFIG);
    let found = hints(&f2, Some(br#"{"schemaVersion":"1","name":"d"}"#), "repo");
    assert_eq!(found.names.last(), Some(&("the config's name", "d".to_owned())));
    for unusable in [&b"nonsense"[..], br#"{"schemaVersion":"2","name":"d"}"#] {
        assert_eq!(hints(&f2, Some(unusable), "repo").names.len(), 2);
    }
}

#[test]
fn the_first_usable_source_names_the_skill() {
    let chosen = choose(&[("A", ".."), ("B", "b"), ("C", "b"), ("D", "d")], "x", false).unwrap();
    assert_eq!(
        chosen,
        Chosen {
            name: "b".into(),
            unusable: vec!["A: \"..\" does not start with a letter, a digit or _".into()],
            disagreement: Some("the skill is named \"b\" by B, but D says \"d\"".into()),
        }
    );
    assert_eq!(choose(&[("A", "a"), ("B", "ａ")], "x", false).unwrap().disagreement, None);
    choose(&[("A", "..")], "x", false).unwrap_err();
}
