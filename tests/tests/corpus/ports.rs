//! Conditions on the port: not in the files, since only a running listener has one.

use e2e::{
    Workload,
    wire::{Answer, Ingress, Lines, Protocol},
};

/// Rules for the port that callers connect to, and for one that they don't.
fn policy(here: u16) -> String {
    let elsewhere = here ^ 1;
    format!(
        "version: 1
trust_domain: example.org
workloads: {{ client: /ns/client-ns/sa/client, api: /ns/api-ns/sa/api }}
http:
  - {{ name: which-policy, from: [client], to: [api], paths: [/which-policy/ports] }}
  - {{ name: here, from: [client], to: [api], paths: [/here], ports: [{here}] }}
  - {{ name: either, from: [client], to: [api], paths: [/either], ports: [{here}, {elsewhere}] }}
  - {{ name: elsewhere, from: [client], to: [api], paths: [/elsewhere], ports: [{elsewhere}] }}
  - {{ name: any, from: [client], to: [api], paths: [/any/**] }}
  - {{ name: not-here, effect: deny, from: [client], to: [api], paths: [/any/here], ports: [{here}] }}
  - {{ name: not-elsewhere, effect: deny, from: [client], to: [api], paths: [/any/elsewhere], ports: [{elsewhere}] }}
"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_port_is_the_one_that_the_caller_connected_to() {
    let ingress = Ingress::start("version: 1\ntrust_domain: example.org\n", |_| {}).await.unwrap();
    ingress.write_policy(&policy(ingress.port())).unwrap();
    let elsewhere = format!("api:{}", ingress.port() ^ 1);
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut caller = ingress.caller(Some(&Workload::Client.spiffe_id()), protocol).unwrap();
        caller.sees_policy("GET", "ports").await.unwrap();
        for (path, rule) in [
            ("/here", Some("here")),
            ("/either", Some("either")),
            ("/elsewhere", None),
            ("/any/where", Some("any")),
            ("/any/here", None),
            ("/any/elsewhere", Some("any")),
        ] {
            // What the caller says of the port is no fact.
            for authority in ["api", &elsewhere] {
                let lines: Lines = [
                    (":method", "GET"),
                    (":scheme", "https"),
                    (":path", path),
                    (":authority", authority),
                ]
                .map(|(name, value)| (name.into(), value.into()))
                .into();
                let answer = caller.ask(&lines).await.unwrap();
                let found = match &answer {
                    Answer::Forwarded(seen) => seen.values("x-signet-rule").join(","),
                    _ => "denied".to_owned(),
                };
                assert_eq!(found, rule.unwrap_or("denied"), "{path} {authority}: {answer:?}");
            }
        }
    }
}
