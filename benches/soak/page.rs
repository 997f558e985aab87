//! The run in words and a table: on standard output, and in the book.

use std::fs;
use std::path::Path;

use crate::sample::{PUBLISHED, REFUSED, REQUESTS, SERIES, UNFINISHED, UNPUBLISHED};
use crate::table::Table;
use crate::{Report, book, plot, verdict};

/// All of it.
pub(crate) fn text(report: &Report) -> String {
    let mut page = report.machine.sentence();
    if report.trial {
        page += "\n\n**A trial of the harness: the numbers say nothing.**";
    }
    let count = |series: usize| report.after.values[series];
    let minutes = report.duration.as_secs_f64() / 60.0;
    let published = count(PUBLISHED);
    page += &format!(
        "\n\n{minutes:.1} minutes, {} callers, seed {}: {published} publishes ({:.0} a second) and \
         {} unpublishes succeeded, {} publishes were refused with a final code, {} ended with \
         another or were given up by their caller, and the registry got {} requests. {} were wrong.\n",
        report.callers,
        report.seed,
        published / report.duration.as_secs_f64(),
        count(UNPUBLISHED),
        count(REFUSED),
        count(UNFINISHED),
        count(REQUESTS),
        report.counts.wrongs().len(),
    );
    page + "\n" + &table(report).text().unwrap_or_default()
}

/// The medians of the quarters.
fn table(report: &Report) -> Table {
    let mut table = Table::new([
        "",
        "idle before",
        "first quarter",
        "second",
        "third",
        "last",
        "may be",
        "after",
    ]);
    for (number, series) in SERIES.iter().enumerate().take(PUBLISHED) {
        let amount = |value: f64| match series.unit {
            _ if !value.is_finite() => "–".into(),
            "" => format!("{value:.0}"),
            unit => format!("{value:.1} {unit}"),
        };
        let mut row = vec![series.name.to_owned(), amount(report.idle.values[number])];
        row.extend((0..4).map(|part| amount(verdict::median(&report.samples, number, part))));
        row.push(verdict::limit(report, number).map_or("–".into(), amount));
        row.push(amount(report.after.values[number]));
        table.row(row);
    }
    table
}

/// Puts the results between the marks of `docs/reliability.md`, and the plot beside it.
pub(crate) fn write(report: &Report, docs: &Path) {
    fs::write(docs.join("soak.svg"), plot::panels(report).unwrap()).unwrap();
    let plot = "![Memory, descriptors, threads, tasks, mounts, disk and rates over time](soak.svg)";
    let text = text(report);
    book::replace(&docs.join("reliability.md"), "soak", &format!("{text}\n{plot}\n"));
}
