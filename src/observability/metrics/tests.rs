use super::guards::STATUSES;
use super::*;

/// The lines of one metric.
fn lines(metrics: &Metrics, name: &str) -> Vec<String> {
    let text = metrics.text().unwrap();
    let lines = text.lines().filter(|line| line.starts_with(name));
    let mut lines: Vec<_> = lines.map(Into::into).collect();
    lines.sort();
    lines
}

#[test]
fn a_registry_cannot_choose_labels() {
    let metrics = Metrics::default();
    for status in 100..=999 {
        metrics.request().answered(status);
    }
    let series = lines(&metrics, "skillmount_registry_requests_total");
    assert_eq!(series.len(), STATUSES.len() + 5);
    assert!(series.contains(&r#"skillmount_registry_requests_total{code="404"} 1"#.into()));
    assert!(series.contains(&r#"skillmount_registry_requests_total{code="5xx"} 96"#.into()));
}

#[test]
fn what_is_dropped_is_counted_too() {
    let metrics = Metrics::default();
    drop(metrics.request());
    drop(metrics.pull());
    metrics.pull().end("ok", true);
    let (waiting, running) = (metrics.waiting(), metrics.running());
    drop(waiting);
    assert_eq!(
        lines(&metrics, "skillmount_pulls_in_flight"),
        [
            r#"skillmount_pulls_in_flight{state="running"} 1"#,
            r#"skillmount_pulls_in_flight{state="waiting"} 0"#,
        ]
    );
    drop(running);
    assert_eq!(
        lines(&metrics, "skillmount_pulls_total"),
        [
            r#"skillmount_pulls_total{outcome="internal",local="false"} 1"#,
            r#"skillmount_pulls_total{outcome="ok",local="true"} 1"#,
        ]
    );
    assert_eq!(
        lines(&metrics, "skillmount_registry_requests_total"),
        [r#"skillmount_registry_requests_total{code="timeout"} 1"#]
    );
}

#[test]
fn registration_is_told_once_it_is_known() {
    let metrics = Metrics::default();
    assert_eq!(lines(&metrics, "skillmount_registration"), [""; 0]);
    metrics.registration(Registration::Waiting);
    metrics.registration(Registration::Refused);
    assert_eq!(
        lines(&metrics, "skillmount_registration"),
        [
            r#"skillmount_registration{state="absent"} 0"#,
            r#"skillmount_registration{state="refused"} 1"#,
            r#"skillmount_registration{state="registered"} 0"#,
            r#"skillmount_registration{state="waiting"} 0"#,
        ]
    );
}
