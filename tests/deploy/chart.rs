//! The Helm chart says the same about values in its four places, and the same as the driver about
//! flags. That it makes the same objects as kustomize is compared in the conformance tier, which
//! has Helm.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Node, flags, load, root};

/// What Helm itself gives to a chart that is a part of another.
const HELMS: &str = "global";
/// Flags that the container's environment stands for, as in kustomize, whose patches address a
/// variable by its name.
const FROM_ENVIRONMENT: [(&str, &str); 7] = [
    ("--node-id", "NODE_NAME"),
    ("--kubelet-endpoint", "SKILLMOUNT_KUBELET_ENDPOINT"),
    ("--secret-access", "SKILLMOUNT_SECRET_ACCESS"),
    ("--events", "SKILLMOUNT_EVENTS"),
    ("--registry-hosts-dir", "SKILLMOUNT_REGISTRY_HOSTS_DIR"),
    ("--image-credential-provider-config", "SKILLMOUNT_IMAGE_CREDENTIAL_PROVIDER_CONFIG"),
    ("--image-credential-provider-bin-dir", "SKILLMOUNT_IMAGE_CREDENTIAL_PROVIDER_BIN_DIR"),
];

fn chart() -> PathBuf {
    root().join("helm/skillmount")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn schema() -> Value {
    serde_json::from_str(&read(&chart().join("values.schema.json"))).unwrap()
}

fn values() -> Node {
    load(&chart().join("values.yaml")).remove(0)
}

fn below(above: &str, key: &str) -> String {
    if above.is_empty() { key.to_owned() } else { format!("{above}.{key}") }
}

/// The values that the schema takes as a whole, by their path with dots.
fn leaves(schema: &Value, above: &str, found: &mut BTreeSet<String>) {
    let properties = schema["properties"].as_object().unwrap();
    assert_eq!(schema["additionalProperties"], false, "{above:?} is open");
    for (key, schema) in properties {
        let path = below(above, key);
        match schema.get("properties") {
            _ if path == HELMS => {}
            Some(_) => leaves(schema, &path, found),
            None => drop(found.insert(path)),
        }
    }
}

fn paths() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    leaves(&schema(), "", &mut found);
    found
}

/// The same as values.yaml has them, in its order.
fn found_in(values: &Node, above: &str, known: &BTreeSet<String>) -> Vec<String> {
    match values {
        Node::Map(pairs) if !known.contains(above) => {
            let pairs = pairs.iter();
            pairs.flat_map(|(key, value)| found_in(value, &below(above, key), known)).collect()
        }
        _ => vec![above.to_owned()],
    }
}

fn value<'a>(values: &'a Node, path: &str) -> Option<&'a Node> {
    path.split('.').try_fold(values, |node, key| node.find(key))
}

/// YAML on one line.
fn flow(node: &Node) -> String {
    match node {
        Node::Scalar(text) if text.is_empty() => "\"\"".into(),
        Node::Scalar(text) => text.clone(),
        Node::List(items) => {
            format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", "))
        }
        Node::Map(pairs) => {
            let pairs = pairs.iter().map(|(key, value)| format!("{key}: {}", flow(value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
    }
}

/// The comment right above each key of values.yaml.
fn comments() -> BTreeMap<String, String> {
    let (mut comments, mut above, mut comment) = (BTreeMap::new(), Vec::new(), Vec::new());
    let text = read(&chart().join("values.yaml"));
    for line in text.lines() {
        let content = line.trim_start();
        if let Some(words) = content.strip_prefix("# ") {
            comment.push(words);
            continue;
        }
        if let Some((key, _)) = content.split_once(':') {
            above.truncate((line.len() - content.len()) / 2);
            above.push(key);
            comments.insert(above.join("."), comment.join(" "));
        }
        comment.clear();
    }
    comments
}

/// The words of a text that are long flags.
fn long_flags(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_lowercase() || c == '-'));
    // Not `---`, which separates objects.
    let begins = |name: &str| name.starts_with(|c: char| c.is_ascii_lowercase());
    let flags = words.filter(|word| word.strip_prefix("--").is_some_and(begins));
    flags.map(Into::into).collect()
}

