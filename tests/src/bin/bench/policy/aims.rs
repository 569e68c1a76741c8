//! What the filter shall reach, as ratios within one run.

use super::{Figures, cases::Case, rules::Rules};
use crate::{
    figures::{as_float, median, thousands},
    row::{Aim, Row},
};

/// The largest module that is accepted. Unit: bytes.
const LARGEST_MODULE: u64 = 200 * 1024;

/// The size at which peers are compared with ours.
const PEER_SIZE: usize = 10_000;

fn kib(bytes: u64) -> f64 {
    as_float(bytes) / 1024.0
}

/// Every aim of the HTTP filter whose cases were measured. Ratios are those of the medians.
pub(super) fn rows(figures: &[Figures], module_bytes: u64) -> Vec<Row> {
    let of = |case: Case| figures.iter().find(|figures| figures.case == case);
    let rate = |case| of(case).map_or(f64::NAN, |figures| figures.median.requests_per_second);
    let cpu = |case| of(case).map_or(f64::NAN, |figures| figures.median.cpu_us_per_request);
    let added = |case| cpu(case) - cpu(Case::NoFilter);
    let tree = Case::TreeAndHeaders(PEER_SIZE);
    let tree_title = format!("tree of {} + header_mutation", thousands(PEER_SIZE));
    let ours: Vec<Case> =
        Case::ALL.into_iter().filter(|case| matches!(case, Case::Ours(_))).collect();

    let mut rows = Vec::new();
    let against = |title: &str, unit, figure: &dyn Fn(Case) -> f64, peer: f64, aim: Aim| {
        let row = |case: &Case| Row {
            case: format!("{} / {title}", case.title()),
            unit,
            ours: figure(*case),
            peer: Some(peer),
            aim,
        };
        ours.iter().map(row).collect::<Vec<_>>()
    };
    let requests = "requests/s";
    rows.extend(against("no filter", requests, &rate, rate(Case::NoFilter), Aim::AtLeast(0.85)));
    let spent = "µs of CPU added per request";
    rows.extend(against(&tree_title, spent, &added, added(tree), Aim::AtMost(1.6)));
    rows.extend(against(&tree_title, requests, &rate, rate(tree), Aim::AtLeast(0.95)));
    let pair = |ours: Case, peer: Case, aim| Row {
        case: format!("{} / {}", ours.title(), peer.title()),
        unit: requests,
        ours: rate(ours),
        peer: Some(rate(peer)),
        aim,
    };
    let [one, thousand, most] = [1, 1_000, 100_000].map(|count| Case::Ours(Rules::Callers(count)));
    rows.push(pair(thousand, Case::List(1_000), Aim::AtLeast(30.0)));
    rows.push(pair(most, one, Aim::AtLeast(0.95)));
    rows.push(pair(Case::Ours(Rules::Paths(100_000)), one, Aim::AtLeast(0.95)));

    let starts = figures.iter().filter(|figures| matches!(figures.case, Case::Ours(_)));
    let compiled =
        median(starts.filter_map(|figures| {
            figures.wasm.map(|wasm| wasm.start.compiled.as_secs_f64() * 1e3)
        }));
    let wasm = |case| of(case).and_then(|figures| figures.wasm);
    let memory = wasm(one).map_or(f64::NAN, |wasm| kib(wasm.memory));
    let read = wasm(Case::Ours(Rules::Callers(10_000)))
        .map_or(f64::NAN, |wasm| wasm.start.configured.as_secs_f64() * 1e3);
    let absolute = |case: &str, unit, ours, bound| Row {
        case: case.to_owned(),
        unit,
        ours,
        peer: None,
        aim: Aim::AtMost(bound),
    };
    rows.push(absolute("spiffe_authz.wasm", "KiB", kib(module_bytes), kib(LARGEST_MODULE)));
    rows.push(absolute("compiling it in Envoy", "ms", compiled, 150.0));
    rows.push(absolute("reading 10,000 rules in the VM", "ms", read, 100.0));
    rows.push(absolute("one VM's memory, 1 rule", "KiB", memory, 2048.0));
    rows.retain(Row::is_measured);
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_is_no_row() {
        let cases: Vec<String> = rows(&[], 1024).into_iter().map(|row| row.case).collect();
        assert_eq!(cases, ["spiffe_authz.wasm"]);
    }
}
