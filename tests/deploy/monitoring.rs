//! What is probed, scraped and alerted on is what the driver serves and the book explains.

use super::{argument, base, container, load, root};

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
        let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let metrics: Vec<_> = words.filter(|word| word.starts_with("skillmount_")).collect();
        assert!(!metrics.is_empty(), "{alert}");
        for metric in metrics {
            assert!(book.contains(&format!("\n| `{metric}` | ")), "{alert}: {metric}");
        }
    }
}
