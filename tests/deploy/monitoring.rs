//! What is probed, scraped and alerted on is what the driver serves and the book explains.

use std::collections::BTreeSet;
use std::fs;

use super::{argument, base, container, load, root};

/// The names of metrics in a text, without what a histogram adds.
fn metrics(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let names = words.filter(|word| word.starts_with("skillmount_"));
    names.map(|name| name.strip_suffix("_bucket").unwrap_or(name)).collect()
}

#[test]
fn probes_and_prometheus_ask_the_http_endpoint() {
    let container = container();
    let ports = container.list("ports");
    assert_eq!(ports.len(), 1);
    assert_eq!(argument("--http-endpoint"), format!(":{}", ports[0].text("containerPort")));
    let name = ports[0].text("name");
    for (probe, path) in
        [("startupProbe", "/readyz"), ("readinessProbe", "/readyz"), ("livenessProbe", "/livez")]
    {
        assert_eq!(container.text(&format!("{probe}/httpGet/path")), path);
        assert_eq!(container.text(&format!("{probe}/httpGet/port")), name);
    }
    let monitoring = root().join("kustomize/components/monitoring");
    let monitor = load(&monitoring.join("podmonitor.yaml")).remove(0);
    let endpoint = &monitor.list("spec/podMetricsEndpoints")[0];
    assert_eq!((endpoint.text("port"), endpoint.text("path")), (name, "/metrics"));
    let labels = base("daemonset.yaml").at("spec/template/metadata/labels").clone();
    assert_eq!(*monitor.at("spec/selector/matchLabels"), labels);
}

#[test]
fn alerts_are_those_of_the_book_and_use_its_metrics() {
    let book = include_str!("../../docs/operations.md");
    let row = |line: &'static str| Some(line.strip_prefix("| Skillmount")?.split(" | "));
    let documented: Vec<_> = book
        .lines()
        .filter_map(row)
        .map(|mut cells| {
            let mut cell = || cells.next().unwrap().trim_matches('`').replace("\\|", "|");
            (format!("Skillmount{}", cell()), cell())
        })
        .collect();
    let rules = root().join("kustomize/components/monitoring/prometheusrule.yaml");
    let rules = load(&rules).remove(0);
    let rules = rules.list("spec/groups")[0].list("rules").to_vec();
    let alerts = rules.iter().map(|rule| (rule.text("alert").into(), rule.text("expr").into()));
    assert_eq!(alerts.collect::<Vec<(String, String)>>(), documented);
    for (alert, expression) in documented {
        let metrics = metrics(&expression);
        assert!(!metrics.is_empty(), "{alert}");
        for metric in metrics {
            assert!(book.contains(&format!("\n| `{metric}` | ")), "{alert}: {metric}");
        }
    }
}

/// The texts below one name anywhere in a JSON document.
fn texts<'a>(value: &'a serde_json::Value, name: &str, found: &mut Vec<&'a str>) {
    match value {
        serde_json::Value::Array(items) => items.iter().for_each(|item| texts(item, name, found)),
        serde_json::Value::Object(fields) => {
            found.extend(fields.get(name).and_then(serde_json::Value::as_str));
            fields.values().for_each(|value| texts(value, name, found));
        }
        _ => {}
    }
}

#[test]
fn the_dashboard_shows_every_metric_of_the_book_and_no_other() {
    let dashboard = root().join("kustomize/components/dashboard/skillmount.json");
    let dashboard = serde_json::from_str(&fs::read_to_string(dashboard).unwrap()).unwrap();
    let mut expressions = Vec::new();
    texts(&dashboard, "expr", &mut expressions);
    let expressions = expressions.join("\n");
    let book = include_str!("../../docs/operations.md");
    let rows = book.lines().filter_map(|line| line.strip_prefix("| `skillmount_"));
    let names = rows.map(|row| format!("skillmount_{}", row.split('`').next().unwrap()));
    let documented: BTreeSet<String> = names.collect();
    assert_eq!(metrics(&expressions), documented.iter().map(String::as_str).collect());
}
