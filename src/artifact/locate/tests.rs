use super::*;
use crate::artifact::testing::{Files, path};

fn tree(entries: &[&str]) -> Tree {
    let entries: Vec<_> = entries.iter().map(|entry| (*entry, "")).collect();
    Files::of(&entries).tree
}

#[test]
fn skills_are_found_where_producers_put_them() {
    use Shape::{Collection, Single};
    for (row, entries, shape, roots, warned) in [
        ("V01", &["SKILL.md", "skill.yaml", "scripts/run.sh"] as &[&str], Single, ".", false),
        ("nested are files", &["SKILL.md", "a/SKILL.md"], Single, ".", false),
        ("V06", &["code-review/SKILL.md", "code-review/x"], Single, "code-review", false),
        (
            "V22 junk",
            &[
                "a/SKILL.md",
                "README.md",
                "LICENSE",
                "Dockerfile",
                ".dockerignore",
                "skill.yaml",
                "catalog.yaml",
                "config.json",
                ".skill/x",
            ],
            Single,
            "a",
            false,
        ),
        ("not junk", &["a/SKILL.md", "notes.txt"], Collection, "a", false),
        ("other dir", &["a/SKILL.md", "docs/x"], Collection, "a", false),
        ("a junk name's dir", &["a/SKILL.md", "README/x"], Collection, "a", false),
        ("V05", &["a/SKILL.md", "b/SKILL.md", "README.md"], Collection, "a b", false),
        ("hidden", &[".a/SKILL.md", "b/SKILL.md"], Collection, "b", false),
        (
            "V25",
            &[".claude-plugin/plugin.json", "skills/a/SKILL.md", "skills/b/SKILL.md"],
            Collection,
            "skills/a skills/b",
            false,
        ),
        ("F12 below", &["p/plugin.json", "p/skills/a/SKILL.md"], Collection, "p/skills/a", false),
        (
            "two plugins",
            &[
                "ps/p/.claude-plugin/plugin.json",
                "ps/p/skills/a/SKILL.md",
                "ps/q/plugin.json",
                "ps/q/skills/b/SKILL.md",
            ],
            Collection,
            "ps/p/skills/a ps/q/skills/b",
            false,
        ),
        ("V26", &["module-root/skills/x/SKILL.md"], Collection, "module-root/skills/x", false),
        (
            "V30",
            &[".claude/skills/skills:scan/SKILL.md"],
            Collection,
            ".claude/skills/skills:scan",
            false,
        ),
        (
            ".agents first",
            &[".claude/skills/a/SKILL.md", ".agents/skills/b/SKILL.md"],
            Collection,
            ".agents/skills/b",
            false,
        ),
        (
            "skills first",
            &[".claude/skills/a/SKILL.md", "skills/b/SKILL.md"],
            Collection,
            "skills/b",
            false,
        ),
        ("O08", &["skill.md", "x"], Single, ".", true),
        ("O14", &["a/b/c/SKILL.md", "x"], Single, "a/b/c", true),
        ("O14 4 levels", &["a/b/c/d/SKILL.md"], Single, "a/b/c/d", true),
        ("O14 below it", &["a/b/SKILL.md", "a/b/c/SKILL.md"], Single, "a/b", true),
        ("O09", &["SKILL.md -> README.md", "README.md"], Single, ".", false),
        ("dir SKILL.md", &["SKILL.md/x", "a/SKILL.md"], Collection, "a", false),
    ] {
        let located = locate(&tree(entries), &TreePath::root()).unwrap();
        let found: Vec<_> = located.places.iter().map(|p| p.root.to_string()).collect();
        assert_eq!((located.shape, found.join(" ").as_str()), (shape, roots), "{row}");
        assert_eq!(!located.warnings.is_empty(), warned, "{row}");
    }
}

#[test]
fn o08_wrong_case_files_are_named() {
    for (entries, file) in
        [(&["Skill.md", "skill.md"] as &[&str], "skill.md"), (&["skill.MD"], "skill.MD")]
    {
        let located = locate(&tree(entries), &TreePath::root()).unwrap();
        assert_eq!(located.places[0].skill_md, path(file));
    }
}

#[test]
fn a_sub_path_is_a_tree_of_its_own() {
    let tree = tree(&["a/x/SKILL.md", "b/y/SKILL.md", "f"]);
    let located = locate(&tree, &path("b")).unwrap();
    assert_eq!((located.shape, &located.places[0].root), (Shape::Single, &path("b/y")));
    for missing in ["c", "f"] {
        assert!(matches!(locate(&tree, &path(missing)), Err(FindError::NoDirectory { .. })));
    }
}

#[test]
fn m16_what_there_is_instead_is_said() {
    let many: Vec<String> = (0..12).map(|n| format!("f{n:02}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for (row, entries, message) in [
        (
            "none",
            &["a", "b/c", "b/\u{202e}x"] as &[&str],
            "no SKILL.md in the artifact (found: a, b/c, b/\\u{202e}x)",
        ),
        ("empty", &[], "no SKILL.md in the artifact (found: no files)"),
        (
            "O14 two",
            &["a/b/SKILL.md", "c/d/SKILL.md"],
            "several skills deep in the artifact (a/b/SKILL.md, c/d/SKILL.md): choose one with \
             attribute \"subPath\"; a collection has its skills side by side, at the root or in \
             skills/",
        ),
        (
            "too deep",
            &["a/b/c/d/e/SKILL.md"],
            "no SKILL.md in the artifact (found: a/b/c/d/e/SKILL.md)",
        ),
        (
            "many",
            &many,
            "no SKILL.md in the artifact (found: f00, f01, f02, f03, f04, f05, f06, f07, f08, f09, …)",
        ),
    ] {
        let error = locate(&tree(entries), &TreePath::root()).unwrap_err();
        assert_eq!(error.to_string(), message, "{row}");
    }
}

#[test]
fn m10_the_search_is_bounded() {
    let dirs: Vec<String> = (0..MAX_DIRS).map(|n| format!("d{n:04}/")).collect();
    let mut entries: Vec<&str> = dirs.iter().map(String::as_str).collect();
    entries.push("z/y/SKILL.md");
    assert!(matches!(locate(&tree(&entries), &TreePath::root()), Err(FindError::NoSkill { .. })));
}
