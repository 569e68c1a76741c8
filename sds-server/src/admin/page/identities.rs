//! The parts of the page about what is served.

use maud::{Markup, html};

use super::{countdown, short, table};
use crate::admin::Status;
use crate::admin::status::{AuthorityReport, SvidReport};
use crate::time::utc;

pub(super) fn svids(status: &Status) -> Markup {
    let rows: Vec<_> = status.svids.iter().map(svid).collect();
    html! {
        section id="svids" {
            h2 { "SVIDs" small { (rows.len()) } }
            (table(
                &["SPIFFE ID", "expires in", "valid", "serial", "issuing authority"],
                &rows,
                "None is served.",
            ))
        }
    }
}

fn svid(svid: &SvidReport) -> Markup {
    let life = svid.not_after.duration_since(svid.not_before).map_or(0, |life| life.as_secs());
    html! {
        td {
            code { (svid.spiffe_id) }
            @if svid.default { " " span class="chip" { "default" } }
            @if let Some(hint) = &svid.hint { " " span class="chip" { "hint " (hint) } }
        }
        td { (countdown(svid.seconds_left, life)) }
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
