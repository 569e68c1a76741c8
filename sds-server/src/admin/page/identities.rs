//! The parts of the page about what is served.

use maud::{Markup, html};

use super::{SHOWN, countdown, more, short, table};
use crate::admin::Status;
use crate::admin::status::{AuthorityReport, ProcessReport, SvidReport, WithdrawnReport};
use crate::time::utc;

pub(super) fn svids(status: &Status) -> Markup {
    let rows: Vec<_> = status.svids.iter().map(svid).collect();
    let heading = if status.source.is_per_process() { "The server's own SVIDs" } else { "SVIDs" };
    html! {
        section id="svids" {
            h2 { (heading) small { (rows.len()) } }
            (table(
                &["SPIFFE ID", "expires in", "valid", "serial", "issuing authority"],
                &rows,
                "There is none.",
            ))
        }
    }
}

/// Whom a server of a node serves, and what each may have. Nothing where all get the same.
pub(super) fn processes(status: &Status) -> Markup {
    let rows: Vec<_> = status.processes.iter().take(SHOWN).flat_map(process).collect();
    html! {
        @if status.source.is_per_process() {
            section id="processes" {
                h2 { "Processes" small { "each is served its own SVIDs and bundles" } }
                (table(
                    &["process", "SPIFFE ID", "expires in", "serial", "bundles"],
                    &rows,
                    "None is connected.",
                ))
                (more(status.processes.len()))
            }
        }
    }
}

/// A row for each of its SVIDs, or one that says why there is none.
fn process(process: &ProcessReport) -> Vec<Markup> {
    let who =
        html! { td { (process.process) " " span class="chip" { "streams " (process.streams) } } };
    let trouble =
        html! { @if let Some(trouble) = &process.trouble { p class="reason" { (trouble) } } };
    let bundles: Vec<_> =
        process.bundles.iter().map(|bundle| bundle.trust_domain.as_str()).collect();
    let bundles = html! { td { (bundles.join(", ")) } };
    let withdrawn = process.withdrawn.iter().map(|svid| {
        html! {
            (who)
            td { code { (svid.spiffe_id) } " " span class="chip" { "withdrawn" } }
            td { (held(svid)) }
            td {}
            td {}
        }
    });
    if process.svids.is_empty() {
        let none = html! { (who) td { "none" (trouble) } td {} td {} (bundles) };
        return std::iter::once(none).chain(withdrawn).collect();
    }
    let rows = process.svids.iter().map(|svid| {
        html! {
            (who)
            td { (name(svid)) (trouble) }
            td { (countdown(svid.seconds_left, life(svid))) }
            td { code title=(svid.serial) { (first_pairs(&svid.serial)) } }
            (bundles)
        }
    });
    rows.chain(withdrawn).collect()
}

/// What was withdrawn from all Envoys of the server. Nothing where nothing was.
pub(super) fn withdrawn(status: &Status) -> Markup {
    let rows: Vec<_> = status
        .withdrawn
        .iter()
        .map(|svid| html! { td { code { (svid.spiffe_id) } } td { (held(svid)) } td class="when" { (utc(svid.not_after)) } })
        .collect();
    html! {
        @if !rows.is_empty() {
            section id="withdrawn" {
                h2 { "Withdrawn" small { "Envoys hold their certificates still; filters that are configured here deny what comes to them" } }
                (table(&["SPIFFE ID", "Envoys hold it for", "until"], &rows, ""))
            }
        }
    }
}

fn held(svid: &WithdrawnReport) -> Markup {
    html! { span class="left warn" data-left=(svid.seconds_left) { (super::words(svid.seconds_left)) } }
}

fn name(svid: &SvidReport) -> Markup {
    html! {
        code { (svid.spiffe_id) }
        @if svid.default { " " span class="chip" { "default" } }
        @if let Some(hint) = &svid.hint { " " span class="chip" { "hint " (hint) } }
    }
}

/// From its issue to its end, in seconds.
fn life(svid: &SvidReport) -> u64 {
    svid.not_after.duration_since(svid.not_before).map_or(0, |life| life.as_secs())
}

fn svid(svid: &SvidReport) -> Markup {
    html! {
        td { (name(svid)) }
        td { (countdown(svid.seconds_left, life(svid))) }
        td class="when" { "from " (utc(svid.not_before)) br; "to " (utc(svid.not_after)) }
        td { code title=(svid.serial) { (first_pairs(&svid.serial)) } }
        td {
            (svid.issuer)
            @if let Some(key) = &svid.issuer_key {
                " " code class="soft" title=(key) { (short(key)) }
            }
        }
    }
}

pub(super) fn bundles(status: &Status) -> Markup {
    let rows: Vec<_> = status
        .bundles
        .iter()
        .flat_map(|bundle| {
            bundle.authorities.iter().map(|authority| row(&bundle.trust_domain, authority))
        })
        .collect();
    html! {
        section id="bundles" {
            h2 { "Bundles" small { (status.bundles.len()) } }
            (table(
                &["trust domain", "authority", "expires in", "expires", "serial", "key"],
                &rows,
                "None is served.",
            ))
        }
    }
}

fn row(domain: &str, authority: &AuthorityReport) -> Markup {
    html! {
        td { code { (domain) } }
        td { (authority.subject) }
        td { span class="left" data-left=(authority.seconds_left) {
            (super::words(authority.seconds_left))
        } }
        td class="when" { (utc(authority.not_after)) }
        td { code title=(authority.serial) { (first_pairs(&authority.serial)) } }
        td {
            @if let Some(key) = &authority.key { code title=(key) { (short(key)) } }
        }
    }
}

pub(super) fn source(status: &Status) -> Markup {
    let source = &status.source;
    html! {
        section {
            h2 { "Source" }
            dl {
                dt { "kind" } dd { (source.kind) }
                dt { "address" } dd { code { (source.address) } }
                dt { "state" }
                dd {
                    (source.api) @if source.kind == "broker" { " (for the server's own SVID)" } ": "
                    @if source.connected {
                        span class="good" { "connected" }
                    } @else {
                        span class="bad" { "not connected" } " (what was issued serves until it expires)"
                    }
                }
            }
            @if let Some(trouble) = &source.trouble { p class="note warn" { (trouble) } }
        }
    }
}

/// The first four bytes of a serial number.
fn first_pairs(serial: &str) -> String {
    if serial.len() > 12 { format!("{}…", &serial[..11]) } else { serial.to_owned() }
}
