//! A run as a picture: what was acknowledged, how long it took, and what was done meanwhile.

use std::fmt::Write;

use crate::fault::Made;
use crate::history::{Attempt, Epoch, Micros};

const WIDTH: f64 = 1400.0;
const PLOT: f64 = 170.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 46.0;
const GAP: f64 = 46.0;

/// Actions by the beginnings of their names, and their colours.
const COLOURS: [(&str, &str); 7] = [
    ("power", "#d62728"),
    ("pause and", "#d62728"),
    ("kill", "#ff7f0e"),
    ("restart", "#ff7f0e"),
    ("pause", "#9467bd"),
    ("disk", "#8c564b"),
    ("transfer", "#2ca02c"),
];
const OTHER_COLOUR: &str = "#1f77b4";

/// An SVG of a run that lasted so long.
pub fn draw(title: &str, attempts: &[Attempt], epoch: Epoch, faults: &[Made], ended: Micros) -> String {
    let ended = ended.max(1);
    // About as fine as can be seen.
    let bin = (ended / 1200).max(100_000);
    let bins = usize::try_from(ended / bin + 1).unwrap_or(1);
    let mut acked = vec![0u64; bins];
    let mut slowest = vec![0u64; bins];
    for attempt in attempts.iter().filter(|attempt| attempt.place().is_some()) {
        let (started, ended) = (epoch.of(attempt.started), epoch.of(attempt.ended));
        let at = (ended / bin) as usize;
        if let (Some(acked), Some(slowest)) = (acked.get_mut(at), slowest.get_mut(at)) {
            *acked += u64::from(attempt.messages);
            *slowest = (*slowest).max(ended - started);
        }
    }
    let rates: Vec<f64> = acked.iter().map(|count| *count as f64 * 1e6 / bin as f64).collect();
    let slowest: Vec<f64> = slowest.iter().map(|micros| *micros as f64 / 1000.0).collect();
    let height = TOP + 2.0 * (PLOT + GAP);
    let x = |at: Micros| LEFT + (WIDTH - LEFT - 20.0) * at as f64 / ended as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"{LEFT}\" y=\"20\" font-size=\"15\">{title}</text>\n"
    );
    for fault in faults {
        let (from, to) = (x(fault.struck), x(fault.healed));
        let colour = COLOURS.iter().find(|(begin, _)| fault.what.starts_with(begin));
        let colour = colour.map_or(OTHER_COLOUR, |(_, colour)| colour);
        let (width, tall) = ((to - from).max(0.8), height - TOP - GAP);
        let _ = writeln!(
            svg,
            "<rect x=\"{from:.1}\" y=\"{TOP}\" width=\"{width:.1}\" height=\"{tall}\" fill=\"{colour}\" opacity=\"0.25\"><title>{}</title></rect>",
            fault.what
        );
    }
    plot(&mut svg, TOP, "acknowledged per second", &rates, &|nth| x(nth as u64 * bin));
    plot(&mut svg, TOP + PLOT + GAP, "the slowest send, ms", &slowest, &|nth| x(nth as u64 * bin));
    for tenth in 0..=10 {
        let at = ended * tenth / 10;
        let (left, y) = (x(at), height - GAP + 18.0);
        let _ = writeln!(
            svg,
            "<text x=\"{left:.0}\" y=\"{y}\" text-anchor=\"middle\">{} s</text>",
            at / 1_000_000
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn plot(svg: &mut String, top: f64, name: &str, values: &[f64], x: &dyn Fn(usize) -> f64) {
    let most = values.iter().copied().fold(1.0, f64::max);
    let y = |value: f64| top + PLOT * (1.0 - value / most);
    let points: Vec<String> =
        values.iter().enumerate().map(|(nth, value)| format!("{:.1},{:.1}", x(nth), y(*value))).collect();
    let bottom = top + PLOT;
    let _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"{:.0}\">{name}</text>\n\
         <text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{most:.0}</text>\n\
         <text x=\"{:.0}\" y=\"{bottom:.0}\" text-anchor=\"end\">0</text>\n\
         <line x1=\"{LEFT}\" y1=\"{bottom:.0}\" x2=\"{:.0}\" y2=\"{bottom:.0}\" stroke=\"#888\"/>\n\
         <polyline points=\"{}\" fill=\"none\" stroke=\"#222\" stroke-width=\"1\"/>",
        top - 6.0,
        LEFT - 6.0,
        top + 10.0,
        LEFT - 6.0,
        WIDTH - 20.0,
        points.join(" ")
    );
}
