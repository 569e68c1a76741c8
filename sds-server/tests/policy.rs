//! ECDS against the running program.

mod support;

use std::os::unix::fs::symlink;

use envoy_types::pb::envoy::config::core::v3::TypedExtensionConfig;
use envoy_types::pb::envoy::config::core::v3::{async_data_source, data_source};
use envoy_types::pb::envoy::extensions::filters::{
    http::wasm::v3 as http, network::wasm::v3 as network,
};
use envoy_types::pb::envoy::extensions::wasm::v3::{FailurePolicy, PluginConfig, plugin_config};
use envoy_types::pb::google::protobuf::StringValue;
use prost::{Message, Name};
use serde_json::Value;
use support::{Agent, Authority, Client, HOUR, Identity, Server, eventually};

/// SHA-256 of `abc`, the code in these tests.
const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn config(sha256: &str) -> String {
    format!(
        "policy: {{ file: $DIRECTORY/policy.yaml }}\nfilters:\n  http: {{ wasm: $DIRECTORY/filter.wasm, sha256: {sha256}, denial_detail: rule }}\n  postgres: {{ wasm: /only/envoy/sees/this.wasm, sha256: {ABC} }}\n"
    )
}

fn policy(path: &str) -> String {
    format!(
        "version: 1\ntrust_domain: example.org\nworkloads: {{ client: /client, api: /api }}\nhttp:\n  - {{ name: reads, from: [client], to: [api], methods: [GET], paths: [{path}] }}\n"
    )
}

async fn started(sha256: &str) -> (Server, Agent) {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("filter.wasm"), "abc").expect("written");
    let server = Server::start_in(directory, &config(sha256)).await;
    let agent = Agent::serve(&server.at("agent.sock"));
    agent.issue(&[&Identity::new(&Authority::new("example.org"), "/api", HOUR)], &[]);
    server.wait_for_readiness(503, "policy").await;
    (server, agent)
}

/// The plugin's configuration, after what every one of ours has was checked.
fn slice(extension: &TypedExtensionConfig, code: &str) -> Value {
    let any = extension.typed_config.as_ref().expect("typed");
    let plugin: PluginConfig = if any.type_url == http::Wasm::type_url() {
        http::Wasm::decode(any.value.as_slice()).expect("its type").config.expect("a plugin")
    } else {
        assert_eq!(any.type_url, network::Wasm::type_url());
        network::Wasm::decode(any.value.as_slice()).expect("its type").config.expect("a plugin")
    };
    assert_eq!((plugin.name.as_str(), plugin.root_id.as_str()), (extension.name.as_str(), ""));
    assert_eq!(plugin.failure_policy, i32::from(FailurePolicy::FailReload));
    let Some(plugin_config::Vm::VmConfig(vm)) = plugin.vm else { panic!("no VM") };
    assert_eq!(
        (vm.vm_id.as_str(), vm.runtime.as_str()),
        (extension.name.as_str(), "envoy.wasm.runtime.v8")
    );
    let Some(async_data_source::Specifier::Local(local)) = vm.code.expect("code").specifier else {
        panic!("remote code")
    };
    assert!(
        matches!(local.specifier, Some(data_source::Specifier::Filename(name)) if name.ends_with(code))
    );
    let text = StringValue::decode(plugin.configuration.expect("a configuration").value.as_slice())
        .expect("a string");
    serde_json::from_str(&text.value).expect("JSON")
}

#[tokio::test]
async fn a_policy_is_delivered_when_it_is_valid_and_live_when_it_changes() {
    let (server, _agent) = started(ABC).await;
    let client = server.client().await;
    let (mut for_http, mut for_postgres) =
        (client.extensions(&["signet.http"]).await, client.extensions(&["signet.postgres"]).await);
    assert!(for_http.is_silent().await, "listeners stay warming without a policy");

    std::fs::write(server.at("policy.yaml"), policy("/one")).expect("written");
    let first = slice(&for_http.accept().await.extension(), "/filter.wasm");
    assert_eq!(first["workload"], "spiffe://example.org/api");
    assert_eq!(first["http"][0]["name"], "reads");
    assert_eq!(first["filter"]["denial_detail"], "rule");
    let other = slice(&for_postgres.accept().await.extension(), "/this.wasm");
    assert!(other.get("http").is_none() && other.get("filter").is_none(), "{other}");
    server.wait_for_readiness(200, "").await;

    std::fs::write(server.at("policy.yaml"), policy("/two")).expect("written");
    let second = slice(&for_http.accept().await.extension(), "/filter.wasm");
    assert_ne!(first["http"], second["http"]);
    assert!(for_postgres.is_silent().await, "nothing changed there");
}

