use proptest::prelude::*;

use super::*;

fn read(text: &str) -> (Option<String>, Option<String>, usize, usize) {
    let matter = parse(text);
    (matter.name, matter.description, matter.warnings.len(), matter.strict.len())
}

#[test]
fn o07_names_are_read_from_what_is_in_the_wild() {
    let long = format!("---\nname: a\ndescription: {}\n---\n", "d".repeat(1068));
    for (row, text, name, description, warnings, strict) in [
        ("plain", "---\nname: a\ndescription: D\n---\nbody\n---\n", "a", "D", 0, 0),
        ("CRLF", "---\r\nname: a\r\ndescription: D\r\n---\r\n", "a", "D", 0, 0),
        ("BOM", "\u{feff}---\nname: a\ndescription: D\n---\n", "a", "D", 0, 1),
        ("blank line first", "\n \n---\nname: a\ndescription: D\n---\n", "a", "D", 0, 1),
        ("dashes in a value", "---\nname: a\ndescription: D --- E\n---\n", "a", "D --- E", 0, 0),
        ("fence with spaces", "---  \nname: a\ndescription: D\n--- \n", "a", "D", 0, 0),
        ("fence at the end", "---\nname: a\ndescription: D\n---", "a", "D", 0, 0),
        ("comment, quotes", "---\n# c\nname: \"a\"\ndescription: 'D'\n---\n", "a", "D", 0, 0),
        ("folded", "---\nname: a\ndescription: >\n  D\n  E\n---\n", "a", "D E", 0, 0),
        ("digits", "---\nname: 123\ndescription: D\n---\n", "123", "D", 0, 0),
        (
            "flow",
            "---\nname: a\ndescription: D\nmetadata: {a: b}\nallowed-tools: [R]\n---\n",
            "a",
            "D",
            0,
            0,
        ),
        ("extra", "---\nname: a\ndescription: D\nversion: 1\n---\n", "a", "D", 0, 1),
        ("twice", "---\nname: a\nname: b\ndescription: D\n---\n", "b", "D", 1, 0),
        ("colon", "---\nname: a\ndescription: Use when: x\n---\n", "a", "Use when: x", 1, 0),
        (
            "colon, folded",
            "---\nname: a\nx: y: z\ndescription: >-\n  D\n  E\n---\n",
            "a",
            "D E",
            1,
            0,
        ),
        ("anchor", "---\nname: a\ndescription: D\nx: &x [1]\n---\n", "a", "D", 1, 0),
        ("tag", "---\nname: a\ndescription: D\nx: !!python/none x\n---\n", "a", "D", 1, 0),
        ("open", "---\nname: a\ndescription: D\n", "a", "D", 1, 0),
        ("V29 long", &long, "a", &"d".repeat(1068), 1, 0),
        ("NFD", "---\nname: cafe\u{301}\ndescription: D\n---\n", "caf\u{e9}", "D", 0, 0),
        ("upper case", "---\nname: Foo\ndescription: D\n---\n", "Foo", "D", 1, 0),
        ("no list", "---\nname: a\ndescription: [D]\n---\n", "a", "", 2, 0),
        ("no map", "---\n- name: a\n---\n", "", "", 3, 0),
        ("null", "---\nname: ~\ndescription:\n---\n", "", "", 2, 0),
        ("none", "# Title\n", "", "", 1, 0),
        ("indented fence", " ---\nname: a\n---\n", "", "", 1, 0),
        ("empty", "", "", "", 1, 0),
    ] {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        assert_eq!(read(text), (some(name), some(description), warnings, strict), "{row}");
    }
}

#[test]
fn findings_are_short_sentences_with_their_rule() {
    assert_eq!(
        parse("---\nname: Foo\n---\n").warnings,
        [
            "name \"Foo\" is not lower-case [agentskills.io: name]",
            "has no description [agentskills.io: description]"
        ]
    );
}

#[test]
fn m25_bounds() {
    let big = format!("---\nname: a\ndescription: D\nx: {}\n---\n", "x".repeat(10 << 20));
    assert_eq!(read(&big), (Some("a".into()), Some("D".into()), 1, 0));
    let deep = format!("---\nname: a\nx: {}1{}\n---\n", "[".repeat(200), "]".repeat(200));
    assert_eq!(read(&deep), (Some("a".into()), None, 2, 0));
    let laughs = "---\na: &a [l]\nb: &b [*a,*a]\nname: n\ndescription: *b\n---\n";
    assert_eq!(read(laughs), (Some("n".into()), None, 2, 0));
}

proptest! {
    #[test]
    fn any_text_is_read(text: String) {
        parse(&text);
        parse(&format!("---\n{text}\n---\n"));
    }

    #[test]
    fn any_front_matter_is_read(text in "(---|name:|description:|[-\u{feff}>|&*! \t\r\na:é]){0,40}") {
        parse(&text);
    }
}
