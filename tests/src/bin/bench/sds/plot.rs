//! CPU, time and memory by number of streams, as SVG: three panels, all axes logarithmic.

use std::fmt::Write;

use super::{
    cases::{Node, Server},
    sample::Figures,
};
use crate::figures::{as_float, part, shown, thousands};

const WIDTH: f64 = 1020.0;
const HEIGHT: f64 = 420.0;
const TOP: f64 = 60.0;
const BOTTOM: f64 = 330.0;
/// The left edges of the panels, and how wide each is.
const LEFT: f64 = 60.0;
const STEP: f64 = 330.0;
const PANEL: f64 = 250.0;

/// Powers of ten at the ends of the horizontal axis.
const STREAMS: (i32, i32) = (1, 3);

/// One figure, between two powers of ten.
struct Panel {
    title: &'static str,
    range: (i32, i32),
    figure: fn(&Figures) -> f64,
}

const PANELS: [Panel; 3] = [
    Panel { title: "CPU of a push, ms", range: (-1, 3), figure: Figures::cpu_ms },
    Panel { title: "first → last secret, ms", range: (-1, 3), figure: Figures::first_to_last_ms },
    Panel { title: "memory of a stream, KiB", range: (1, 4), figure: Figures::kib_per_stream },
];

/// The whole picture: solid with Envoy's node, dashed without.
pub(super) fn by_streams(figures: &[Figures]) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"26\" font-size=\"16\">One secret to many streams, by number of streams</text>\n"
    );
    for (index, panel) in PANELS.iter().enumerate() {
        let left = LEFT + STEP * as_float(index as u64);
        grid(&mut svg, panel, left);
        for server in Server::ALL {
            for node in Node::ALL {
                line(&mut svg, panel, left, figures, server, node);
            }
        }
    }
    legend(&mut svg);
    svg + "</svg>\n"
}

fn colour(server: Server) -> &'static str {
    match server {
        Server::Spire => "#e15759",
        Server::Ours => "#1f5fbf",
        Server::Minimal => "#9c755f",
        Server::Slim => "#59a14f",
    }
}

fn dash(node: Node) -> &'static str {
    match node {
        Node::Bare => "5 4",
        Node::Envoy => "",
    }
}

fn grid(svg: &mut String, panel: &Panel, left: f64) {
    let right = left + PANEL;
    // Writing to a String cannot fail.
    let _ = writeln!(svg, "<text x=\"{left}\" y=\"{}\">{}</text>", TOP - 10.0, panel.title);
    for power in STREAMS.0..=STREAMS.1 {
        let x = across(left, 10f64.powi(power));
        let label = thousands(10usize.pow(power.unsigned_abs()));
        let _ = writeln!(svg, "<path d=\"M{x:.1} {TOP}V{BOTTOM}\" stroke=\"#dddddd\"/>");
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>",
            BOTTOM + 18.0
        );
    }
    for power in panel.range.0..=panel.range.1 {
        let value = 10f64.powi(power);
        let (y, label) =
            (down(value, panel.range), if power < 0 { "0.1".to_owned() } else { shown(value) });
        let label = label.trim_end_matches(".0");
        let _ = writeln!(svg, "<path d=\"M{left} {y:.1}H{right}\" stroke=\"#dddddd\"/>");
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            left - 6.0,
            y + 4.0
        );
    }
}

fn line(
    svg: &mut String,
    panel: &Panel,
    left: f64,
    figures: &[Figures],
    server: Server,
    node: Node,
) {
    let own = figures.iter().filter(|figures| {
        let case = figures.case;
        case.server == server && case.node == node && case.streams == case.connections
    });
    let points: Vec<(f64, f64)> = own
        .map(|figures| (as_float(figures.case.streams as u64), (panel.figure)(figures)))
        .filter(|(_, value)| value.is_finite())
        .map(|(streams, value)| (across(left, streams), down(value, panel.range)))
        .collect();
    if points.is_empty() {
        return;
    }
    let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
    let (colour, dash) = (colour(server), dash(node));
    let _ = writeln!(
        svg,
        "<path d=\"M{}\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dash}\" fill=\"none\"/>",
        path.join("L")
    );
    for (x, y) in points {
        let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
    }
}

fn legend(svg: &mut String) {
    let y = BOTTOM + 50.0;
    for (index, server) in Server::ALL.into_iter().enumerate() {
        let x = LEFT + 220.0 * as_float(index as u64);
        let _ = writeln!(
            svg,
            "<path d=\"M{x} {y}h30\" stroke=\"{}\" stroke-width=\"2\"/><text x=\"{}\" y=\"{}\">{}</text>",
            colour(server),
            x + 38.0,
            y + 4.0,
            server.title()
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"{}\">solid: every request carries Envoy's node; dashed: bare</text>",
        y + 26.0
    );
}

fn across(left: f64, streams: f64) -> f64 {
    left + PANEL * part(streams, STREAMS)
}

fn down(value: f64, range: (i32, i32)) -> f64 {
    BOTTOM - (BOTTOM - TOP) * part(value, range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_its_panel() {
        assert!((across(LEFT, 10.0) - LEFT).abs() < 1e-9);
        assert!((across(LEFT, 1e9) - LEFT - PANEL).abs() < 1e-9);
        assert!(
            (down(0.0, (0, 3)) - BOTTOM).abs() < 1e-9 && (down(1e9, (0, 3)) - TOP).abs() < 1e-9
        );
    }
}
