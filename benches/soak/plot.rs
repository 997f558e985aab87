//! The run as SVG: a panel for each kind of thing, all over the same time.

use std::fmt::Write;

use crate::Report;
use crate::sample::{
    BYTES, DESCRIPTORS, MOUNTS, NOTES, PUBLISHED, RECORDS, REQUESTS, RSS, SERIES, Sample, TASKS,
    THREADS, TREES, UNFINISHED, UNPUBLISHED,
};

const WIDTH: f64 = 900.0;
/// Columns, and of one panel the distance to the next, and the size of what its axes enclose.
const COLUMNS: usize = 2;
const STEP: [f64; 2] = [450.0, 190.0];
const PANEL: [f64; 2] = [370.0, 120.0];
const ORIGIN: [f64; 2] = [60.0, 60.0];
const COLOURS: [&str; 3] = ["#1b7fc4", "#d0662f", "#3a9d5d"];
/// Visible on white and on black.
const GREY: &str = "#808080";

/// The series of a panel; whether they are counts, of which the rate is shown.
const PANELS: [(&[usize], bool); 8] = [
    (&[RSS], false),
    (&[DESCRIPTORS], false),
    (&[THREADS, TASKS], false),
    (&[MOUNTS, RECORDS], false),
    (&[TREES, NOTES], false),
    (&[BYTES], false),
    (&[PUBLISHED, UNPUBLISHED, UNFINISHED], true),
    (&[REQUESTS], true),
];

/// None without samples.
pub(crate) fn panels(report: &Report) -> Option<String> {
    let rows = PANELS.len().div_ceil(COLUMNS) as f64;
    let height = ORIGIN[1] + rows * STEP[1];
    let end = report.samples.last()?.seconds;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"11\" fill=\"{GREY}\">\n\
         <title>The driver under load, over time</title>\n"
    );
    let title =
        format!("{:.0} minutes, {} callers, seed {}", end / 60.0, report.callers, report.seed);
    text(&mut svg, ORIGIN[0], 24.0, "start", GREY, &title)?;
    for (number, (series, is_rate)) in PANELS.into_iter().enumerate() {
        let (column, row) = (number % COLUMNS, number / COLUMNS);
        let left = ORIGIN[0] + column as f64 * STEP[0];
        let top = ORIGIN[1] + row as f64 * STEP[1];
        panel(&mut svg, [left, top], end, &report.samples, series, is_rate)?;
    }
    Some(svg + "</svg>\n")
}

fn panel(
    svg: &mut String,
    [left, top]: [f64; 2],
    end: f64,
    samples: &[Sample],
    series: &[usize],
    is_rate: bool,
) -> Option<()> {
    let [width, height] = PANEL;
    let curves: Vec<Vec<(f64, f64)>> = series
        .iter()
        .map(|series| if is_rate { rates(samples, *series) } else { values(samples, *series) })
        .collect();
    let most = curves.iter().flatten().map(|(_, value)| *value).fold(0.0, f64::max);
    let most = ceiling(most);
    let x = |seconds: f64| left + seconds / end * width;
    let y = |value: f64| top + height - value / most * height;
    for part in 0..=2 {
        let value = most * f64::from(part) / 2.0;
        let label = if most < 5.0 { format!("{value:.1}") } else { format!("{value:.0}") };
        text(svg, left - 6.0, y(value) + 4.0, "end", GREY, &label)?;
        let style = format!("fill=\"none\" stroke=\"{GREY}\" stroke-opacity=\"0.35\"");
        line(svg, [(left, y(value)), (left + width, y(value))], &style)?;
    }
    let minutes = end > 120.0;
    for part in 0..=3 {
        let at = end * f64::from(part) / 3.0;
        let label = if minutes { format!("{:.0} min", at / 60.0) } else { format!("{at:.0} s") };
        text(svg, x(at), top + height + 15.0, "middle", GREY, &label)?;
    }
    let mut at = left;
    for ((curve, series), colour) in curves.iter().zip(series).zip(COLOURS) {
        let style = format!("fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"");
        line(svg, curve.iter().map(|(seconds, value)| (x(*seconds), y(*value))), &style)?;
        let unit = match (is_rate, SERIES[*series].unit) {
            (true, _) => " a second".into(),
            (false, "") => String::new(),
            (false, unit) => format!(", {unit}"),
        };
        let label = format!("{}{unit}", SERIES[*series].name);
        text(svg, at, top - 8.0, "start", colour, &label)?;
        at += 12.0 + 6.2 * label.len() as f64;
    }
    Some(())
}

fn values(samples: &[Sample], series: usize) -> Vec<(f64, f64)> {
    let values = samples.iter().map(|sample| (sample.seconds, sample.values[series]));
    values.filter(|(_, value)| value.is_finite()).collect()
}

/// How much a count grew in a second, from each sample to the next.
fn rates(samples: &[Sample], series: usize) -> Vec<(f64, f64)> {
    let rate = |pair: &[Sample]| {
        let grown = pair[1].values[series] - pair[0].values[series];
        (pair[1].seconds, grown / (pair[1].seconds - pair[0].seconds).max(0.001))
    };
    samples.windows(2).map(rate).collect()
}

/// The next of 1, 2, 5, 10, 20 and so on.
fn ceiling(value: f64) -> f64 {
    let power = 10f64.powf(value.max(1.0).log10().floor());
    [1.0, 2.0, 5.0, 10.0].map(|step| step * power).into_iter().find(|top| *top >= value).unwrap()
}

fn line(svg: &mut String, points: impl IntoIterator<Item = (f64, f64)>, style: &str) -> Option<()> {
    let points: Vec<_> = points.into_iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    writeln!(svg, "<polyline points=\"{}\" {style}/>", points.join(" ")).ok()
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, colour: &str, text: &str) -> Option<()> {
    writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{text}</text>"
    )
    .ok()
}
