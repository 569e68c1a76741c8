//! What the server shall reach.

use super::{
    cases::{Case, Node, Server},
    sample::Figures,
};
use crate::{
    figures::as_float,
    row::{Aim, Row},
};

/// The number of streams at which servers are compared.
const STREAMS: usize = 1_000;
/// Ours may take this part of what SPIRE's agent takes, where it is CPU or memory.
const EIGHTH: f64 = 1.0 / 8.0;

/// Every aim whose cases were measured. Ratios are those of the medians.
pub(super) fn rows(figures: &[Figures]) -> Vec<Row> {
    let find = |case: Case| figures.iter().find(|figures| figures.case == case);
    let case = |server, node| Case { server, node, streams: STREAMS, connections: STREAMS };
    let value = |case, figure: fn(&Figures) -> f64| find(case).map_or(f64::NAN, figure);
    let against = |what: &str, unit, node, peer: Server, figure: fn(&Figures) -> f64, bound| Row {
        case: format!("{what}, {} / {}", case(Server::Ours, node).load(), peer.title()),
        unit,
        ours: value(case(Server::Ours, node), figure),
        peer: Some(value(case(peer, node), figure)),
        aim: Aim::AtMost(bound),
    };
    let alone = |what: &str, unit, case: Case, figure: fn(&Figures) -> f64, aim| Row {
        case: format!("{what}, {}", case.load()),
        unit,
        ours: value(case, figure),
        peer: None,
        aim,
    };
    let cpu = Figures::cpu_ms;
    let spread = Figures::first_to_last_ms;
    let memory = Figures::kib_per_stream;
    let [bare, whole] = [Node::Bare, Node::Envoy];
    let mut rows = vec![against("CPU of a push", "ms", whole, Server::Spire, cpu, EIGHTH)];
    for node in Node::ALL {
        for (peer, bound) in [(Server::Spire, 1.0), (Server::Minimal, 1.3), (Server::Slim, 1.3)] {
            rows.push(against("first → last secret", "ms", node, peer, spread, bound));
        }
    }
    rows.push(against("memory of a stream", "KiB", whole, Server::Spire, memory, EIGHTH));
    let own = case(Server::Ours, bare);
    rows.push(alone("memory of a stream", "KiB", own, memory, Aim::AtMost(64.0)));
    for node in Node::ALL {
        let large = Case::large(Server::Ours, node);
        rows.push(alone("memory", "MiB", large, |f| f.rss_mib()[2], Aim::AtMost(256.0)));
    }
    let own = case(Server::Ours, whole);
    rows.push(alone("storm to last secret", "ms", own, Figures::storm_ms, Aim::AtMost(1_000.0)));
    let survived = |figures: &Figures| {
        let (failed, all) = (figures.failures() as u64, figures.samples.len() as u64);
        100.0 * (1.0 - as_float(failed) / as_float(all))
    };
    rows.push(alone(
        "storms that agent and server survive",
        "%",
        own,
        survived,
        Aim::AtLeast(100.0),
    ));
    rows.retain(Row::is_measured);
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sds::sample::Sample;

    #[test]
    fn what_was_not_measured_is_no_row() {
        assert!(rows(&[]).is_empty());
        let sample = Sample { idle_mib: 10.0, end_mib: 72.5, ..Sample::default() };
        let case =
            Case { server: Server::Ours, node: Node::Bare, streams: 1_000, connections: 1_000 };
        let rows = rows(&[Figures { case, samples: vec![sample] }]);
        let cases: Vec<&str> = rows.iter().map(|row| row.case.as_str()).collect();
        assert_eq!(cases, ["memory of a stream, 1,000 streams, bare"]);
        assert!(rows[0].met() && (rows[0].ours - 64.0).abs() < 1e-9);
    }
}
