//! One line per session: in Envoy's access log, in the filter's log, and joined with Postgres' own by the backend's number.

use e2e::{Mesh, PATIENCE, PostgresVersion, Workload, startup::message, until};

use crate::scene::{POLICY, Wire, mesh, svid};

async fn a_session_is_accounted_for(version: PostgresVersion) {
    let mesh = mesh(version, POLICY).await;
    let envoy = &mesh.sidecar(Workload::Db).envoy;
    let mut wire = Wire::session(&mesh, &svid(&mesh, Workload::Api)).await;
    let pid = wire.value("select pg_backend_pid()").await;
    // What the client can change is no evidence.
    wire.value("set signet.spiffe_id = 'forged'").await;
    wire.value("set application_name = 'forged'").await;
    wire.send(b"X\0\0\0\x04").await;
    assert_eq!(wire.last_word().await, None);
    drop(wire);

    let line = envoy.logged(0, |line| line["backend"] == pid.as_str()).await.unwrap();
    let api = Workload::Api.spiffe_id();
    for (key, expected) in [
        ("spiffe_id", api.as_str()),
        ("decision", "allow"),
        ("rule", "api-writes"),
        ("role", "customers_reader"),
        ("database", "customers"),
        ("cluster", "postgres"),
    ] {
        assert_eq!(line[key], expected, "{key} of {line}");
    }
    for key in ["time", "end_time", "peer_address", "session_id"] {
        assert!(line[key].is_string() || line[key].is_number(), "{key} of {line}");
    }
    for key in ["received", "sent", "milliseconds"] {
        assert!(line[key].as_u64() > Some(0), "{key} of {line}");
    }
    let end = line["end"].as_str().unwrap();
    assert!(["client_left", "postgres_left"].contains(&end), "{line}");

    // The filter's own line says the same; it may come a moment later.
    let session = format!("session {} of {api}: ", line["session_id"]);
    let [begins, over] = until("both lines of the filter", PATIENCE, async || {
        let log = envoy.log();
        let told = log.lines().filter(|line| line.contains(&session)).map(str::to_owned);
        let told: Vec<String> = told.collect();
        <[String; 2]>::try_from(told).map_err(|told| anyhow::anyhow!("{told:#?}"))
    })
    .await
    .unwrap();
    assert!(begins.contains(&format!("backend {pid}")), "{begins}");
    let account = format!(
        r#"session over: rule="api-writes" role="customers_reader" database="customers" backend={pid} start="#
    );
    assert!(over.contains(&account) && over.contains(&format!("reason={end} received=")), "{over}");

    // Postgres tells of the same backend who was let in, and as what.
    let log = mesh.postgres.log();
    let authorized = format!(
        "[{pid}] customers_reader@customers LOG:  connection authorized: user=customers_reader"
    );
    let line = log.lines().find(|line| line.contains(&authorized)).expect("not authorized");
    assert!(line.contains(&format!("application_name={api}")), "{line}");
    assert!(log.contains(&format!("[{pid}] customers_reader@customers LOG:  disconnection")));
    the_name_of_an_application_is_logged_whole(&mesh).await;
    who_connects_through_a_sidecar_is_accounted_for_alike(&mesh).await;
}

/// A session's own name is cut at 63 bytes; the log has what the client said.
async fn the_name_of_an_application_is_logged_whole(mesh: &Mesh) {
    let name = "x123456789".repeat(10);
    let mut wire = Wire::connect(mesh, &svid(mesh, Workload::Api)).await;
    let asked =
        [("user", "customers_reader"), ("database", "customers"), ("application_name", &name)];
    wire.send(&message(&asked)).await;
    wire.ready().await;
    assert_eq!(wire.value("show application_name").await, name[..63]);
    let pid = wire.value("select pg_backend_pid()").await;
    let authorized = format!("[{pid}] customers_reader@customers LOG:  connection authorized: ");
    let log = mesh.postgres.log();
    let line = log.lines().find(|line| line.contains(&authorized)).expect("not authorized");
    let whole = format!("application_name={name}");
    assert!(line.split(' ').any(|word| word == whole), "{line}");
}

async fn who_connects_through_a_sidecar_is_accounted_for_alike(mesh: &Mesh) {
    let directory = &mesh.sidecar(Workload::Report).directory;
    let client = e2e::postgres::connect(directory, "anybody", "customers").await.unwrap();
    let row = client.query_one("select pg_backend_pid(), session_user::text", &[]).await.unwrap();
    let (pid, user): (i32, String) = (row.get(0), row.get(1));
    assert_eq!(user, "customers_reader");
    drop(client);
    let envoy = &mesh.sidecar(Workload::Db).envoy;
    let line = envoy.logged(0, |line| line["backend"] == pid.to_string().as_str()).await.unwrap();
    assert_eq!(
        (&line["rule"], &line["role"]),
        (&"report-reads".into(), &"customers_reader".into())
    );
    assert_eq!(line["spiffe_id"], Workload::Report.spiffe_id().as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_accounted_for_with_postgres_15() {
    a_session_is_accounted_for(PostgresVersion::V15).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_accounted_for_with_postgres_18() {
    a_session_is_accounted_for(PostgresVersion::V18).await;
}
