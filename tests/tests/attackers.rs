//! Who must not get in: each with a certificate that is wrong in one way, against the ingress of
//! the API and that of the database. The valid one gets in, so the same assertions fail for it.

use e2e::{
    FetchedSvid, Mesh, MeshPlan, PostgresVersion, SourceKind, Workload,
    bootstrap::holders,
    http::Ask,
    startup::{Answer, ask, message},
    tls::{Impostor, TlsCaller},
};

const FOREIGN_ID: &str = "spiffe://other.example/ns/client-ns/sa/client";

/// What is wrong with a certificate, in the words of dev-agent's `mint`.
const WRONG: &[&[&str]] = &[
    &["--variant", "expired"],
    &["--variant", "not-yet-valid"],
    &["--variant", "two-uri-sans"],
    &["--variant", "two-uri-sans", "--other", FOREIGN_ID],
    &["--variant", "other-id", "--other", FOREIGN_ID],
    &["--variant", "federated", "--other", FOREIGN_ID],
    &["--variant", "foreign-ca"],
    &["--variant", "cn-only"],
    &["--variant", "ca-leaf"],
];

/// True if the API's ingress serves this certificate's holder.
async fn reads_customers(mesh: &Mesh, svid: Option<&FetchedSvid>) -> bool {
    let caller = TlsCaller::new(svid, "http/1.1").unwrap();
    let Ok(handshake) = caller.connect(mesh.ingress(Workload::Api)).await else { return false };
    let reply = Ask::get("/customers").on(handshake.stream).await;
    reply.is_ok_and(|reply| reply.status == 200)
}

/// True if the database's ingress lets this certificate's holder log in.
async fn logs_in(mesh: &Mesh, svid: Option<&FetchedSvid>) -> bool {
    let caller = TlsCaller::new(svid, "postgresql").unwrap();
    let Ok(handshake) = caller.connect(mesh.ingress(Workload::Db)).await else { return false };
    let packet = message(&[("user", "api"), ("database", "customers")]);
    let mut stream = handshake.stream;
    ask(&mut stream, &[&packet]).await.is_ok_and(|answer| answer == Answer::Welcome)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_certificate_gets_in_nowhere() {
    let mesh = MeshPlan::new(SourceKind::DevAgent, PostgresVersion::V15).start().await.unwrap();
    let agent = mesh.source.dev_agent().unwrap();
    agent.control(&mesh.stage, &["federate", "--trust-domain", "other.example"]).unwrap();
    let mint = |workload, fault: &[&str]| agent.mint(&mesh.stage, workload, fault).unwrap();

    // The counterpart: with nothing wrong, both let them in.
    assert!(reads_customers(&mesh, Some(&mint(Workload::Client, &[]))).await);
    assert!(logs_in(&mesh, Some(&mint(Workload::Report, &[]))).await);

    let forked = mesh.postgres.backends_forked();
    for fault in WRONG {
        assert!(!reads_customers(&mesh, Some(&mint(Workload::Client, fault))).await, "{fault:?}");
        assert!(!logs_in(&mesh, Some(&mint(Workload::Report, fault))).await, "{fault:?}");
    }
    assert!(!reads_customers(&mesh, None).await, "no certificate");
    assert!(!logs_in(&mesh, None).await, "no certificate");
    let plain = Ask::get("/customers").tcp(mesh.ingress(Workload::Api)).await;
    assert!(!plain.is_ok_and(|reply| reply.status == 200), "plaintext");
    assert_eq!(mesh.postgres.backends_forked(), forked);
}

/// With Envoy's own check of certificates gone, most of them do.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_validator_wrong_certificates_get_in() {
    let mesh = MeshPlan::new(SourceKind::DevAgent, PostgresVersion::V15)
        .mutate(Workload::Api, |configuration| {
            holders(configuration, "validation_context_sds_secret_config", &mut |context| {
                if context.get("tls_certificate_sds_secret_configs").is_some() {
                    let context = context.as_object_mut().unwrap();
                    context.remove("validation_context_sds_secret_config");
                    context.insert(
                        "validation_context".to_owned(),
                        serde_json::json!({ "trust_chain_verification": "ACCEPT_UNTRUSTED" }),
                    );
                }
            });
        })
        .start()
        .await
        .unwrap();
    let agent = mesh.source.dev_agent().unwrap();
    let forged = agent.mint(&mesh.stage, Workload::Client, &["--variant", "foreign-ca"]).unwrap();
    assert!(reads_customers(&mesh, Some(&forged)).await);
}

