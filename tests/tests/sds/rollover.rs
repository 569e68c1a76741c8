//! SPIRE's CA rolls over, step by step, while requests run.

use anyhow::{Context, Result, ensure};
use e2e::{
    FetchedSvid, Launch, PATIENCE, PairPlan, SdsServer, Spire, Stage, Workload, tls::TlsCaller,
    until,
};
use serde_json::Value;

use crate::ground::socket_of;

#[tokio::test(flavor = "multi_thread")]
async fn spires_ca_is_replaced_and_revoked() {
    let stage = Stage::set(None).unwrap();
    let spire = Spire::start(&stage, 3600).await.unwrap();
    let serve = |workload: Workload| {
        let program = Spire::program(&stage, workload, "sds-server");
        SdsServer::of_secrets(
            &stage,
            workload.name(),
            &program,
            &spire.socket(),
            "rotation: { hold: 1s }",
        )
    };
    let (server, client) = (serve(Workload::Api).unwrap(), serve(Workload::Client).unwrap());
    let pair = PairPlan::new("pair", &socket_of(&server), &socket_of(&client))
        .start(&stage)
        .await
        .unwrap();
    let authority = |command: &[&str]| spire.control(&stage, command);
    // What a client of the old CA holds, who keeps it when it should not.
    let fetch = Spire::program(&stage, Workload::Client, "fetch-svid");
    let printed =
        Launch::new("fetch-svid", fetch, &stage.accounts.mesh).arg(spire.socket()).output();
    let stolen = FetchedSvid::read(&printed.unwrap()).unwrap();
    assert!(is_let_in(&pair, &stolen).await);

    let load = pair.knock();
    let old = pair.presented().await.unwrap();
    let old_client = pair.client_serial().await.unwrap();
    let active = authority_of(
        &authority(&["localauthority", "x509", "show", "-output", "json"]).unwrap(),
        "active",
    )
    .unwrap();
    let prepared = authority(&["localauthority", "x509", "prepare", "-output", "json"]).unwrap();
    let prepared = authority_of(&prepared, "prepared_authority").unwrap();
    authority(&["localauthority", "x509", "activate", "-authorityID", &prepared]).unwrap();
    authority(&["localauthority", "x509", "taint", "-authorityID", &active]).unwrap();
    until("both ends present a leaf of the new CA", PATIENCE, async || {
        let leaf = pair.presented().await?;
        ensure!(leaf.authority != old.authority, "the answering end does not");
        ensure!(pair.client_serial().await? != old_client, "the asking end does not");
        Ok(())
    })
    .await
    .unwrap();
    load.goes_on(20).await.unwrap();
    assert_eq!(load.stop().await.unwrap(), Vec::<String>::new());
    assert!(is_let_in(&pair, &stolen).await, "tainted is not revoked");

    authority(&["localauthority", "x509", "revoke", "-authorityID", &active]).unwrap();
    until("a leaf of the old CA is refused", PATIENCE, async || {
        ensure!(!is_let_in(&pair, &stolen).await, "it is let in");
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(pair.ask("default").await.unwrap().status, 200);
}

/// In TLS 1.3 a client learns of its refusal when it reads.
async fn is_let_in(pair: &e2e::Pair, svid: &FetchedSvid) -> bool {
    let asked = async {
        let handshake = TlsCaller::new(Some(svid), "http/1.1")?.connect(pair.address).await?;
        e2e::http::Ask::get("/").on(handshake.stream).await
    };
    asked.await.is_ok_and(|reply| reply.status == 200)
}

/// An authority's ID in what `localauthority x509` prints.
fn authority_of(printed: &str, which: &str) -> Result<String> {
    let printed: Value = serde_json::from_str(printed)?;
    let id = printed[which]["authority_id"].as_str();
    id.map(str::to_owned).with_context(|| format!("no {which} in {printed}"))
}
