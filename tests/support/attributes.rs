//! Volume attributes in manifests, as the driver itself judges them. Included by path, beside
//! `yaml`.
#![allow(clippy::panic, reason = "tests assert")]

use std::collections::HashMap;

use skillmount::volume::attributes::Attributes;

use super::yaml::Node;

/// Whether YAML 1.1, which Kubernetes reads, takes a plain scalar for something else than text.
fn is_other_than_text(value: &str) -> bool {
    let words = ["true", "false", "yes", "no", "on", "off", "null", "~", ""];
    words.contains(&value.to_lowercase().as_str()) || value.parse::<f64>().is_ok()
}

/// The `volumeAttributes` of the manifest `text` are ones that the driver mounts, and texts.
pub(crate) fn check(attributes: &Node, place: &str, text: &str) {
    let Node::Map(pairs) = attributes else { panic!("{place}: {attributes:?}") };
    let pairs = pairs.iter();
    let context: HashMap<String, String> =
        pairs.map(|(key, value)| (key.clone(), value.scalar().to_owned())).collect();
    for value in context.values().filter(|value| is_other_than_text(value)) {
        let quoted = format!("\"{value}\"");
        assert!(text.contains(&quoted), "{place}: write {quoted}");
    }
    if let Err(error) = Attributes::parse(&context) {
        panic!("{place}: {error}");
    }
}
