//! Requests per second by number of rules, as SVG: both axes logarithmic.

use std::fmt::Write;

use super::{Figures, cases::Case, rules::Rules, steps::Step};
use crate::figures::{as_float, part, thousands};

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 480.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 640.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 420.0;

/// Powers of ten at the ends of the axes.
const RULES: (i32, i32) = (0, 5);
const RATES: (i32, i32) = (2, 5);

/// A line of points, or a level without rules.
struct Series {
    title: &'static str,
    colour: &'static str,
    dash: &'static str,
    points: Vec<(f64, f64)>,
}

/// The whole picture.
pub(super) fn requests_by_rules(figures: &[Figures]) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"28\" font-size=\"16\">Requests per second of one Envoy worker, by number of rules</text>\n"
    );
    grid(&mut svg);
    for (index, series) in all(figures).iter().enumerate() {
        draw(&mut svg, series, TOP + 20.0 + 26.0 * as_float(index as u64));
    }
    svg + "</svg>\n"
}

fn all(figures: &[Figures]) -> Vec<Series> {
    // Later lines lie above earlier ones; ours comes last.
    let mut series: Vec<Series> = [
        ("no filter", "#777777", "2 3"),
        ("empty Wasm filter", "#b07aa1", "8 3 2 3"),
        ("Lua", "#9c755f", "6 4"),
        ("RBAC, list", "#e15759", ""),
        ("RBAC, matcher tree", "#59a14f", ""),
        ("… + header_mutation", "#8cd17d", ""),
        ("spiffe-authz", "#1f5fbf", ""),
        ("… ** callers, a path each", "#f28e2b", ""),
    ]
    .map(|(title, colour, dash)| Series { title, colour, dash, points: Vec::new() })
    .into();
    let (few, many) = (1.0, 1e5);
    for Figures { case, median, .. } in figures {
        let (index, rules) = match *case {
            Case::NoFilter => (0, None),
            Case::Wasm(Step::Empty) => (1, None),
            Case::Wasm(_) => continue,
            Case::Lua => (2, None),
            Case::List(count) => (3, Some(count)),
            Case::Tree(count) => (4, Some(count)),
            Case::TreeAndHeaders(count) => (5, Some(count)),
            Case::Ours(Rules::Callers(count)) => (6, Some(count)),
            Case::Ours(Rules::Paths(count)) => (7, Some(count)),
        };
        let rate = median.requests_per_second;
        match rules {
            Some(count) => series[index].points.push((as_float(count as u64), rate)),
            None => series[index].points.extend([(few, rate), (many, rate)]),
        }
    }
    series
}

fn grid(svg: &mut String) {
    // Writing to a String cannot fail.
    for power in RULES.0..=RULES.1 {
        let x = across(10f64.powi(power));
        let label = thousands(10usize.pow(power.unsigned_abs()));
        let _ = writeln!(svg, "<path d=\"M{x:.1} {TOP}V{BOTTOM}\" stroke=\"#dddddd\"/>");
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
            BOTTOM + 20.0
        );
    }
    for power in RATES.0..=RATES.1 {
        let y = down(10f64.powi(power));
        let label = thousands(10usize.pow(power.unsigned_abs()));
        let _ = writeln!(svg, "<path d=\"M{LEFT} {y:.1}H{RIGHT}\" stroke=\"#dddddd\"/>");
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            LEFT - 8.0,
            y + 4.0
        );
    }
    let middle = f64::midpoint(LEFT, RIGHT);
    let _ = writeln!(
        svg,
        "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">rules</text>",
        BOTTOM + 44.0
    );
}

fn draw(svg: &mut String, series: &Series, legend: f64) {
    let Series { title, colour, dash, points } = series;
    let path: Vec<String> = points
        .iter()
        .map(|(rules, rate)| format!("{:.1} {:.1}", across(*rules), down(*rate)))
        .collect();
    let stroke =
        format!("stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dash}\" fill=\"none\"");
    let _ = writeln!(svg, "<path d=\"M{}\" {stroke}/>", path.join("L"));
    if dash.is_empty() {
        for (rules, rate) in points {
            let (x, y) = (across(*rules), down(*rate));
            let _ =
                writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{colour}\"/>");
        }
    }
    let (from, to) = (RIGHT + 20.0, RIGHT + 50.0);
    let _ = writeln!(svg, "<path d=\"M{from} {legend:.1}H{to}\" {stroke}/>");
    let _ = writeln!(svg, "<text x=\"{:.1}\" y=\"{:.1}\">{title}</text>", to + 8.0, legend + 4.0);
}

fn across(rules: f64) -> f64 {
    LEFT + (RIGHT - LEFT) * part(rules, RULES)
}

fn down(rate: f64) -> f64 {
    BOTTOM - (BOTTOM - TOP) * part(rate, RATES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_ten_are_evenly_spaced_and_nothing_leaves_the_picture() {
        assert!((across(1.0) - LEFT).abs() < 1e-9 && (across(1e5) - RIGHT).abs() < 1e-9);
        assert!((across(1e2) - across(1e1) - (across(1e3) - across(1e2))).abs() < 1e-9);
        assert!((down(1e5) - TOP).abs() < 1e-9 && (down(3.0) - BOTTOM).abs() < 1e-9);
    }
}
