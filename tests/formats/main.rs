//! Every fixture of the survey of formats, by its id: V valid, O odd, M malicious. Each goes
//! through a registry, the puller and a store, and once more through `inspect`; what a volume
//! would show, and what a refusal says, are compared to the letter with the files in `expected/`.

// Helpers outside `#[test]` functions assert too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
// A binary of its own: `pub` is between its modules.
#![allow(unreachable_pub)]

mod bombs;
mod bytes;
mod fixtures;
mod harness;
mod hosts;
mod odd;
mod several;
#[path = "../support/mod.rs"]
mod support;
mod unsafe_trees;
mod valid;

use std::collections::BTreeSet;

use harness::{Row, run};

/// Runs the rows of one group, and counts the fixtures that they and `others` are about.
async fn group(
    letter: char,
    fixtures: usize,
    rows: Vec<Row>,
    others: &[&str],
    expected: &'static str,
) {
    let keys = rows.iter().map(|row| row.key).chain(others.iter().copied());
    let ids: BTreeSet<String> = keys.map(|key| key.split(' ').next().unwrap().to_owned()).collect();
    let all: BTreeSet<String> = (1..=fixtures).map(|n| format!("{letter}{n:02}")).collect();
    let variants = rows.len();
    let wrong = run(rows, expected).await;
    assert!(wrong.is_empty(), "{} rows differ:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(ids, all);
    println!("{letter}: {} fixtures in {variants} rows and {} tests", ids.len(), others.len());
}

#[tokio::test]
async fn valid_artifacts() {
    group('V', 30, valid::rows(), &["V02", "V28", "V29"], include_str!("expected/valid.txt")).await;
}

#[tokio::test]
async fn odd_artifacts() {
    group('O', 21, odd::rows(), &[], include_str!("expected/odd.txt")).await;
}

#[tokio::test]
async fn malicious_artifacts() {
    let mut rows = unsafe_trees::rows();
    rows.extend(bytes::rows());
    rows.extend(hosts::rows());
    group('M', 27, rows, &["M10"], include_str!("expected/malicious.txt")).await;
}

/// Every finding that any fixture has ends with the rule behind it.
#[test]
fn findings_name_their_rules() {
    let all = [
        include_str!("expected/valid.txt"),
        include_str!("expected/odd.txt"),
        include_str!("expected/malicious.txt"),
    ];
    let lines = all.iter().flat_map(|text| text.lines());
    let findings: Vec<String> = lines
        .flat_map(|line| match line.split_once("strict validation found: ") {
            Some((_, found)) => found.replace("]; ", "]\n").lines().map(Into::into).collect(),
            None => line.strip_prefix("warning: ").into_iter().map(Into::into).collect::<Vec<_>>(),
        })
        .collect();
    assert!(findings.len() > 30, "{}", findings.len());
    for finding in findings {
        let rule = finding.rsplit_once(" [").and_then(|(_, rule)| rule.strip_suffix(']'));
        let rule = rule.and_then(|rule| rule.split_once(": "));
        assert!(rule.is_some(), "{finding}");
    }
}
