//! The results for people: on standard output, and in the book.

use std::fs;
use std::path::Path;

use crate::book;
use crate::cold::PUBLISH;
use crate::contest::Contest;
use crate::crowd::Series;
use crate::plot;
use crate::report::Report;
use crate::table::{Table, milliseconds};

/// All tables.
pub(crate) fn text(report: &Report) -> String {
    let mut page = report.machine.sentence();
    if report.trial {
        page += "\n\n**A trial of the harness: the numbers say nothing.**";
    }
    page += &format!("\n\nSkills: {}.", report.skills.join("; "));
    let sections = [
        ("Targets", "", targets(report)),
        (
            "Not on the node",
            "Medians. In brackets: what `publish`, the call that kubelet makes, takes of that. \
             Only Skillmount verifies all that it says it does before it shows a file; a floor \
             verifies nothing.",
            cold(report),
        ),
        ("On the node", "All times are those of the caller, over the socket.", warm(report)),
        (
            "Round trips",
            "The 20 KB skill over the loopback, and through a relay that makes each round trip 20 \
             ms long, the handshake of TCP included. The count is the difference, in round trips.",
            trips(report),
        ),
        (
            "Many volumes",
            "Calls made at once over one connection, by the harness on the same processors; the \
             times include waiting for each other.",
            crowds(report),
        ),
        ("Footprint", "", footprint(report)),
        ("Versions", "", versions(report)),
    ];
    for (heading, words, table) in sections {
        let Some(table) = table.text() else { continue };
        page += &format!("\n\n### {heading}\n");
        if !words.is_empty() {
            page += &format!("\n{words}\n");
        }
        page += &format!("\n{}", table.trim_end());
    }
    page + "\n"
}

/// Puts the results between the marks of `docs/benchmarks.md`, and the plot beside it.
pub(crate) fn write(report: &Report, docs: &Path) {
    let mut text = text(report);
    if let Some(plot) = plot::crowds(&report.crowds) {
        fs::write(docs.join("benchmarks.svg"), plot).unwrap();
        text += "\n![Times of publishes, of 1 to 500 volumes at once](benchmarks.svg)\n";
    }
    book::replace(&docs.join("benchmarks.md"), "measured", &text);
}

fn targets(report: &Report) -> Table {
    let mut table = Table::new(["what", "target", "measured", ""]);
    for target in &report.targets {
        let amount = |value: f64| match target.unit {
            "ms" if value != target.limit => milliseconds(value),
            "/s" => format!("{value:.0} /s"),
            "×" => format!("{value:.2} ×"),
            unit => format!("{} {unit}", (value * 10.0).round() / 10.0).trim().to_owned(),
        };
        let measured = target.measured.map_or("–".into(), amount);
        let met = match target.is_met() {
            None => "",
            Some(true) => "met",
            Some(false) => "**not met**",
        };
        table.row([target.what.clone(), amount(target.limit), measured, met.into()]);
    }
    table
}

/// A row for each contestant, a column for each skill.
fn cold(report: &Report) -> Table {
    let titles = report.cold.iter().map(|contest| contest.title.clone());
    let mut table = Table::new(std::iter::once(String::new()).chain(titles));
    let mut names: Vec<&str> = Vec::new();
    for entry in report.cold.iter().flat_map(|contest| &contest.entries) {
        if !names.contains(&entry.name.as_str()) {
            names.push(&entry.name);
        }
    }
    // The floors below all others, whichever contest had them first.
    names.sort_by_key(|name| name.starts_with("floor"));
    for name in names {
        let cell = |contest: &Contest| match (contest.median(name), contest.median(PUBLISH)) {
            (Some(time), Some(ours)) if name != PUBLISH => {
                format!("{} ({:.2})", milliseconds(time), ours / time)
            }
            (Some(time), _) => milliseconds(time),
            (None, _) => "–".into(),
        };
        let cells = report.cold.iter().map(cell);
        table.row(std::iter::once(name.to_owned()).chain(cells));
    }
    let rounds = report.cold.iter().map(|contest| {
        let most = contest.entries.iter().map(|entry| entry.times.count()).max();
        most.unwrap_or_default().to_string()
    });
    if !report.cold.is_empty() {
        table.row(std::iter::once("rounds".to_owned()).chain(rounds));
    }
    table
}

fn warm(report: &Report) -> Table {
    let mut table = Table::new(["", "p50", "p99", "rounds"]);
    for entry in report.warm.iter().flat_map(|contest| &contest.entries) {
        if entry.failed.is_none() {
            let [p50, p99] = [0.5, 0.99].map(|share| milliseconds(entry.times.quantile(share)));
            table.row([entry.name.clone(), p50, p99, entry.times.count().to_string()]);
        }
    }
    for (name, runs) in report.series.iter().flat_map(Series::runs) {
        let all = Series::all(runs);
        let [p50, p99] = [0.5, 0.99].map(|share| milliseconds(all.quantile(share)));
        let each = runs.first().map_or(0, |run| run.count());
        let name = format!("{name}, {each} volumes one after the other");
        table.row([name, p50, p99, all.count().to_string()]);
    }
    table
}

fn trips(report: &Report) -> Table {
    let mut table = Table::new(["", "loopback", "20 ms", "round trips"]);
    for trips in &report.trips {
        let way = if trips.secured { "TLS + password" } else { "plain" };
        table.row([
            format!("{way}: {}", trips.name),
            milliseconds(trips.direct),
            milliseconds(trips.delayed),
            format!("{:.1}", trips.count()),
        ]);
    }
    table
}

fn crowds(report: &Report) -> Table {
    let mut table = Table::new([
        "",
        "volumes",
        "publish p50",
        "p99",
        "a second",
        "unpublish p50",
        "p99",
        "a second",
    ]);
    let mut sorted: Vec<_> = report.crowds.iter().collect();
    sorted.sort_by_key(|crowd| (crowd.scenario, crowd.volumes));
    for crowd in sorted {
        let mut row = vec![crowd.scenario.to_owned(), crowd.volumes.to_string()];
        for burst in [&crowd.publish, &crowd.unpublish] {
            row.extend([0.5, 0.99].map(|share| milliseconds(burst.times.quantile(share))));
            row.push(format!("{:.0}", burst.per_second()));
        }
        table.row(row);
    }
    table
}

fn footprint(report: &Report) -> Table {
    let mut table = Table::new([
        "build",
        "size",
        "start",
        "idle",
        "publish, 10 MB",
        "200 MB gzip",
        "200 MB zstd",
        "publish, stored",
    ]);
    for build in report.footprint.iter().flat_map(|footprint| &footprint.builds) {
        table.row([
            build.name.clone().unwrap_or("**measured here**".into()),
            format!("{:.1} MB", build.bytes as f64 / 1e6),
            milliseconds(build.ready.median()),
            format!("{:.1} MiB", build.idle as f64 / 1024.0),
            milliseconds(build.medium.median()),
            milliseconds(build.gzip.median()),
            milliseconds(build.zstd.median()),
            milliseconds(build.stored.median()),
        ]);
    }
    table
}

fn versions(report: &Report) -> Table {
    let mut table = Table::new(["tool", "version"]);
    for version in &report.versions {
        table.row([version.tool, version.version.as_deref().unwrap_or("not here")]);
    }
    table
}
