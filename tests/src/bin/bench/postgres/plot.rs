//! Transactions per second of each route as a part of direct TCP, as SVG: a group of bars for each load.

use std::fmt::Write;

use super::{
    Figures,
    cases::{Case, Filter, Load, Route},
    module::Step,
};
use crate::figures::as_float;

const WIDTH: f64 = 960.0;
const LEFT: f64 = 380.0;
const RIGHT: f64 = 910.0;
const TOP: f64 = 116.0;
const BAR: f64 = 11.0;
const GAP: f64 = 16.0;
/// The right end of the axis.
const MOST: f64 = 1.25;

/// The whole picture.
pub(super) fn of_direct(figures: &[Figures]) -> String {
    let shown: Vec<Load> =
        Load::ALL.into_iter().filter(|load| tps(figures, *load, Route::Tcp).is_finite()).collect();
    let group = BAR * as_float(Route::ALL.len() as u64) + GAP;
    let bottom = TOP + group * as_float(shown.len() as u64);
    let height = bottom + 30.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n\
         <text x=\"20\" y=\"28\" font-size=\"16\">Transactions per second, as a part of direct TCP</text>\n"
    );
    legend(&mut svg);
    for quarter in 0..=5 {
        let part = f64::from(quarter) / 4.0;
        let x = across(part);
        // Writing to a String cannot fail.
        let _ = writeln!(svg, "<path d=\"M{x:.1} {TOP}V{bottom:.1}\" stroke=\"#dddddd\"/>");
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{part}</text>",
            bottom + 18.0
        );
    }
    for (index, load) in shown.into_iter().enumerate() {
        let top = TOP + group * as_float(index as u64);
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 10.0,
            top + group / 2.0,
            load.title()
        );
        let direct = tps(figures, load, Route::Tcp);
        for (place, route) in Route::ALL.into_iter().enumerate() {
            bar(
                &mut svg,
                top + BAR * as_float(place as u64),
                tps(figures, load, route) / direct,
                route,
            );
        }
    }
    svg + "</svg>\n"
}

fn tps(figures: &[Figures], load: Load, route: Route) -> f64 {
    let found = figures.iter().find(|figures| figures.case == Case { load, route });
    found.map_or(f64::NAN, |figures| figures.median.tps)
}

fn bar(svg: &mut String, y: f64, part: f64, route: Route) {
    if !part.is_finite() {
        return;
    }
    let (end, colour) = (across(part), colour(route));
    let _ = writeln!(
        svg,
        "<rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{colour}\"/>",
        end - LEFT,
        BAR - 1.0
    );
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" font-size=\"9\">{part:.2}</text>",
        end + 4.0,
        y + BAR - 2.0
    );
}

fn legend(svg: &mut String) {
    for (place, route) in Route::ALL.into_iter().enumerate() {
        let (column, row) = (place % 3, place / 3);
        let x = 20.0 + 300.0 * as_float(column as u64);
        let y = 50.0 + 20.0 * as_float(row as u64);
        let (colour, title) = (colour(route), route.title());
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{:.1}\" width=\"14\" height=\"10\" fill=\"{colour}\"/>",
            y - 9.0
        );
        let _ = writeln!(svg, "<text x=\"{:.1}\" y=\"{y}\">{title}</text>", x + 20.0);
    }
}

fn colour(route: Route) -> &'static str {
    match route {
        Route::Tcp => "#bab0ac",
        Route::Password => "#79706e",
        Route::Tls => "#59a14f",
        Route::Envoys(Filter::None) => "#a0cbe8",
        Route::Envoys(Filter::Wasm(Step::Empty)) => "#d4a6c8",
        Route::Envoys(Filter::Wasm(Step::Waiting)) => "#b07aa1",
        Route::Envoys(Filter::PgRole) => "#1f5fbf",
        Route::Tuned(_) => "#4e79c7",
        Route::PgBouncer => "#f28e2b",
    }
}

/// What is beyond the axis ends with it; its number tells.
fn across(part: f64) -> f64 {
    LEFT + (RIGHT - LEFT) * part.min(MOST) / MOST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_the_picture() {
        assert!((across(0.0) - LEFT).abs() < 1e-9 && (across(9.0) - RIGHT).abs() < 1e-9);
    }
}
