//! `/`: the status as a page for people. It works without JavaScript; with it the countdowns tick and
//! the page keeps itself fresh.
//!
//! Names of nodes and reasons of refusals are written by peers. Everything is escaped as it is
//! written, and the policy that comes with the page lets no script run but ours, known by its hash.

mod envoys;
mod identities;

use std::sync::LazyLock;
use std::time::SystemTime;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use super::{Admin, Readiness, Status};
use crate::policy::PolicyReport;
use crate::time::utc;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// Envoys and processes that are shown, and resources of each; `/status` has all.
const SHOWN: usize = 100;
/// Digits of a hash that tell it from others.
const SHORT: usize = 12;

/// What the browser may do: run our script, use our style, ask this server.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        BASE64_STANDARD.encode(Sha256::digest(SCRIPT)),
        BASE64_STANDARD.encode(Sha256::digest(STYLE)),
    )
});

pub(super) async fn page(State(admin): State<Admin>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY.as_str()),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    (headers, render(&admin.status()).into_string()).into_response()
}

fn render(status: &Status) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (state(&status.readiness).1) " · sds-server" }
                noscript { meta http-equiv="refresh" content="10"; }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    header {
                        h1 { "sds-server" }
                        span id="state" class=(format!("pill {}", state(&status.readiness).0)) {
                            (state(&status.readiness).1)
                        }
                        small {
                            "version " (status.version) " · started " (utc(status.started))
                            " · shown " (utc(status.now)) " · log " code { (status.logging) }
                        }
                    }
                    (complaints(&status.readiness))
                    (identities::processes(status))
                    (identities::svids(status))
                    (identities::withdrawn(status))
                    div class="pair" {
                        (identities::source(status))
                        (policy(status))
                    }
                    (identities::bundles(status))
                    (envoys::quarantined(status))
                    (envoys::envoys(status))
                    (envoys::refused(status))
                }
                footer {
                    a href="/status" { "/status" } a href="/readyz" { "/readyz" }
                    a href="/metrics" { "/metrics" } a href="/logging" { "/logging" }
                    "Times are UTC."
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
}

/// The class and the word for readiness.
fn state(readiness: &Readiness) -> (&'static str, &'static str) {
    match (readiness.ready, readiness.warnings.is_empty()) {
        (true, true) => ("good", "ready"),
        (true, false) => ("warn", "ready, with warnings"),
        (false, _) => ("bad", "not ready"),
    }
}

fn complaints(readiness: &Readiness) -> Markup {
    html! {
        @for reason in &readiness.reasons {
            p class="note bad" { b { (reason.guard) } (reason.reason) }
        }
        @for warning in &readiness.warnings {
            p class="note warn" { b { (warning.guard) } (warning.reason) }
        }
    }
}

fn policy(status: &Status) -> Markup {
    html! {
        section {
            h2 { "Policy" }
            @match &status.policy {
                None => p class="soft" { "None is configured: secrets only." },
                Some(policy) => (policy_facts(policy)),
            }
        }
    }
}

fn policy_facts(policy: &PolicyReport) -> Markup {
    html! {
        dl {
            dt { "file" } dd { code { (policy.file) } }
            dt { "digest" }
            dd {
                @match &policy.digest {
                    Some(digest) => code title=(digest) { (short(digest)) },
                    None => span class="bad" { "no valid document yet" },
                }
            }
            dt { "rules" } dd { (policy.rules) }
            @if let Some(since) = policy.since { dt { "in force since" } dd { (utc(since)) } }
        }
        @if let Some(reason) = &policy.rejected {
            p class="note warn" { b { "rejected" } (reason) }
        }
        @for fault in &policy.code_faults { p class="note bad" { b { "code" } (fault) } }
    }
}

/// A table, or a sentence where it would be empty.
fn table(heads: &[&str], rows: &[Markup], empty: &str) -> Markup {
    html! {
        @if rows.is_empty() {
            p class="soft" { (empty) }
        } @else {
            div class="scroll" {
                table {
                    thead { tr { @for head in heads { th { (head) } } } }
                    tbody { @for row in rows { tr { (row) } } }
                }
            }
        }
    }
}

fn more(all: usize) -> Markup {
    html! {
        @if all > SHOWN { p class="soft" { "and " (all - SHOWN) " more: see /status" } }
    }
}

/// The rest of a life, in words and as a bar.
fn countdown(left: u64, life: u64) -> Markup {
    let class = match left {
        0 => "bad",
        left if left.saturating_mul(5) < life => "warn",
        _ => "good",
    };
    html! {
        span class=(class) {
            span class="left" data-left=(left) { (words(left)) }
            progress value=(left) max=(life.max(1)) {}
        }
    }
}

/// A length of time in its two largest units; page.js says the same.
fn words(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes, seconds) {
        (0, 0, 0, 0) => "expired".to_owned(),
        (0, 0, 0, seconds) => format!("{seconds} s"),
        (0, 0, minutes, seconds) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes, _) => format!("{hours} h {minutes} min"),
        (days, hours, ..) => format!("{days} d {hours} h"),
    }
}

fn short(hash: &str) -> &str {
    hash.get(..SHORT).unwrap_or(hash)
}

/// The time of day, with the day in the tooltip.
fn clock(time: SystemTime) -> Markup {
    let whole = utc(time);
    let shown = whole.get(11..19).unwrap_or(&whole);
    html! { span class="when" title=(whole) { (shown) } }
}
