//! The demo's story, asserted: on both identity sources and both ends of Postgres' supported range.
//! Each wall is then taken out, and the same observation is seen to be another.

#[allow(dead_code, reason = "each test program uses a part")]
#[path = "../../sds-server/tests/support/aim.rs"]
mod aim;

use std::time::Duration;

use e2e::{
    Mesh, MeshPlan, PostgresVersion, SourceKind, Workload,
    bootstrap::holders,
    http::Ask,
    story::{
        Attempt, FORGED, Read, SHADOW, connects, forges, is_denied, new_customer, no_session_of,
        policy_is_edited, reads_customers, rotates_under_load,
    },
};
use serde_json::Value;

use PostgresVersion::{V15, V18};
use SourceKind::{DevAgent, Spire};

fn as_it_should_read() -> Read {
    Read {
        status: 200,
        rows: 3,
        caller: Workload::Client.spiffe_id(),
        rule: "client-reads-customers".to_owned(),
        session_user: "api".to_owned(),
        current_user: "customers_reader".to_owned(),
    }
}

/// Points 2, 3, 4 and 6.
async fn the_walls_stand(mesh: &Mesh) {
    assert_eq!(reads_customers(mesh, Workload::Client).await.unwrap(), as_it_should_read());
    // Another workload of the trust domain, with a sidecar like the client's, has no rule.
    assert_eq!(reads_customers(mesh, Workload::Report).await.unwrap().status, 403);

    let denial = is_denied(mesh, "DELETE", "/audit/1").await.unwrap();
    assert_eq!((denial.status, denial.logged_rule.as_str()), (403, "nobody-deletes-audit"));
    assert_eq!(denial.logged_decision, "deny");
    assert_eq!(denial.logged_caller, Workload::Client.spiffe_id());
    assert_eq!(denial.logged_details, "signet.deny.denied_by_rule");
    // By what the caller was told, its line is found.
    let [told, logged] = &denial.request_ids;
    assert!(!told.is_empty() && told == logged, "{denial:?}");

    for forgery in FORGED {
        let read = forges(mesh, forgery).await.unwrap();
        if forgery.0.contains('_') {
            assert_eq!(read.status, 400, "{forgery:?}");
        } else {
            assert_eq!(read, as_it_should_read(), "{forgery:?}");
        }
    }

    assert!(is_refused(&connects(mesh, Workload::Client, "api").await.unwrap()));
    assert!(is_refused(&connects(mesh, Workload::Api, "postgres").await.unwrap()));
    let report = connects(mesh, Workload::Report, "postgres").await.unwrap();
    assert_eq!(report.session_user.as_deref(), Some("customers_reader"), "{report:?}");
    assert_eq!(report.logged_rule, "report-reads");
    assert_eq!(report.logged_role, "customers_reader");
    let chosen = connects(mesh, Workload::Api, "customers_writer").await.unwrap();
    assert_eq!(chosen.session_user.as_deref(), Some("customers_writer"), "{chosen:?}");

    let edit = policy_is_edited(mesh, (SHADOW, ""), new_customer()).await.unwrap();
    assert_eq!((edit.before, edit.after), (403, 201));
    aim::told_time("an edit of the policy is in force", edit.took, Duration::from_secs(2));
}

/// A real ErrorResponse, and no backend.
fn is_refused(attempt: &Attempt) -> bool {
    attempt.sqlstate.as_deref() == Some("28000") && attempt.forked == 0
}

async fn rotations_are_not_noticed(mesh: &Mesh) {
    let rotation = rotates_under_load(mesh, 2, |_| {}).await.unwrap();
    assert_eq!(rotation.tally.failures, Vec::<String>::new());
    // Enough to have met the rotations; how many fit in says how busy the machine is.
    assert!(rotation.tally.requests > 10 && rotation.tally.sessions > 2, "{:?}", rotation.tally);
    assert!(rotation.fewest() >= 3, "{:?}", rotation.serials);
}

