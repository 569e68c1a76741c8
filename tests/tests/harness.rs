//! The harness itself: identity sources and Postgres come up, and are what they say.

use e2e::{
    IdentitySource, Postgres, PostgresVersion, SourceKind, Stage, TRUST_DOMAIN, Workload, postgres,
};

async fn every_workload_gets_its_identity(kind: SourceKind) {
    let stage = Stage::set(None).unwrap();
    let source = IdentitySource::start(&stage, kind, 60).await.unwrap();
    for workload in Workload::ALL {
        let leaf = source.fetch(&stage, workload).unwrap().leaf().unwrap();
        assert_eq!(leaf.spiffe_id, format!("spiffe://{TRUST_DOMAIN}{}", workload.path()));
    }
}

#[tokio::test]
async fn dev_agent_identifies_every_workload() {
    every_workload_gets_its_identity(SourceKind::DevAgent).await;
}

#[tokio::test]
async fn spire_identifies_every_workload() {
    every_workload_gets_its_identity(SourceKind::Spire).await;
}

async fn only_the_mapped_user_gets_in(version: PostgresVersion) {
    let stage = Stage::set(None).unwrap();
    let server = Postgres::start(&stage, version).await.unwrap();
    let count = server.sql(&stage, "customers", "select count(*) > 0 from customers").unwrap();
    assert_eq!(count, "t");
    let forked = server.backends_forked();
    assert!(forked > 0);
    // We are not the Envoy in front of Postgres, so no role is ours.
    assert!(stage.accounts.strangers().unwrap().contains(&&stage.accounts.harness));
    assert!(postgres::connect(server.directory(), "api", "customers").await.is_err());
    assert_eq!(server.backends_forked(), forked + 1);
}

#[tokio::test]
async fn postgres_15_knows_its_clients_by_their_user() {
    only_the_mapped_user_gets_in(PostgresVersion::V15).await;
}

#[tokio::test]
async fn postgres_18_knows_its_clients_by_their_user() {
    only_the_mapped_user_gets_in(PostgresVersion::V18).await;
}