#[tokio::test]
async fn a_faulty_policy_leaves_the_last_good_one_in_force() {
    let (server, _agent) = started(ABC).await;
    let mut stream = server.client().await.extensions(&["signet.http"]).await;
    std::fs::write(server.at("policy.yaml"), policy("/one")).expect("written");
    stream.accept().await;

    let rejected = || server.metric("signet_policy_load_total{result=\"rejected\"}");
    let before = rejected().expect("the file was missing at first");
    let faulty =
        policy("/one").replace("from: [client]", "from: [cliemt]").replace("methods:", "mehtods:");
    // In one step, so that it is read once.
    std::fs::write(server.at("policy.new"), faulty).expect("written");
    std::fs::rename(server.at("policy.new"), server.at("policy.yaml")).expect("renamed");
    server.wait_for_readiness(200, "2 faults").await;
    assert!(stream.is_silent().await);
    let log = server.log();
    assert!(log.contains("cliemt") && log.contains("mehtods"), "all faults are logged");
    assert_eq!(rejected(), Some(before + 1));
    let mut late = server.client().await.extensions(&["signet.http"]).await;
    assert_eq!(slice(&late.accept().await.extension(), "/filter.wasm")["http"][0]["name"], "reads");

    std::fs::write(server.at("policy.yaml"), policy("/two")).expect("written");
    stream.accept().await;
    assert_eq!(server.readiness()["warnings"], serde_json::json!([]));
}

#[tokio::test]
async fn another_identitys_slice_is_chosen_by_its_id() {
    let (server, agent) = started(ABC).await;
    let authority = Authority::new("example.org");
    let [api, client, stranger] =
        ["/api", "/client", "/x"].map(|path| format!("spiffe://example.org{path}"));
    // The smaller one is the default, and stays it.
    let [first, second] = ["/api", "/client"].map(|path| Identity::new(&authority, path, HOUR));
    agent.issue(&[&first, &second], &[]);
    std::fs::write(server.at("policy.yaml"), policy("/one")).expect("written");
    let envoy = server.client().await;
    for (name, workload, rules) in [
        ("signet.http".to_owned(), &api, 1),
        (format!("signet.http?id={api}"), &api, 1),
        (format!("signet.http?id={client}"), &client, 0),
    ] {
        let extension = envoy.extensions(&[&name]).await.accept().await.extension();
        assert_eq!(extension.name, name);
        // Two slices in one Envoy share no VM: `slice` finds the name in the VM's ID.
        let slice = slice(&extension, "/filter.wasm");
        assert_eq!(slice["workload"], **workload);
        assert_eq!(slice["http"].as_array().map_or(0, Vec::len), rules, "{slice}");
    }
    let unknown = format!("signet.http?id={stranger}");
    assert!(envoy.extensions(&[&unknown]).await.is_silent().await, "not issued here");
}

