use super::*;
use crate::artifact::testing::{Files, path};

const BODY: &str = "---\nname: code-review\ndescription: Reviews code.\n---\n";

fn look(
    entries: &[(&str, &str)],
    hints: &Hints,
    validation: Validation,
) -> Result<Layout, FindError> {
    let (tree, mut contents) = Files::of(entries).split();
    find(&tree, &mut contents, hints, validation)
}

fn named(fallback: &str) -> Hints {
    Hints { fallback: fallback.into(), ..Hints::default() }
}

#[test]
fn v01_a_skill_is_described() {
    let entries = [("SKILL.md", BODY), ("scripts/run.sh", "#!"), ("l -> scripts/run.sh", "")];
    let layout = look(&entries, &named("code-review"), Validation::Strict).unwrap();
    let skill = Skill {
        name: "code-review".into(),
        root: TreePath::root(),
        description: Some("Reviews code.".into()),
        files: 3,
        bytes: BODY.len() as u64 + 4,
        skill_md: path("SKILL.md"),
    };
    assert_eq!(layout, Layout { shape: Shape::Single, skills: vec![skill], warnings: Vec::new() });
}

#[test]
fn names_and_what_is_said_about_them() {
    let hint = |name: &str| Hints {
        names: vec![("annotation io.agentskills.skill.name", name.into())],
        fallback: "code-review".into(),
        ..Hints::default()
    };
    let scan = "---\nname: skills:scan\ndescription: D\n---\n";
    let evil = "---\nname: ../x\ndescription: D\n---\n";
    for (row, entries, hints, names, warnings) in [
        (
            "V06",
            &[("code-review/SKILL.md", BODY)] as &[(&str, &str)],
            named("code-review"),
            "code-review",
            0,
        ),
        ("V22 folder", &[("dir/SKILL.md", BODY)], named("code-review"), "code-review", 1),
        (
            "prefixed repository",
            &[("SKILL.md", BODY)],
            named("skill-code-review"),
            "code-review",
            1,
        ),
        ("annotation", &[("SKILL.md", BODY)], hint("other"), "code-review", 1),
        ("no front matter", &[("SKILL.md", "# T")], hint("other"), "other", 2),
        ("folder over repository", &[("f/SKILL.md", "# T")], named("repo"), "f", 2),
        ("repository", &[("SKILL.md", "# T")], named("repo"), "repo", 1),
        ("M20", &[("SKILL.md", evil)], named("repo"), "repo", 2),
        ("V14", &[("a/SKILL.md", BODY), ("b/SKILL.md", BODY)], named("x"), "a b", 2),
        ("V30", &[("skills/skills:scan/SKILL.md", scan)], named("x"), "skills:scan", 1),
        ("M20 folder", &[("-x/SKILL.md", BODY), ("b/f", "")], named("x"), "code-review", 1),
        ("O14", &[("a/b/code-review/SKILL.md", BODY)], named("code-review"), "code-review", 1),
    ] {
        let layout = look(entries, &hints, Validation::Lenient).unwrap();
        let found: Vec<_> = layout.skills.iter().map(|skill| skill.name.as_str()).collect();
        assert_eq!(found.join(" "), names, "{row}");
        assert_eq!(layout.warnings.len(), warnings, "{row}: {:?}", layout.warnings);
        let strict = look(entries, &hints, Validation::Strict);
        assert_eq!(strict.is_err(), warnings > 0, "{row}: {strict:?}");
    }
}

#[test]
fn strict_errors_list_everything() {
    let text = "\u{feff}---\nname: Foo\ndescription: D\n---\n";
    let error = look(&[("a/SKILL.md", text), ("b", "")], &named("x"), Validation::Strict);
    assert_eq!(
        error.unwrap_err().to_string(),
        "strict validation found: a/SKILL.md: name \"Foo\" is not lower-case [agentskills.io: \
         name]; a: the skill is named \"a\" by its folder, but SKILL.md says \"Foo\" \
         [agentskills.io: name]; a/SKILL.md: starts with a byte order mark [agentskills.io: format]"
    );
}