/// The same certificate before and after its end, on one TLS client that resumes what it can.
struct Resumption {
    before: bool,
    resumed: bool,
    after: bool,
}

async fn returns_after_expiry(mesh: &Mesh) -> Resumption {
    let agent = mesh.source.dev_agent().unwrap();
    let svid = agent.mint(&mesh.stage, Workload::Client, &["--ttl", "4s"]).unwrap();
    let caller = TlsCaller::new(Some(&svid), "http/1.1").unwrap();
    let ingress = mesh.ingress(Workload::Api);
    let first = caller.connect(ingress).await.unwrap();
    let before = Ask::get("/customers").on(first.stream).await.unwrap().status == 200;
    svid.expired().await.unwrap();
    let (resumed, after) = match caller.connect(ingress).await {
        Err(_) => (false, false),
        Ok(second) => {
            let reply = Ask::get("/customers").on(second.stream).await;
            (second.resumed, reply.is_ok_and(|reply| reply.status == 200))
        }
    };
    Resumption { before, resumed, after }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_gets_in_by_no_handshake() {
    let mesh = MeshPlan::new(SourceKind::DevAgent, PostgresVersion::V15).start().await.unwrap();
    let seen = returns_after_expiry(&mesh).await;
    assert!(seen.before);
    assert!(!seen.resumed);
    assert!(!seen.after);
}

/// Without the two switches the resumed session skips the certificate, and it gets in.
#[tokio::test(flavor = "multi_thread")]
async fn with_session_resumption_an_expired_certificate_gets_in() {
    let mesh = MeshPlan::new(SourceKind::DevAgent, PostgresVersion::V15)
        .mutate(Workload::Api, |configuration| {
            for switch in
                ["disable_stateless_session_resumption", "disable_stateful_session_resumption"]
            {
                holders(configuration, switch, &mut |context| context[switch] = false.into());
            }
        })
        .start()
        .await
        .unwrap();
    let seen = returns_after_expiry(&mesh).await;
    assert!(seen.before);
    assert!(seen.resumed);
    assert!(seen.after);
}

/// The client's answer, and what reached the impostor.
struct Misled {
    status: u16,
    connections: u64,
    bytes: u64,
}

async fn asks_an_impostor(mesh: &Mesh, name: &str, checked: bool) -> Misled {
    let svid = mesh.source.fetch(&mesh.stage, Workload::Report).unwrap();
    let impostor = Impostor::listen(mesh.stage.address, &svid).await.unwrap();
    let misled = mesh.misled_client(name, impostor.address(), |configuration| {
        if !checked {
            let key = "match_typed_subject_alt_names";
            holders(configuration, key, &mut |context| {
                context.as_object_mut().unwrap().remove(key);
            });
        }
    });
    let (_envoy, directory) = misled.await.unwrap();
    let post = Ask::new("POST", "/customers").header("authorization", "Bearer a-secret");
    let patience = std::time::Duration::from_secs(3);
    let reply = tokio::time::timeout(patience, post.unix(&directory.join("http.sock"))).await;
    let status = reply.ok().and_then(Result::ok).map_or(0, |reply| reply.status);
    // Postgres has nothing to say 503 with; it is cut off.
    let database = e2e::postgres::connect(&directory, "customers_reader", "customers");
    let _ = tokio::time::timeout(patience, database).await;
    Misled { status, connections: impostor.connections(), bytes: impostor.bytes() }
}

async fn a_wrong_server_gets_not_a_byte(source: SourceKind) {
    let mesh = MeshPlan::new(source, PostgresVersion::V15).start().await.unwrap();
    let seen = asks_an_impostor(&mesh, "misled", true).await;
    assert!(seen.connections > 1);
    assert_eq!((seen.status, seen.bytes), (503, 0));
    // Without the check of the name, any workload of the trust domain can pose as the API.
    let seen = asks_an_impostor(&mesh, "trusting", false).await;
    assert!(seen.bytes > 0);
    assert_ne!(seen.status, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_server_gets_not_a_byte_with_dev_agent() {
    a_wrong_server_gets_not_a_byte(SourceKind::DevAgent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_server_gets_not_a_byte_with_spire() {
    a_wrong_server_gets_not_a_byte(SourceKind::Spire).await;
}
