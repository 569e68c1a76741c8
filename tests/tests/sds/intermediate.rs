//! Leaves of an intermediate CA: their chain carries it, for peers hold the root only.

use anyhow::ensure;
use e2e::{DevAgent, PATIENCE, Stage, tls::TlsCaller, until};

use crate::ground::Ground;

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_with_its_intermediate_is_accepted_and_renewed() {
    let stage = Stage::set(None).unwrap();
    let agent = DevAgent::start_with_intermediate(&stage, 3600).await.unwrap();
    let ground = Ground::of(stage, agent, "").unwrap();
    let pair = ground.plan().start(&ground.stage).await.unwrap();
    for chain in ["default", "own-id", "all"] {
        pair.answers(chain, 200).await.unwrap();
    }
    let old = pair.presented().await.unwrap();
    ground.rotate().unwrap();
    pair.presents_another(&old).await.unwrap();
    pair.answers("default", 200).await.unwrap();
    until("the whole chain is shown", PATIENCE, async || {
        let shown = TlsCaller::new(None, "h2")?.connect(pair.address).await?;
        let chain = shown.stream.get_ref().1.peer_certificates().map_or(0, <[_]>::len);
        ensure!(chain == 2, "{chain} certificates");
        Ok(())
    })
    .await
    .unwrap();
}