#[test]
fn m19_names_that_collide() {
    let collide = |entries: &[(&str, &str)]| {
        look(entries, &named("x"), Validation::None).unwrap_err().to_string()
    };
    assert_eq!(
        collide(&[("Foo/SKILL.md", ""), ("foo/SKILL.md", "")]),
        "two skills have the same name: \"Foo\" (Foo) and \"foo\" (foo)"
    );
    let two = [
        ("p/plugin.json", ""),
        ("p/skills/a/SKILL.md", ""),
        ("q/plugin.json", ""),
        ("q/skills/a/SKILL.md", ""),
    ];
    assert_eq!(
        collide(&two),
        "two skills have the same name: \"a\" (p/skills/a) and \"a\" (q/skills/a)"
    );
    assert_eq!(
        collide(&[("a:b/SKILL.md", ""), ("A:b/SKILL.md", "")]),
        "two skills have the same name: \"A:b\" (A:b) and \"a:b\" (a:b)"
    );
    let unusable = look(&[("SKILL.md", "")], &named("-"), Validation::None).unwrap_err();
    assert!(unusable.to_string().starts_with("the skill in . has no usable name: the repository"));
}

#[test]
fn o08_o09_other_kinds_of_skill_md() {
    let layout = look(&[("skill.md", BODY)], &named("code-review"), Validation::Lenient).unwrap();
    assert_eq!((layout.skills[0].skill_md.clone(), layout.warnings.len()), (path("skill.md"), 1));
    look(&[("skill.md", BODY)], &named("code-review"), Validation::Strict).unwrap_err();
    let link = [("s/SKILL.md -> docs/README.md", ""), ("s/docs/README.md", BODY)];
    let layout = look(&link, &named("code-review"), Validation::Lenient).unwrap();
    assert_eq!(layout.skills[0].name, "code-review");
    assert_eq!((layout.skills[0].files, layout.skills[0].bytes), (2, 2 * BODY.len() as u64));
    let bad = [("s/SKILL.md -> ../README.md", ""), ("README.md", BODY)];
    let error = look(&bad, &named("x"), Validation::None).unwrap_err();
    assert_eq!(error.to_string(), "the skill in s has an unusable link");
}

#[test]
fn what_each_validation_lets_pass() {
    let mut large = Files::default();
    large.add("SKILL.md", &vec![b'x'; 1 + (1 << 20)]);
    let mut latin = Files::default();
    latin.add("SKILL.md", b"---\nname: a\xe9\n---\n");
    for (row, files, message) in [
        ("large", large, "\"SKILL.md\" has 1048577 bytes, more than 1048576"),
        ("Latin-1", latin, "\"SKILL.md\" is not UTF-8"),
    ] {
        let (tree, mut contents) = files.split();
        let mut look = |validation| find(&tree, &mut contents, &named("repo"), validation);
        assert_eq!(look(Validation::Lenient).unwrap_err().to_string(), message, "{row}");
        assert_eq!(look(Validation::Strict).unwrap_err().to_string(), message, "{row}");
        let layout = look(Validation::None).unwrap();
        assert_eq!((layout.skills[0].name.as_str(), layout.warnings.len()), ("repo", 0), "{row}");
    }
    let layout = look(&[("SKILL.md", "# T")], &named("repo"), Validation::None).unwrap();
    assert_eq!(layout.warnings, [""; 0]);
}

#[test]
fn a_sub_path_has_its_own_names() {
    let (tree, mut contents) = Files::of(&[("x/a/SKILL.md", BODY), ("x/b/SKILL.md", BODY)]).split();
    let hints = Hints {
        names: vec![("the config's name", "team".into())],
        fallback: "team".into(),
        ..Hints::default()
    };
    let mut below =
        |base| find_below(&tree, &path(base), &mut contents, &hints, Validation::Lenient);
    let layout = below("x").unwrap();
    assert_eq!((layout.shape, layout.skills.len()), (Shape::Collection, 2));
    let layout = below("x/a").unwrap();
    assert_eq!((layout.shape, layout.skills[0].name.as_str()), (Shape::Single, "code-review"));
    assert_eq!(layout.warnings.len(), 1);
}

#[test]
fn a_path_on_this_machine_names_only_what_has_no_name() {
    let local = Hints { local: true, ..named("out") };
    let nameless = "---\ndescription: D\n---\n";
    for (body, name) in [(BODY, "code-review"), (nameless, "out")] {
        let layout = look(&[("SKILL.md", body)], &local, Validation::Lenient).unwrap();
        assert_eq!(layout.skills[0].name, name);
        let said = layout.warnings.iter().any(|warning| warning.contains("is named"));
        assert!(!said, "{:?}", layout.warnings);
    }
}
