//! What the filter shall reach, as ratios within one run.

use super::{
    Figures,
    cases::{Case, Filter, Load, Route, Script},
    module::Step,
};
use crate::row::{Aim, Row};

/// A session that runs shall hardly notice the filter.
const STEADY: f64 = 0.98;
/// A connection per transaction, beside a module that decides nothing.
const CONNECTING: f64 = 0.96;

const OURS: Route = Route::Envoys(Filter::PgRole);

/// What ours is compared with under a load, and what shall be reached.
fn peer(load: Load) -> Option<(Route, Aim)> {
    match (load.connects, load.script) {
        (true, _) => Some((Route::Envoys(Filter::Wasm(Step::Empty)), Aim::AtLeast(CONNECTING))),
        (false, Script::Select) => Some((Route::Envoys(Filter::None), Aim::AtLeast(STEADY))),
        (false, Script::TpcB) => None,
    }
}

/// Whether an aim compares it with another case.
pub(super) fn compares(case: Case) -> bool {
    peer(case.load).is_some_and(|(peer, _)| case.route == OURS || case.route == peer)
}

/// Every aim of the Postgres filter whose cases were measured. Ratios are those of the medians.
pub(super) fn rows(figures: &[Figures]) -> Vec<Row> {
    let tps = |load, route| {
        let case = Case { load, route };
        let of = figures.iter().find(|figures| figures.case == case);
        of.map_or(f64::NAN, |figures| figures.median.tps)
    };
    let row = |load: Load| {
        let (peer, aim) = peer(load)?;
        let than = if load.connects { "two Envoys, empty Wasm module" } else { peer.title() };
        Some(Row {
            case: format!("{}: pg-role / {than}", load.title()),
            unit: "transactions/s",
            ours: tps(load, OURS),
            peer: Some(tps(load, peer)),
            aim,
        })
    };
    Load::ALL.into_iter().filter_map(row).filter(Row::is_measured).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_is_no_row() {
        assert!(rows(&[]).is_empty());
    }
}
