//! Every method with every target: what isn't listed isn't meant.

use super::Decision::{self, Allow, Deny};
use crate::case::Case;

/// The methods that Envoy knows; it refuses all others.
const METHODS: &[&str] = &[
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "PROPFIND",
    "PROPPATCH",
    "MKCOL",
    "COPY",
    "MOVE",
    "LOCK",
    "UNLOCK",
    "REPORT",
    "SEARCH",
    "PURGE",
    "MERGE",
    "CHECKOUT",
    "SUBSCRIBE",
    "LINK",
    "UNLINK",
    "ACL",
];

/// Spellings that are other methods than those of the rules.
const OTHERS: &[&str] =
    &["get", "Get", "GETX", "GE", "G-T", "get!", "HEADS", "post", "delete", "XGET"];

/// A path, the methods that reach a rule there, and that rule.
const TARGETS: &[(&str, &[(&str, Decision)])] = &[
    ("/", &[("GET", Allow("root", None)), ("HEAD", Allow("root", None))]),
    (
        "/customers",
        &[
            ("GET", Allow("customers", Some("customers_reader"))),
            ("POST", Allow("create", Some("customers_writer"))),
        ],
    ),
    ("/customers/7", &[("GET", Allow("customer", Some("customers_reader")))]),
    (
        "/customers/7/orders/9",
        &[
            ("GET", Allow("orders", Some("orders_writer"))),
            ("PUT", Allow("orders", Some("orders_writer"))),
        ],
    ),
    ("/customers/7/orders", &[]),
    ("/files/a", &[("GET", Allow("files", Some("files_reader")))]),
    ("/a%20b", &[("GET", Allow("text", Some("text_reader")))]),
    ("/shop.Orders/Get", &[("POST", Allow("grpc", Some("orders_reader")))]),
    ("/public", &[("GET", Allow("public", None))]),
    ("/nothing", &[]),
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let stranger = "spiffe://example.org/ns/client-ns2/sa/client";
    let report = "spiffe://example.org/ns/report-ns/sa/report";
    for method in METHODS.iter().chain(OTHERS) {
        for (path, rules) in TARGETS {
            let decision = rules.iter().find(|(listed, _)| listed == method).map(|(_, rule)| *rule);
            let case = Case::new(format!("{method} {path}"), method, *path);
            cases.push(decision.map_or(case.clone(), |decision| decision.about(case.clone())));

            let of_stranger =
                Case { id: format!("{} stranger", case.id), ..case.clone() }.from(stranger);
            let public = (*method, *path) == ("GET", "/public");
            cases.push(if public { of_stranger.allowed("public", None) } else { of_stranger });

            let of_report = Case { id: format!("{} report", case.id), ..case }.from(report);
            cases.push(match *method {
                // A rule with a path outweighs the one without.
                "GET" if public => of_report.allowed("public", None),
                "GET" | "OPTIONS" => of_report.allowed("report-anything", None),
                _ => of_report,
            });
        }
        for path in ["/audit", "/audit/", "/audit/1/2"] {
            let decision = if *method == "DELETE" {
                Deny("audit-stays")
            } else {
                Allow("audit", Some("auditor"))
            };
            let mut case = Case::new(format!("{method} {path}"), method, path);
            // The rule lists no methods, and Envoy refuses those that it doesn't know.
            case.envoy_stops = OTHERS.contains(method);
            cases.push(decision.about(case));
        }
        for path in ["/files/secret", "/files/secret/a"] {
            cases.push(
                Case::new(format!("{method} {path}"), method, path).denied("no-secret-files"),
            );
        }
    }
    cases
}
