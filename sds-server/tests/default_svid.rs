//! Which SVID `default` is, against the running program.

mod support;

use support::{Agent, Authority, HOUR, Identity, Server, certificate};

#[tokio::test]
async fn default_stays_what_it_is_while_entries_come_and_go() {
    let server = Server::start("rotation: { withdrawal_delay: 100ms }").await;
    let agent = Agent::serve(&server.at("agent.sock"));
    let authority = Authority::new("example.org");
    let [a, b, c] = ["/a", "/b", "/c"].map(|path| Identity::new(&authority, path, HOUR));
    agent.issue(&[&c, &b], &[]);
    let client = server.client().await;
    let mut default = client.secrets(&["default"], "").await;
    assert_eq!(certificate(&default.accept().await.secret()), b.chain, "the smallest ID");

    // That the new entries are served shows that the server has taken them in.
    let mut newest = client.secrets(&["spiffe://example.org/a"], "").await;
    agent.issue(&[&a, &c, &b], &[]);
    newest.accept().await;
    assert!(default.is_silent().await, "a smaller ID, named first, changes nothing");
    agent.issue(&[&c, &a], &[]);
    assert_eq!(certificate(&default.accept().await.secret()), a.chain, "it is gone");
}

#[tokio::test]
async fn default_is_what_the_operator_says_and_nothing_else() {
    for (chosen, expected) in [
        ("spiffe_id: spiffe://example.org/c", Some("/c")),
        ("hint: internal", Some("/b")),
        ("spiffe_id: spiffe://example.org/c, hint: internal", Some("/c")),
        ("spiffe_id: spiffe://example.org/gone, hint: internal", Some("/b")),
        ("spiffe_id: spiffe://example.org/gone", None),
    ] {
        let server = Server::start(&format!("default_svid: {{ {chosen} }}")).await;
        let agent = Agent::serve(&server.at("agent.sock"));
        let authority = Authority::new("example.org");
        let [a, mut b, c] = ["/a", "/b", "/c"].map(|path| Identity::new(&authority, path, HOUR));
        b.hint = "internal".into();
        agent.issue(&[&a, &b, &c], &[]);
        let Some(expected) = expected else {
            server.wait_for_readiness(503, "not spiffe://example.org/gone is issued, only").await;
            continue;
        };
        let expected = [&a, &b, &c].into_iter().find(|one| one.id.ends_with(expected));
        let secret = server.client().await.secrets(&["default"], "").await.accept().await.secret();
        assert_eq!(certificate(&secret), expected.expect("issued").chain, "{chosen}");
    }
}