fn templates() -> String {
    let mut paths: Vec<_> = fs::read_dir(chart().join("templates")).unwrap().collect();
    paths.sort_by_key(|entry| entry.as_ref().unwrap().path());
    paths.into_iter().map(|entry| read(&entry.unwrap().path())).collect()
}

#[test]
fn versions_are_the_crates() {
    let chart = load(&chart().join("Chart.yaml")).remove(0);
    for key in ["version", "appVersion"] {
        assert_eq!(chart.text(key), env!("CARGO_PKG_VERSION"), "{key}");
    }
}

#[test]
fn the_schema_knows_every_value_and_no_other() {
    let known = paths();
    let there: BTreeSet<String> = found_in(&values(), "", &known).into_iter().collect();
    assert_eq!(there, known);
}

#[test]
fn the_table_is_that_of_the_values() {
    let (values, comments) = (values(), comments());
    let row = |path: &String| {
        let default = flow(value(&values, path).unwrap());
        format!("| `{path}` | `{default}` | {} |", comments[path])
    };
    let expected: Vec<String> = found_in(&values, "", &paths()).iter().map(row).collect();
    let table = read(&chart().join("README.md"));
    let table: Vec<&str> = table.lines().filter(|line| line.starts_with("| `")).collect();
    assert_eq!(table, expected, "it should be\n{}", expected.join("\n"));
}

#[test]
fn every_value_is_used_and_none_is_without_meaning() {
    let (templates, comments) = (templates(), comments());
    for path in paths() {
        let key = format!(".{}", path.rsplit('.').next().unwrap());
        let used = templates.match_indices(&key).any(|(at, _)| {
            !templates[at + key.len()..].starts_with(|c: char| c.is_ascii_alphanumeric())
        });
        assert!(used, "no template uses {path}");
        assert!(comments[&path].len() > 10, "{path} has no comment");
    }
}

#[test]
fn every_flag_can_be_set_and_exists() {
    let templates = templates();
    let passed: BTreeSet<String> = long_flags(&templates);
    let mut known = flags();
    assert!(known.len() > 30, "{known:?}");
    for flag in ["--help", "--version"] {
        known.remove(flag);
    }
    let table = include_str!("../../docs/install.md");
    for (flag, variable) in FROM_ENVIRONMENT {
        assert!(known.remove(flag), "{flag}");
        assert!(!passed.contains(flag), "{flag}");
        assert!(templates.contains(&format!("- name: {variable}\n")), "{variable}");
        assert!(table.contains(&format!("| `{flag}` | `{variable}` |")), "{flag}: {variable}");
    }
    assert_eq!(passed, known);
    let documented: BTreeSet<_> = comments().values().flat_map(|text| long_flags(text)).collect();
    let fixed = ["--endpoint", "--node-id", "--registration-dir", "--state-dir"];
    let mut settable = flags();
    settable.retain(|flag| !matches!(flag.as_str(), "--help" | "--version"));
    settable.retain(|flag| !fixed.contains(&flag.as_str()));
    assert_eq!(documented, settable);
}

#[test]
fn files_are_those_of_kustomize() {
    for (name, component) in
        [("prometheusrule.yaml", "monitoring"), ("skillmount.json", "dashboard")]
    {
        let original = root().join("kustomize/components").join(component).join(name);
        let copy = chart().join("files").join(name);
        assert_eq!(read(&copy), read(&original), "cp {} {}", original.display(), copy.display());
    }
}

#[test]
fn the_conformance_tier_sets_every_value() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/values.yaml");
    let set = load(&file).remove(0);
    for path in paths() {
        assert!(value(&set, &path).is_some(), "{path}");
    }
}
