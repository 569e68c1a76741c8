//! The admin pages of the running program.

mod support;

use serde_json::{Value, json};
use support::{Agent, Authority, Broker, HOUR, Identity, Launch, Server, eventually, hostile};

fn status(server: &Server) -> Value {
    serde_json::from_str(&server.get("/status").1).expect("JSON")
}

#[tokio::test]
async fn the_status_tells_what_is_served_and_what_each_envoy_made_of_it() {
    let server = Server::start("").await;
    let agent = Agent::serve(&server.at("agent.sock"));
    let identity = Identity::new(&Authority::new("example.org"), "/api", HOUR);
    agent.issue(&[&identity], &[]);
    server.wait_for_readiness(200, "").await;
    let mut stream = server.client().await.secrets(&["default"], "").await;
    stream.accept().await;
    let told = eventually("the answer is told", async || {
        let told = status(&server);
        (!told["envoys"][0]["resources"][0]["acknowledged"].is_null()).then_some(told)
    })
    .await;
    assert_eq!((&told["ready"], &told["reasons"]), (&json!(true), &json!([])));
    assert_eq!(told["source"]["connected"], true);
    let svid = &told["svids"][0];
    assert_eq!((&svid["spiffe_id"], &svid["default"]), (&json!(identity.id), &json!(true)));
    assert!((3500..=3600).contains(&svid["seconds_left"].as_u64().expect("a number")), "{svid}");
    assert_eq!(told["bundles"][0]["trust_domain"], "example.org");
    assert_eq!(told["bundles"][0]["authorities"].as_array().map(Vec::len), Some(1));
    let envoy = &told["envoys"][0];
    assert_eq!((&envoy["node"], &envoy["streams"][0]["open"]), (&json!("test"), &json!(1)));
    let resource = &envoy["resources"][0];
    assert_eq!(resource["name"], "default");
    assert_eq!(resource["sent"]["version"], resource["acknowledged"]["version"]);
    assert_eq!(told["policy"], Value::Null);

    drop(stream);
    eventually("a peer that left is not told", async || {
        (status(&server)["envoys"] == json!([])).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_peers_write_is_text_on_the_page_and_no_page_holds_a_key() {
    let server = Server::start("").await;
    let agent = Agent::serve(&server.at("agent.sock"));
    let identity = Identity::new(&Authority::new("example.org"), "/api", HOUR);
    agent.issue(&[&identity], &[]);
    let _open = hostile::refuse(&server, hostile::TEXT).await;
    let page = eventually("the refusal is shown", async || {
        Some(server.get("/").1).filter(|page| page.contains("quarantined"))
    })
    .await;
    assert!(!page.contains("<script>document") && !page.contains("<img"), "{page}");
    assert!(
        page.contains("&lt;script&gt;document.title='owned'&lt;/script&gt;&quot;'&gt;"),
        "{page}"
    );
    let (_, head) = server.exchange("GET / HTTP/1.1\r\nhost: localhost\r\n", "");
    assert!(head.contains("content-security-policy: default-src 'none'; script-src 'sha256-"));

    let key = pem_rfc7468::encode_string("PRIVATE KEY", pem_rfc7468::LineEnding::LF, &identity.key)
        .expect("PEM");
    let line = key.lines().nth(1).expect("base64");
    let bytes = hex::encode(&identity.key[40..60]);
    for path in ["/", "/status", "/metrics", "/readyz", "/logging"] {
        let (_, body) = server.get(path);
        assert!(!body.contains(line) && !body.to_lowercase().contains(&bytes), "{path}");
    }
}

#[tokio::test]
async fn an_svid_that_is_withdrawn_is_told_while_envoys_may_hold_it() {
    let server = Server::start("").await;
    let agent = Agent::serve(&server.at("agent.sock"));
    let authority = Authority::new("example.org");
    let (kept, gone) =
        (Identity::new(&authority, "/api", HOUR), Identity::new(&authority, "/gone", HOUR));
    agent.issue(&[&kept, &gone], &[]);
    server.wait_for_readiness(200, "").await;
    assert_eq!(status(&server)["withdrawn"], json!([]));
    assert!(!server.get("/").1.contains("id=\"withdrawn\""));
    let expires = status(&server)["svids"][1]["not_after"].clone();

    agent.issue(&[&kept], &[]);
    let told = eventually("the withdrawal is told", async || {
        Some(status(&server)["withdrawn"][0].clone()).filter(|told| !told.is_null())
    })
    .await;
    assert_eq!((&told["spiffe_id"], &told["not_after"]), (&json!(gone.id), &expires));
    let page = server.get("/").1;
    let section = page.split("id=\"withdrawn\"").nth(1).expect("shown");
    assert!(section.contains(&gone.id) && section.contains(expires.as_str().expect("a time")));

    agent.issue(&[&kept, &gone], &[]);
    eventually("it is served again", async || {
        (status(&server)["withdrawn"] == json!([])).then_some(())
    })
    .await;
}

/// Readiness waits for the server's own SVID, and then for the broker, which knows the server by it.
#[tokio::test]
async fn readiness_of_a_node_says_whether_the_broker_can_be_reached() {
    let source = "broker: { socket: 'unix://$DIRECTORY/broker.sock', workload_api: 'unix://$DIRECTORY/agent.sock' }";
    let server = Server::launch(Launch { source, ..Launch::default() }).await;
    let own = "the server's own SVID, by which the Broker API knows it: ";
    server.wait_for_readiness(503, &format!("{own}waiting for the Workload API socket")).await;
    assert_eq!(status(&server)["source"]["api"], "Workload API");
    assert!(server.get("/").1.contains("Workload API (for the server's own SVID): "));
    let agent = Agent::serve(&server.at("agent.sock"));
    let authority = Authority::new("example.org");
    agent.issue(&[&Identity::new(&authority, "/signet", HOUR)], &[]);
    let unreached = "the Broker API cannot be reached since 20";
    server.wait_for_readiness(503, unreached).await;
    server.wait_for_readiness(503, "broker.sock: it does not exist; is the agent running?").await;
    assert_eq!(server.readiness()["reasons"][0]["guard"], "broker");
    assert_eq!(server.readiness()["reasons"].as_array().map(Vec::len), Some(1));
    let socket = server.at("broker.sock");
    for stranger in ["/not/an/agent", "/spire/server"] {
        let _broker = Broker::serve(&socket, &authority, stranger);
        server.wait_for_readiness(503, "peer SPIFFE ID is not authorized").await;
    }
    let broker = Broker::serve(&socket, &authority, "/spire/agent/x");
    server.wait_for_readiness(200, "").await;
    drop(broker);
    server.wait_for_readiness(503, unreached).await;
    let _broker = Broker::serve(&socket, &authority, "/spire/agent/x");
    server.wait_for_readiness(200, "").await;
    agent.withdraw();
    server.wait_for_readiness(503, own).await;
}

#[tokio::test]
async fn a_refused_peer_is_told_with_the_reason() {
    let server = Server::start("limits: { names_per_request: 1 }").await;
    let mut stream = server.client().await.secrets(&["one", "two"], "").await;
    stream.end().await.expect_err("refused");
    let refused = eventually("the refusal is told", async || {
        Some(status(&server)["refused_peers"][0].clone()).filter(|refused| !refused.is_null())
    })
    .await;
    assert_eq!((&refused["class"], &refused["count"]), (&json!("too_many_names"), &json!(1)));
    assert!(refused["peer"].as_str().expect("text").starts_with("uid "), "{refused}");
}

#[tokio::test]
async fn what_is_logged_changes_by_a_json_post_of_this_host_only() {
    let server = Server::start("").await;
    let json = "content-type: application/json\r\n";
    for (head, body, expected) in [
        ("host: localhost\r\ncontent-type: text/plain\r\n", r#"{"filter": "off"}"#, 403),
        ("host: evil.example\r\ncontent-type: application/json\r\n", r#"{"filter": "off"}"#, 403),
        (
            "host: localhost\r\norigin: http://evil.example\r\ncontent-type: application/json\r\n",
            r#"{"filter": "off"}"#,
            403,
        ),
        ("host: localhost\r\ncontent-type: application/json\r\n", r#"{"filter": "a=b=c"}"#, 400),
        ("host: localhost\r\ncontent-type: application/json\r\n", r#"{"level": "off"}"#, 400),
    ] {
        let (found, answer) = server.exchange(&format!("POST /logging HTTP/1.1\r\n{head}"), body);
        assert_eq!(found, expected, "{head} {body}: {answer}");
    }
    assert_eq!(server.get("/logging").1, r#"{"filter":"trace"}"#);
    let head = format!("POST /logging HTTP/1.1\r\nhost: 127.0.0.1:9902\r\n{json}");
    assert_eq!(server.exchange(&head, r#"{"filter": "error"}"#).0, 200);
    assert_eq!(server.get("/logging").1, r#"{"filter":"error"}"#);
    let before = server.log().len();
    let mut stream = server.client().await.secrets(&["default"], "").await;
    assert!(stream.is_silent().await);
    // What was about to be logged when it changed may come still.
    assert!(!server.log()[before..].contains("stream opened"), "only errors are logged");
    assert_eq!(server.exchange(&head, r#"{"filter": "debug"}"#).0, 200);
    let _other = server.client().await.secrets(&["default"], "").await;
    eventually("streams are logged again", async || {
        server.log()[before..].contains("stream opened").then_some(())
    })
    .await;
}

#[tokio::test]
async fn every_log_line_is_one_object_with_the_same_keys() {
    let server = Server::start("").await;
    let agent = Agent::serve(&server.at("agent.sock"));
    agent.issue(&[&Identity::new(&Authority::new("example.org"), "/api", HOUR)], &[]);
    let _open = hostile::refuse(&server, hostile::TEXT).await;
    eventually("the refusal is logged", async || server.log().contains("refused;").then_some(()))
        .await;
    let log = server.log();
    let (whole, _unfinished) = log.rsplit_once('\n').expect("lines");
    let lines: Vec<Value> = whole
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    for line in &lines {
        for key in ["timestamp", "level"] {
            assert!(line[key].is_string(), "{line}");
        }
    }
    for message in ["pushed", "refused; what it had before stays in force"] {
        let line = lines.iter().find(|line| line["message"] == message).expect(message);
        for key in ["type", "name", "version", "peer", "node"] {
            assert!(line[key].is_string(), "{key}: {line}");
        }
    }
}
