//! Envoy refuses a certificate that nothing speaks against: one that demands an OCSP staple.

use anyhow::ensure;
use e2e::{PATIENCE, Workload, until};

use crate::ground::{Ground, Told};

/// Envoy keeps what it refused, and then refuses the good bundle that comes beside it. The old
/// certificate and the old bundle serve; nothing is sent twice; a good certificate heals both.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_certificate_is_stored_beside_a_good_bundle() {
    let ground = Ground::lay(3600, "rotation: { hold: 100ms }").await.unwrap();
    let (agent, stage) = (&ground.agent, &ground.stage);
    let pair = ground.plan().start(stage).await.unwrap();
    let old = pair.presented().await.unwrap();
    let before = ground.told().await;

    agent
        .control(stage, &["forge", "--workload", Workload::Api.name(), "--variant", "must-staple"])
        .unwrap();
    // By its two names.
    assert_eq!(ground.told_more(before, 2.0).await, Told { pushed: 2.0, refused: 2.0 });
    assert_eq!(pair.presented().await.unwrap(), old);

    agent.control(stage, &["ca", "prepare"]).unwrap();
    // By its three names, two of them beside what was refused: Envoy stopped at the first chain that
    // refused `default`, so the chain of `ALL` never saw it.
    assert_eq!(ground.told_more(before, 5.0).await, Told { pushed: 5.0, refused: 4.0 });
    assert_eq!(pair.ask("default").await.unwrap().status, 200);
    assert_eq!(pair.presented().await.unwrap(), old);

    ground.rotate().unwrap();
    pair.presents_another(&old).await.unwrap();
    assert_eq!(ground.told_more(before, 7.0).await, Told { pushed: 7.0, refused: 4.0 });
    // The bundle that was refused is in force.
    let serial = pair.client_serial().await.unwrap();
    agent.control(stage, &["ca", "activate"]).unwrap();
    agent.control(stage, &["rotate", "--workload", Workload::Client.name()]).unwrap();
    until("a client of the new CA is let in", PATIENCE, async || {
        ensure!(pair.client_serial().await? != serial, "still the one of the old CA");
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(ground.told_more(before, 7.0).await, Told { pushed: 7.0, refused: 4.0 });
}