/// Those who are connected by the trust that goes with it hear of it before.
#[tokio::test]
async fn what_comes_to_a_withdrawn_identity_is_denied_wherever_its_envoys_are() {
    const ID: &str = "spiffe://example.org/api";
    let directory = tempfile::tempdir().expect("a directory");
    let allow = "[{ peer: spiffe://example.org/edge, names: [signet.http] }]";
    let listen = format!("tcp: {{ address: '127.0.0.1:0', allow: {allow} }}");
    let server = Server::start_listening(directory, &listen, &config(ABC)).await;
    std::fs::write(server.at("filter.wasm"), "abc").expect("written");
    std::fs::write(server.at("policy.yaml"), policy("/one")).expect("written");
    let agent = Agent::serve(&server.at("agent.sock"));
    let authority = Authority::new("example.org");
    agent.issue(&[&Identity::new(&authority, "/api", HOUR)], &[]);
    server.wait_for_readiness(200, "").await;
    let edge = authority.pair("/edge", HOUR);
    let remote = Client::over_tls(server.tcp_address().await, Some(&edge)).await.expect("let in");
    let (here, names) = (server.client().await, ["signet.http"]);
    let mut streams = [here.extensions(&names).await, remote.extensions(&names).await];
    for stream in &mut streams {
        let slice = slice(&stream.accept().await.extension(), "/filter.wasm");
        assert_eq!(slice["http"][0]["name"], "reads");
    }
    agent.withdraw();
    for stream in &mut streams {
        let slice = slice(&stream.accept().await.extension(), "/filter.wasm");
        assert_eq!((&slice["withdrawn"][0], &slice["http"]), (&ID.into(), &Value::Null));
    }
    let withdrawn = &told_all(&server)["withdrawn"][0];
    assert_eq!(withdrawn["spiffe_id"], ID);
    eventually("the page says so", async || {
        server.get("/").1.contains("denies everything").then_some(())
    })
    .await;
    assert!(server.log().contains("this filter is told to deny everything"));
    assert_eq!(server.metric("signet_withdrawn_slices_total"), Some(1));

    // To deny everything needs no policy.
    std::fs::write(server.at("policy.yaml"), "no policy").expect("written");
    let mut late = here.extensions(&names).await;
    let denied = slice(&late.accept().await.extension(), "/filter.wasm");
    assert_eq!(denied["withdrawn"][0], ID);
    agent.issue(&[&Identity::new(&authority, "/api", HOUR)], &[]);
    for stream in [&mut streams[0], &mut late] {
        let slice = slice(&stream.accept().await.extension(), "/filter.wasm");
        assert_eq!(slice["http"][0]["name"], "reads", "the last good policy");
        assert_eq!(slice.get("withdrawn"), None);
    }
}

#[tokio::test]
async fn a_config_maps_switch_is_live() {
    let (server, _agent) = started(ABC).await;
    let mut stream = server.client().await.extensions(&["signet.http"]).await;
    for (generation, path) in [("..1", "/one"), ("..2", "/two"), ("..3", "/three")] {
        std::fs::create_dir(server.at(generation)).expect("made");
        std::fs::write(server.at(generation).join("policy.yaml"), policy(path)).expect("written");
        symlink(generation, server.at("..data_tmp")).expect("linked");
        std::fs::rename(server.at("..data_tmp"), server.at("..data")).expect("switched");
        if generation == "..1" {
            symlink("..data/policy.yaml", server.at("policy.yaml")).expect("linked");
        }
        let slice = slice(&stream.accept().await.extension(), "/filter.wasm");
        assert!(slice["http"].to_string().contains(path), "{slice}");
    }
}

#[tokio::test]
async fn code_that_was_not_meant_is_not_delivered_until_it_is_right() {
    let (server, _agent) = started(ABC).await;
    std::fs::write(server.at("filter.wasm"), "abd").expect("written");
    std::fs::write(server.at("policy.yaml"), policy("/one")).expect("written");
    server.wait_for_readiness(503, "has sha256").await;
    let client = server.client().await;
    let mut stream = client.extensions(&["signet.http"]).await;
    assert!(stream.is_silent().await);
    client.extensions(&["signet.postgres"]).await.accept().await;
    std::fs::write(server.at("filter.wasm"), "abc").expect("written");
    stream.accept().await;
    server.wait_for_readiness(200, "").await;
}

/// All that operators are told.
fn told_all(server: &Server) -> Value {
    serde_json::from_str(&server.get("/status").1).expect("JSON")
}

/// What operators are told of a filter that a node was sent.
fn told(server: &Server, node: &str) -> Option<Value> {
    let status = told_all(server);
    let envoys = status["envoys"].as_array()?;
    Some(envoys.iter().find(|envoy| envoy["node"] == node)?["resources"][0].clone())
}

