//! Request trailers: some servers merge them into the headers, so what the API is told by has no place there.

use e2e::{
    Workload,
    bootstrap::holders,
    wire::{Answer, Ingress, Lines, Protocol, Seen},
};
use serde_json::{Value, json};

const POLICY: &str = "version: 1
trust_domain: example.org
workloads: { client: /ns/client-ns/sa/client, api: /ns/api-ns/sa/api }
http:
  - { name: which-policy, from: [client], to: [api], paths: [/which-policy/trailers, /] }
";

/// Names by which the API is told, their twins, and Envoy's own.
const OURS: [&str; 6] = [
    "x-db-role",
    "x-spiffe-id",
    "X-Signet-Rule",
    "x_db_role",
    "x-spiffe_id",
    "x-envoy-original-path",
];
/// Others.
const OTHERS: [&str; 2] = ["x-checksum", "x-db-roles"];

/// Trailers go all the way: neither listener nor upstream passes them on unless told to. `underscores` says what Envoy
/// itself does about them.
fn with_trailers(configuration: &mut Value, underscores: &str) {
    let passed_on = json!({ "enable_trailers": true });
    holders(configuration, "stat_prefix", &mut |manager| {
        if manager["stat_prefix"] == "ingress" {
            manager["http_protocol_options"] = passed_on.clone();
            manager["common_http_protocol_options"]["headers_with_underscores_action"] =
                underscores.into();
        }
    });
    holders(configuration, "load_assignment", &mut |cluster| {
        if cluster["name"] == "api" {
            cluster["typed_extension_protocol_options"] = json!({
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": { "http_protocol_options": passed_on },
                }
            });
        }
    });
}

fn lines(pairs: &[(&str, &str)]) -> Lines {
    pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

/// A request that is allowed, with these trailers.
async fn seen(ingress: &Ingress, protocol: Protocol, trailers: &[&str]) -> Option<Seen> {
    let mut caller = ingress.caller(Some(&Workload::Client.spiffe_id()), protocol).unwrap();
    caller.sees_policy("GET", "trailers").await.unwrap();
    let request =
        lines(&[(":method", "POST"), (":scheme", "https"), (":path", "/"), (":authority", "api")]);
    let name = |name: &&str| match protocol {
        Protocol::H1 => (*name).to_owned(),
        Protocol::H2 => name.to_ascii_lowercase(),
    };
    let names: Vec<String> = trailers.iter().map(name).collect();
    let trailers: Vec<_> = names.iter().map(|name| (name.as_str(), "forged")).collect();
    match caller.ask_with_trailers(&request, &lines(&trailers)).await.unwrap() {
        Answer::Forwarded(seen) => Some(seen),
        Answer::Stopped { .. } | Answer::Closed => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_filter_strips_its_names_from_trailers() {
    let change = |configuration: &mut Value| with_trailers(configuration, "ALLOW");
    let ingress = Ingress::start(POLICY, change).await.unwrap();
    let sent = [OURS.as_slice(), &OTHERS].concat();
    for protocol in [Protocol::H1, Protocol::H2] {
        let seen = seen(&ingress, protocol, &sent).await.expect("an allowed request");
        // The others arrive, so what doesn't was taken out.
        assert_eq!(seen.trailers, lines(&OTHERS.map(|name| (name, "forged"))), "{protocol:?}");
        assert_eq!(seen.values("x-signet-rule"), ["which-policy"], "{protocol:?}");
        assert_eq!(seen.values("x-db-role"), Vec::<String>::new(), "{protocol:?}");
    }
}

/// As the bootstrap is, Envoy itself lets no name with `_` pass.
#[tokio::test(flavor = "multi_thread")]
async fn a_twin_in_the_trailers_never_reaches_the_api() {
    let change = |configuration: &mut Value| with_trailers(configuration, "REJECT_REQUEST");
    let ingress = Ingress::start(POLICY, change).await.unwrap();
    for protocol in [Protocol::H1, Protocol::H2] {
        let seen = seen(&ingress, protocol, &["x_db_role", "x-checksum"]).await;
        let trailers = seen.map(|seen| seen.trailers).unwrap_or_default();
        assert!(
            !trailers.iter().any(|(name, _)| name == b"x_db_role"),
            "{protocol:?}: {trailers:?}"
        );
    }
}