async fn the_whole_story(source: SourceKind, postgres: PostgresVersion) {
    let mesh = MeshPlan::new(source, postgres).max_connection_duration(5).start().await.unwrap();
    the_walls_stand(&mesh).await;
    rotations_are_not_noticed(&mesh).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_dev_agent_and_postgres_15() {
    the_whole_story(DevAgent, V15).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_dev_agent_and_postgres_18() {
    the_whole_story(DevAgent, V18).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_spire_and_postgres_18() {
    the_whole_story(Spire, V18).await;
}

/// A cheaper half of the fourth combination: SPIRE's rotations take a minute.
#[tokio::test(flavor = "multi_thread")]
async fn walls_with_spire_and_postgres_15() {
    let mesh = MeshPlan::new(Spire, V15).start().await.unwrap();
    the_walls_stand(&mesh).await;
}

async fn mutated(workload: Workload, change: impl FnOnce(&mut Value) + Send + 'static) -> Mesh {
    MeshPlan::new(DevAgent, V15).mutate(workload, change).start().await.unwrap()
}

/// Takes the filters with this name out of every chain.
fn without(configuration: &mut Value, list: &str, name: &str) {
    holders(configuration, list, &mut |chain| {
        if let Some(filters) = chain[list].as_array_mut() {
            filters.retain(|filter| filter["name"] != name);
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_http_filter_nobody_reads() {
    let mesh = mutated(Workload::Api, |it| without(it, "http_filters", "signet.http")).await;
    // The second wall asks for the filter's word: what is missing denies.
    assert_eq!(reads_customers(&mesh, Workload::Client).await.unwrap().status, 403);
}

/// Takes our filter out, and the wall behind it that would notice.
fn without_both_walls(configuration: &mut Value) {
    without(configuration, "http_filters", "signet.http");
    without(configuration, "http_filters", "envoy.filters.http.rbac");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_both_walls_denials_and_identity_are_gone() {
    let mesh = mutated(Workload::Api, without_both_walls).await;
    let denial = is_denied(&mesh, "DELETE", "/audit/1").await.unwrap();
    assert_ne!((denial.status, denial.logged_rule.as_str()), (403, "nobody-deletes-audit"));
    assert_ne!(reads_customers(&mesh, Workload::Client).await.unwrap(), as_it_should_read());
    // The forged header arrives.
    let (header, value) = FORGED[0];
    let forged = Ask::get("/whoami").header(header, value);
    let reply = forged.unix(&mesh.http_socket(Workload::Client)).await.unwrap();
    assert!(reply.body.contains(value), "{}", reply.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_underscores_are_allowed_a_forged_twin_gets_through_envoy() {
    let allow = |configuration: &mut Value| {
        without_both_walls(configuration);
        let key = "headers_with_underscores_action";
        holders(configuration, key, &mut |options| options[key] = "ALLOW".into());
    };
    let mesh = MeshPlan::new(DevAgent, V15)
        .mutate(Workload::Client, allow)
        .mutate(Workload::Api, allow)
        .start()
        .await
        .unwrap();
    let (header, value) = FORGED[2];
    let forged = Ask::get("/whoami").header(header, value);
    let reply = forged.unix(&mesh.http_socket(Workload::Client)).await.unwrap();
    assert!(reply.body.contains(header), "{}", reply.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_postgres_filter_nobody_gets_a_role() {
    let mesh = mutated(Workload::Db, |it| without(it, "filters", "signet.postgres")).await;
    // The proxy's own cluster is deny, so what is missing denies, without a word of ours.
    let stranger = connects(&mesh, Workload::Client, "api").await.unwrap();
    assert!(!is_refused(&stranger) && stranger.forked == 0, "{stranger:?}");
    let report = connects(&mesh, Workload::Report, "postgres").await.unwrap();
    assert_ne!(report.session_user.as_deref(), Some("customers_reader"));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_an_empty_policy_nobody_reads() {
    let empty = "version: 1\ntrust_domain: example.org\n";
    let mesh = MeshPlan::new(DevAgent, V15).policy(empty).start().await.unwrap();
    assert_eq!(reads_customers(&mesh, Workload::Client).await.unwrap().status, 403);
    let denial = is_denied(&mesh, "DELETE", "/audit/1").await.unwrap();
    assert_ne!(denial.logged_rule, "nobody-deletes-audit");
    let report = connects(&mesh, Workload::Report, "postgres").await.unwrap();
    assert!(is_refused(&report), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_certificates_swapped_rights_are_swapped() {
    let mesh = MeshPlan::new(DevAgent, V15)
        .certificate_of(Workload::Client, Workload::Report)
        .certificate_of(Workload::Report, Workload::Client)
        .start()
        .await
        .unwrap();
    assert_eq!(reads_customers(&mesh, Workload::Client).await.unwrap().status, 403);
    assert_eq!(reads_customers(&mesh, Workload::Report).await.unwrap(), as_it_should_read());
    let forked = mesh.postgres.backends_forked();
    let report =
        e2e::postgres::connect(&mesh.sidecar(Workload::Report).directory, "postgres", "customers");
    assert!(report.await.is_err());
    assert_eq!(mesh.postgres.backends_forked(), forked);
    no_session_of(&mesh, "customers_reader").await.unwrap();
}
