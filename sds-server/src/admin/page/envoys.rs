//! The parts of the page about who is connected.

use maud::{Markup, html};

use super::{SHOWN, clock, more, short, table};
use crate::admin::Status;
use crate::policy::WITHDRAWN;
use crate::time::utc;
use crate::xds::registry::{EnvoyReport, ResourceReport};

pub(super) fn envoys(status: &Status) -> Markup {
    let digest = status.policy.as_ref().and_then(|policy| policy.digest.as_deref());
    html! {
        section id="envoys" {
            h2 { "Envoys" small { (status.envoys.len()) } }
            @if status.envoys.is_empty() { p class="soft" { "None is connected." } }
            @for envoy in status.envoys.iter().take(SHOWN) { (card(envoy, digest)) }
            (more(status.envoys.len()))
        }
    }
}

fn card(envoy: &EnvoyReport, policy: Option<&str>) -> Markup {
    let is_missed = |name: &str| envoy.waiting.iter().any(|waiting| *waiting.name == *name);
    let is_held = |name: &str| envoy.resources.iter().any(|held| *held.name == *name);
    let resources = envoy.resources.iter().take(SHOWN);
    let resources: Vec<_> = resources.map(|it| resource(it, is_missed(&it.name))).collect();
    html! {
        article {
            header {
                h3 { @if envoy.node.is_empty() { "(no node ID)" } @else { (envoy.node) } }
                @if !envoy.cluster.is_empty() { span class="chip" { "cluster " (envoy.cluster) } }
                span class="chip" { (envoy.peer) }
                @for streams in &envoy.streams {
                    span class="chip" {
                        (streams.open) " × " (streams.protocol.label()) " over " (streams.transport)
                    }
                }
                span class="soft" { "since " (utc(envoy.since)) }
            }
            @for (filter, digest) in &envoy.policies {
                @if digest == WITHDRAWN {
                    p {
                        code { (filter) } " denies everything "
                        span class="pill bad" { "identity withdrawn" }
                    }
                } @else {
                    p {
                        code { (filter) } " runs policy " code title=(digest) { (short(digest)) } " "
                        @if policy == Some(digest) {
                            span class="pill good" { "in force" }
                        } @else {
                            span class="pill warn" { "older" }
                        }
                    }
                }
            }
            (table(&["resource", "sent", "acknowledged", "state"], &resources, "Nothing was sent."))
            (more(envoy.resources.len() + envoy.unlisted))
            @for name in envoy.waiting.iter().take(SHOWN) {
                p class="note warn" {
                    b { (name.reason) } code { (name.name) } " (" (name.r#type)
                    ") has been asked for in vain since " (utc(name.since))
                    @if is_held(&name.name) { "; it keeps what it has" }
                }
            }
            (more(envoy.waiting.len()))
        }
    }
}

/// `missed`: nothing is served under its name any more.
fn resource(resource: &ResourceReport, missed: bool) -> Markup {
    let version = |version: &str| html! { code title=(version) { (short(version)) } };
    let sent = resource.sent.as_ref();
    let acknowledged = resource.acknowledged.as_ref();
    let held_before = sent.is_none() && acknowledged.is_some();
    let same = sent.map(|sent| &sent.version) == acknowledged.map(|accepted| &accepted.version);
    html! {
        td { code { (resource.name) } }
        @for stamp in [sent, acknowledged] {
            td {
                @if let Some(stamp) = stamp {
                    (version(&stamp.version)) " " (clock(stamp.at))
                } @else if held_before {
                    span class="soft" { "before it connected" }
                }
            }
        }
        td {
            @match &resource.refused {
                Some(refusal) => {
                    span class="pill bad" { "refused" } " " (version(&refusal.refused.version))
                    " " (clock(refusal.refused.at))
                    p class="reason" { (refusal.reason) }
                    @if refusal.disbelieved {
                        p class="reason" {
                            "It has acknowledged these bytes since; not believed: it goes on with older ones."
                        }
                    }
                }
                None if missed => span class="pill warn" { "kept" },
                None if held_before || same => span class="pill good" { "current" },
                None => span class="pill warn" { "not answered yet" },
            }
        }
    }
}

pub(super) fn quarantined(status: &Status) -> Markup {
    let mut rows = Vec::new();
    for envoy in &status.envoys {
        for resource in &envoy.resources {
            let Some(refusal) = &resource.refused else { continue };
            rows.push(html! {
                td { code { (resource.name) } }
                td { code title=(refusal.refused.version) { (short(&refusal.refused.version)) } }
                td { (envoy.node) " " span class="chip" { (envoy.peer) } }
                td { (clock(refusal.refused.at)) }
                td class="bad" { (refusal.reason) }
            });
        }
    }
    rows.truncate(SHOWN);
    html! {
        @if !rows.is_empty() {
            section id="quarantined" {
                h2 { "Quarantined" small { "refused bytes are not sent to that Envoy again" } }
                (table(&["resource", "version", "refused by", "at", "reason"], &rows, ""))
            }
        }
    }
}

pub(super) fn refused(status: &Status) -> Markup {
    let rows: Vec<_> = status
        .refused_peers
        .iter()
        .take(SHOWN)
        .map(|refused| {
            html! {
                td { code { (refused.peer) } }
                td { (refused.reason) " " span class="chip" { (refused.class) } }
                td { (refused.count) }
                td class="when" { (utc(refused.first)) }
                td class="when" { (utc(refused.last)) }
            }
        })
        .collect();
    html! {
        section id="refused" {
            h2 { "Refused peers" small { (status.refused_peers.len()) } }
            (table(&["peer", "why", "times", "first", "last"], &rows, "Nobody was refused."))
        }
    }
}