#[tokio::test]
async fn a_filter_that_one_envoy_refuses_is_told_and_sent_to_the_others() {
    let (server, _agent) = started(ABC).await;
    std::fs::write(server.at("policy.yaml"), policy("/one")).expect("written");
    let client = server.client().await;
    let filter = ["signet.http"];
    let mut first = client.extensions_as("first", &filter, "").await;
    first.accept().await;
    let good = eventually("the answer is told", async || {
        told(&server, "first")?["acknowledged"]["version"].as_str().map(str::to_owned)
    })
    .await;
    std::fs::write(server.at("policy.yaml"), policy("/two")).expect("written");
    let refused = first.next().await;
    first.answer(&refused, Some("the module traps"));

    let entry = eventually("the refusal is told", async || {
        told(&server, "first").filter(|entry| !entry["refused"].is_null())
    })
    .await;
    assert_eq!(
        (&entry["name"], &entry["acknowledged"]["version"]),
        (&filter[0].into(), &good.into())
    );
    assert_eq!(entry["refused"]["reason"], "the module traps");
    let version = &entry["refused"]["version"];
    assert_eq!(&entry["sent"]["version"], version);
    assert_eq!(server.metric("signet_xds_nacks_total{type=\"extension\"}"), Some(1));
    let page = server.get("/").1;
    assert!(page.contains("Quarantined") && page.contains("the module traps"), "{page}");
    let log = server.log();
    let line = log.lines().find(|line| line.contains("the module traps")).expect("logged");
    let line: Value = serde_json::from_str(line).expect("JSON");
    assert_eq!((&line["level"], &line["type"]), (&"WARN".into(), &"extension".into()));
    assert_eq!((&line["name"], &line["node"]), (&filter[0].into(), &"first".into()));

    // Of the same user, another node: it is asked for itself.
    let mut second = client.extensions_as("second", &filter, "").await;
    assert_eq!(second.accept().await.extension(), refused.extension());
    eventually("its answer is told", async || {
        told(&server, "second").filter(|entry| entry["acknowledged"]["version"] == *version)
    })
    .await;
    let mut again = client.extensions_as("first", &filter, &first.version).await;
    assert!(again.is_silent().await, "withheld across reconnects");
    std::fs::write(server.at("policy.yaml"), policy("/three")).expect("written");
    let next = first.accept().await.extension();
    for stream in [&mut again, &mut second] {
        assert_eq!(stream.accept().await.extension(), next);
    }
}

/// A restart of either end is no reason to send anything again, and no reason to lose sight of an Envoy.
#[tokio::test]
async fn an_envoy_that_comes_back_with_what_is_served_is_shown_with_its_policy() {
    let (server, _agent) = started(ABC).await;
    std::fs::write(server.at("policy.yaml"), policy("/one")).expect("written");
    let filter = ["signet.http"];
    let mut before = server.client().await.extensions_as("before", &filter, "").await;
    before.accept().await;
    let back = server.client().await;
    let mut stream = back.extensions_as("back", &filter, &before.version).await;
    let entry = eventually("it is told", async || told(&server, "back")).await;
    assert!(entry["sent"].is_null() && entry["acknowledged"]["version"].is_string(), "{entry}");
    let status = told_all(&server);
    let envoys = status["envoys"].as_array().expect("a list");
    let envoy = envoys.iter().find(|envoy| envoy["node"] == "back").expect("there");
    assert_eq!(envoy["policies"][filter[0]], status["policy"]["digest"], "{envoy}");
    let page = server.get("/").1;
    assert!(page.contains("before it connected") && !page.contains("Nothing was sent"), "{page}");
    std::fs::write(server.at("policy.yaml"), policy("/two")).expect("written");
    stream.accept().await;
    eventually("what it is sent is told", async || {
        let entry = told(&server, "back")?;
        (entry["sent"]["version"] == entry["acknowledged"]["version"]).then_some(())
    })
    .await;
}
