//! JWT-SVIDs over SDS against the running program.

mod support;

use std::time::Duration;

use support::{Agent, Authority, HOUR, Identity, Server, eventually, generic};

const UPDATES: &str = "signet_jwt_svid_updates_total";

async fn started(config: &str) -> (Server, Agent) {
    let server = Server::start(config).await;
    let agent = Agent::serve(&server.at("agent.sock"));
    let authority = Authority::new("example.org");
    let [first, second] = ["/a", "/b"].map(|path| Identity::new(&authority, path, HOUR));
    agent.issue(&[&first, &second], &[]);
    server.wait_for_readiness(200, "").await;
    (server, agent)
}

#[tokio::test]
async fn a_jwt_svid_is_fetched_once_for_all_and_renewed_at_half_its_life() {
    let (server, agent) = started("").await;
    agent.issue_tokens(Some(Duration::from_secs(6)));
    let client = server.client().await;
    let mut stream = client.secrets(&["jwt?aud=https://api/"], "").await;
    let first = generic(&stream.accept().await.secret());
    let mut other = client.secrets(&["jwt?aud=https://api/"], "").await;
    assert_eq!(generic(&other.accept().await.secret()), first);
    assert_eq!(agent.tokens(), std::slice::from_ref(&first));

    let renewed = generic(&stream.accept().await.secret());
    assert_ne!(renewed, first);
    assert_eq!(generic(&other.accept().await.secret()), renewed);

    // Another subject and another order of the same audience; and nothing for a stranger.
    let names = ["jwt?aud=x,y&id=spiffe://example.org/b", "jwt?aud=y,x&id=spiffe://example.org/b"];
    let before = agent.tokens().len();
    let mut many = client.secrets(&names, "").await;
    let tokens = [many.accept().await, many.accept().await].map(|pushed| generic(&pushed.secret()));
    assert_eq!(tokens[0], tokens[1]);
    assert_eq!(agent.tokens()[before..].iter().filter(|token| **token == tokens[0]).count(), 1);
    let stranger = "jwt?aud=x&id=spiffe://example.org/c";
    assert!(client.secrets(&[stranger], "").await.is_silent().await);
}

#[tokio::test]
async fn nobody_asks_the_agent_for_what_nobody_wants() {
    let (server, agent) = started("").await;
    agent.issue_tokens(Some(Duration::from_secs(3)));
    let client = server.client().await;
    let mut leaving = client.secrets(&["jwt?aud=left"], "").await;
    leaving.accept().await;
    drop(leaving);
    // Two lives of another one, during which the first would have been renewed.
    let mut staying = client.secrets(&["jwt?aud=kept"], "").await;
    for _ in 0..4 {
        staying.accept().await;
    }
    // Those for `kept`, and one for `left`.
    assert_eq!(agent.tokens().len(), 5);
}

#[tokio::test]
async fn an_agent_that_refuses_leaves_the_last_one_in_force_until_it_expires() {
    let (server, agent) = started("").await;
    let client = server.client().await;
    let mut stream = client.secrets(&["jwt?aud=api"], "").await;
    assert!(stream.is_silent().await, "refused");
    eventually("the refusal is told", async || {
        let counted = server.metric(&format!("{UPDATES}{{result=\"failed\"}}"))? >= 1;
        (counted && server.log().contains("no tokens today")).then_some(())
    })
    .await;
    agent.issue_tokens(Some(Duration::from_secs(4)));
    let token = generic(&stream.accept().await.secret());
    agent.issue_tokens(None);
    assert_eq!(generic(&client.fetch(&["jwt?aud=api"]).await.expect("in force")[0]), token);
    eventually("it is served no more", async || client.fetch(&["jwt?aud=api"]).await.err()).await;
    eventually("its end is told", async || {
        (server.metric(&format!("{UPDATES}{{result=\"expired\"}}"))? == 1).then_some(())
    })
    .await;
    agent.issue_tokens(Some(Duration::from_mins(1)));
    assert_ne!(generic(&stream.accept().await.secret()), token);
}

#[tokio::test]
async fn jwt_svids_are_bounded_and_in_no_log() {
    let (server, agent) = started("limits: { jwt_svids: 1 }").await;
    agent.issue_tokens(Some(HOUR));
    let client = server.client().await;
    let mut one = client.secrets(&["jwt?aud=a"], "").await;
    let pushed = one.next().await;
    one.answer(&pushed, Some("so that it is logged"));
    let mut another = client.secrets(&["jwt?aud=b"], "").await;
    assert!(another.is_silent().await, "no room");
    drop(one);
    // There is room as soon as the server hears of that stream's end, for whoever waits.
    another.accept().await;
    let shown = [server.log(), server.get("/metrics").1, server.get("/readyz").1].concat();
    for token in agent.tokens() {
        let signed = token.rsplit_once('.').expect("signed").0;
        let claims = signed.rsplit_once('.').expect("claims").1;
        assert!(!shown.contains(claims), "{claims} is shown");
    }
}
