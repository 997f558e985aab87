use super::*;
use crate::artifact::testing::{Files, path};

fn resolve_all(entries: &[&str], root: &str) -> Result<Vec<(String, String)>, LinkError> {
    let entries: Vec<_> = entries.iter().map(|entry| (*entry, "")).collect();
    let links = resolve_links(&Files::of(&entries).tree, &path(root))?;
    Ok(links.iter().map(|(link, file)| (link.to_string(), file.to_string())).collect())
}

#[test]
fn v12_links_lead_to_files() {
    for (entries, root, file) in [
        (&["s/f", "s/l -> f"] as &[&str], "s", "s/f"),
        (&["s/f", "s/l -> ./f"], "", "s/f"),
        (&["s/f", "s/d/", "s/l -> d/../f"], "s", "s/f"),
        (&["s/f", "s/l -> ../s/f"], "s", "s/f"),
        (&["f", "a/b/l -> ../../f"], "", "f"),
    ] {
        let links = resolve_all(entries, root).unwrap();
        assert_eq!(links.len(), 1);
        assert_eq!(links[0].1, file, "{entries:?}");
    }
    let chain = [
        "f", "l1 -> f", "l2 -> l1", "l3 -> l2", "l4 -> l3", "l5 -> l4", "l6 -> l5", "l7 -> l6",
        "l8 -> l7",
    ];
    assert_eq!(resolve_all(&chain, "").unwrap().len(), MAX_HOPS);
}

#[test]
fn m03_other_links_are_refused() {
    let nine = [
        "f", "l1 -> f", "l2 -> l1", "l3 -> l2", "l4 -> l3", "l5 -> l4", "l6 -> l5", "l7 -> l6",
        "l8 -> l7", "l9 -> l8",
    ];
    for (entries, root, message) in [
        (&["l -> /etc/passwd"] as &[&str], "", "\"l\" has an absolute target, \"/etc/passwd\""),
        (&["l -> ../../etc"], "", "\"l\" leads out of the skill, to \"../../etc\""),
        (&["s/l -> ../f", "f"], "s", "\"s/l\" leads out of the skill, to \"../f\""),
        (&["s/l -> ../nothing/f"], "s", "\"s/l\" leads out of the skill"),
        (&["s/a -> b", "s/b -> ../f", "f"], "s", "\"s/a\" leads out of the skill, to \"../f\""),
        (&["s/l -> ../x/f", "x/f -> ../s/g", "s/g"], "s", "\"s/l\" leads out of the skill"),
        (&["l -> nothing"], "", "\"l\" leads to \"nothing\", which does not exist"),
        (&["l -> f/x", "f"], "", "\"l\" leads to \"f/x\", which does not exist"),
        (&["l -> a\nb"], "", "\"l\" leads to \"a\\nb\", which does not exist"),
        (&["l -> d", "d/f"], "", "\"l\" leads to \"d\", a directory"),
        (&["d/l -> .."], "", "\"d/l\" leads to \"..\", a directory"),
        (&["a -> d/f", "d -> e", "e/f"], "", "\"a\" leads to \"d/f\" through another link"),
        (&["a -> b", "b -> a"], "", "\"a\" leads to \"b\" and on through more than 8"),
        (&["a -> a"], "", "\"a\" leads to \"a\" and on"),
        (&nine, "", "\"l9\" leads to \"l8\" and on through more than 8 links"),
    ] {
        let error = resolve_all(entries, root).unwrap_err().to_string();
        assert!(error.starts_with(&format!("symbolic link {message}")), "{entries:?}: {error}");
    }
    assert_eq!(resolve_all(&["l -> /etc/passwd", "s/f"], "s").unwrap(), []);
}
