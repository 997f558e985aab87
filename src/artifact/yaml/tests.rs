use proptest::prelude::*;

use super::*;

#[test]
fn values_are_texts_lists_and_maps() {
    let yaml = load("a: 1\nb: [x, ~]\nc: {d: \"~\"}\na: 2\n", 8).unwrap();
    assert_eq!(yaml.value.get("a"), Some(&Value::Text("2".into())));
    assert_eq!(yaml.value.get("b"), Some(&Value::List(vec![Value::Text("x".into()), Value::Null])));
    assert_eq!(yaml.value.get("c").and_then(|c| c.get("d")?.text()), Some("~"));
    assert_eq!(yaml.duplicates, ["a"]);
    assert_eq!(load("", 8).unwrap().value, Value::Null);
}

#[test]
fn m18_m25_dangerous_features_are_refused() {
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    for (text, error) in [
        ("a: 1\nb: &x 1", YamlError::Anchor(2)),
        ("a: &x [1]", YamlError::Anchor(1)),
        ("a: !!python/object:os.system x", YamlError::Tag(1)),
        ("a: !x {}", YamlError::Tag(1)),
        ("a: &x [1]\nb: *x", YamlError::Anchor(1)),
        ("a: 1\n---\nb: 2", YamlError::Documents(2)),
        ("? [a]\n: b", YamlError::Key(1)),
        (&deep(9), YamlError::Depth { line: 1, max: 8 }),
        (&format!("[{}]", "1,".repeat(MAX_EVENTS)), YamlError::Events),
    ] {
        assert_eq!(load(text, 8).unwrap_err(), error, "{}", &text[..text.len().min(40)]);
    }
    load(&deep(8), 8).unwrap();
    assert!(matches!(load("a: b: c", 8), Err(YamlError::Syntax { line: 1, .. })));
    // The parser reads ahead, and has a limit of its own.
    load(&"[".repeat(60_000), 8).unwrap_err();
    load("b: *x", 8).unwrap_err();
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text: String) {
        drop(load(&text, 8));
    }

    #[test]
    fn any_yaml_like_text_is_read_or_refused(text in "[-?:,\\[\\]{}#&*!|>'\"%@` \t\r\na0~.]{0,80}") {
        drop(load(&text, 8));
    }
}
