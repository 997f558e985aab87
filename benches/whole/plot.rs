//! The plot of many volumes, as SVG.

use std::fmt::Write;

use crate::crowd::{Crowd, MISSING, OTHERS, SAME};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
/// Left, top, right and bottom of what the axes enclose.
const FRAME: [f64; 4] = [70.0, 30.0, 540.0, 370.0];

const SCENARIOS: [(&str, &str); 3] = [(SAME, "#1b6ca8"), (OTHERS, "#2e8b57"), (MISSING, "#b5482a")];

/// p50 and p99 over the number of volumes; times on a logarithmic axis. None without results.
pub(crate) fn crowds(crowds: &[Crowd]) -> Option<String> {
    let most = crowds.iter().map(|crowd| crowd.volumes).max()? as f64;
    let quantiles = |crowd: &Crowd| [0.5, 0.99].map(|share| crowd.publish.times.quantile(share));
    let all: Vec<f64> = crowds.iter().flat_map(quantiles).collect();
    let low = all.iter().copied().fold(f64::INFINITY, f64::min).log10().floor();
    let high = all.iter().copied().fold(f64::NEG_INFINITY, f64::max).log10().ceil().max(low + 1.0);
    let [left, top, right, bottom] = FRAME;
    let x = |volumes: f64| left + volumes / most * (right - left);
    let y = |time: f64| bottom - (time.log10() - low) / (high - low) * (bottom - top);

    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <title>Publishes at once: time of a call over the number of volumes</title>\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n"
    );
    label(&mut svg, left, top - 12.0, "start", "a publish takes, from call to answer")?;
    label(&mut svg, right, bottom + 36.0, "end", "volumes at once")?;
    for step in 0..=5 {
        let volumes = (most * f64::from(step) / 5.0).round();
        label(&mut svg, x(volumes), bottom + 18.0, "middle", &volumes.to_string())?;
    }
    for power in low as i32..=high as i32 {
        let time = 10f64.powi(power);
        let text = if power < 3 { format!("{time} ms") } else { format!("{} s", time / 1e3) };
        label(&mut svg, left - 8.0, y(time) + 4.0, "end", &text)?;
        line(&mut svg, [(left, y(time)), (right, y(time))], "stroke=\"#dddddd\"")?;
    }
    for (number, (scenario, colour)) in SCENARIOS.into_iter().enumerate() {
        let mut found: Vec<_> = crowds.iter().filter(|c| c.scenario == scenario).collect();
        found.sort_by_key(|crowd| crowd.volumes);
        for (which, (quantile, dash)) in
            [("p50", ""), ("p99", " stroke-dasharray=\"5 4\"")].into_iter().enumerate()
        {
            let style = format!("fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"{dash}");
            let points =
                found.iter().map(|crowd| (x(crowd.volumes as f64), y(quantiles(crowd)[which])));
            line(&mut svg, points, &style)?;
            let row = top + 10.0 + 20.0 * (2 * number + which) as f64;
            line(&mut svg, [(right + 12.0, row), (right + 40.0, row)], &style)?;
            writeln!(
                svg,
                "<text x=\"{}\" y=\"{}\">{scenario}, {quantile}</text>",
                right + 46.0,
                row + 4.0
            )
            .ok()?;
        }
    }
    Some(svg + "</svg>\n")
}

fn line(svg: &mut String, points: impl IntoIterator<Item = (f64, f64)>, style: &str) -> Option<()> {
    let points: Vec<_> = points.into_iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    writeln!(svg, "<polyline points=\"{}\" {style}/>", points.join(" ")).ok()
}

fn label(svg: &mut String, x: f64, y: f64, anchor: &str, text: &str) -> Option<()> {
    writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>").ok()
}
