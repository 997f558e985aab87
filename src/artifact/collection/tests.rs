use proptest::prelude::*;

use super::*;

fn with(skills: &str) -> String {
    format!(
        "apiVersion: skillimage.io/v1alpha1\nkind: SkillCollection\n\
         metadata: {{name: team, version: 1.0.0}}\nskills:\n{skills}"
    )
}

#[test]
fn v04_images_are_listed() {
    let text = with(
        "  - name: code-review   # required\n    image: r.example/acme/code-review:1.0.0\n\
         \x20 - {name: docs, image: other.example/docs}\n\
         \x20 - source: https://git.example/acme/x\n",
    );
    let collection = parse(text.as_bytes()).unwrap();
    let entries: Vec<_> =
        collection.entries.iter().map(|e| (e.name.as_str(), e.image.to_string())).collect();
    let expected = [
        ("code-review", "r.example/acme/code-review:1.0.0".to_owned()),
        ("docs", "other.example/docs:latest".into()),
    ];
    assert_eq!(entries, expected);
    assert_eq!(
        collection.warnings,
        [
            "entry 3 of the collection is a source, \"https://git.example/acme/x\", which a registry \
          cannot serve; left out [skillimage: collection]"
        ]
    );
    let newer = text.replace("v1alpha1", "v1alpha2");
    assert_eq!(parse(newer.as_bytes()).unwrap().warnings.len(), 2);
}

#[test]
fn m17_m18_m19_m20_refusals() {
    let image =
        |name: &str, image: &str| with(&format!("  - {{name: {name:?}, image: {image:?}}}"));
    let many = "  - {name: a, image: x}\n".repeat(101);
    for (row, text, message) in [
        ("M17", image("a", "http://169.254.169.254/x"), "entry 1 of the collection"),
        ("M17", with(&many), "the collection lists 101 skills, more than 100"),
        ("M18", with("  - &a {name: a, image: x}\n  - *a"), "the collection cannot be read"),
        ("M18", with("  - !x {name: a, image: x}"), "the collection cannot be read"),
        ("M18", with(&format!("  - {}", "[".repeat(20))), "the collection cannot be read"),
        ("M18", " ".repeat(MAX_BYTES + 1), "the collection has 1048577 bytes"),
        ("M19", with("  - {name: a, image: x}\n  - {name: A, image: y}"), "the collection's names"),
        ("M20", image("..", "x"), "entry 1 of the collection: name \"..\" does not start"),
        ("M20", image("a/b", "x"), "entry 1 of the collection: name \"a/b\" has other"),
        ("no name", with("  - image: x"), "entry 1 of the collection: name \"\" is empty"),
        ("no image", with("  - name: x"), "entry 1 of the collection has neither"),
        ("a text", with("  - x"), "entry 1 of the collection has neither"),
        ("sources", with("  - source: x"), "the collection lists no image"),
        ("no list", with("  a: b"), "the collection has no list"),
        ("empty", String::new(), "the collection is of kind \"\""),
    ] {
        let error = parse(text.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with(message), "{row}: {error}");
    }
    assert_eq!(parse(b"\xff"), Err(CollectionError::NotUtf8));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        drop(parse(&bytes));
    }

    #[test]
    fn any_entries_are_read_or_refused(skills in "[-:\\[\\]{}#&*!|>'\" \ta-cé\n]{0,60}") {
        drop(parse(with(&skills).as_bytes()));
        drop(parse(with(&format!("  - {{name: a, image: {skills}}}")).as_bytes()));
    }
}
