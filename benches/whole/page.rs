//! The results for people: on standard output, and in the book.

use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::book;
use crate::cold::PUBLISH;
use crate::contest::Contest;
use crate::crowd::Series;
use crate::plot;
use crate::report::Report;
use crate::table::{Table, milliseconds};
use crate::targets::Target;

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
        (
            "On the node",
            "All times are those of a caller, over the socket, that takes next to nothing itself.",
            warm(report),
        ),
        (
            "Round trips",
            "The 20 KB skill through a relay that delivers at once, and through one that makes each round \
             trip 20 ms long, the handshake of TCP included: the shortest of nine. The count is the \
             difference, in round trips.",
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

/// Puts the results between the marks of `docs/benchmarks.md`, and the plot beside it; and the table of
/// the runs whose samples are in `docs/benchmarks`.
pub(crate) fn write(report: &Report, docs: &Path) {
    let mut text = text(report);
    if let Some(plot) = plot::crowds(&report.crowds) {
        fs::write(docs.join("benchmarks.svg"), plot).unwrap();
        text += "\n![Times of publishes, of 1 to 500 volumes at once](benchmarks.svg)\n";
    }
    let page = docs.join("benchmarks.md");
    book::replace(&page, "measured", &text);
    let runs = runs(&docs.join("benchmarks")).text().unwrap_or_default();
    book::replace(&page, "runs", &runs);
}

/// What several runs have measured of the targets, each in a file that `--json` has written.
fn runs(directory: &Path) -> Table {
    #[derive(Deserialize)]
    struct Run {
        targets: Vec<Target>,
    }
    let files = fs::read_dir(directory).into_iter().flatten();
    let mut paths: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path| serde_json::from_slice::<Run>(&fs::read(path).unwrap()).unwrap().targets;
    let runs: Vec<_> = paths.iter().map(read).collect();
    let names = paths.iter().map(|path| path.file_stem().unwrap().to_string_lossy().into_owned());
    let mut table = Table::new(["what".to_owned(), "target".into()].into_iter().chain(names));
    for (number, target) in runs.first().into_iter().flatten().enumerate() {
        let of_run = |run: &Vec<Target>| match &run[number] {
            target if target.is_met() == Some(false) => format!("**{}**", measured(target)),
            target => measured(target),
        };
        let row = [target.what.clone(), limit(target)];
        table.row(row.into_iter().chain(runs.iter().map(of_run)));
    }
    table
}

fn amount(target: &Target, value: f64) -> String {
    match target.unit.as_str() {
        "ms" if value != target.limit => milliseconds(value),
        "/s" => format!("{value:.0} /s"),
        "×" => format!("{value:.2} ×"),
        unit => format!("{} {unit}", (value * 10.0).round() / 10.0).trim().to_owned(),
    }
}

fn limit(target: &Target) -> String {
    amount(target, target.limit)
}

fn measured(target: &Target) -> String {
    target.measured.map_or("–".into(), |value| amount(target, value))
}

fn targets(report: &Report) -> Table {
    let mut table = Table::new(["what", "target", "measured", ""]);
    for target in &report.targets {
        let met = match target.is_met() {
            None => "",
            Some(true) => "met",
            Some(false) => "**not met**",
        };
        table.row([&target.what, &limit(target), &measured(target), met]);
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
    let mut table = Table::new(["", "at once", "20 ms", "round trips"]);
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
