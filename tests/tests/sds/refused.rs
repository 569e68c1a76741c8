//! Envoy refuses a certificate that nothing speaks against: one that demands an OCSP staple.

use anyhow::ensure;
use e2e::{PATIENCE, Workload, until};

use crate::ground::{Ground, Told};

/// Envoy keeps what it refused, and then refuses the good bundle that comes beside it. The old
/// certificate serves on, the bundle comes into force all the same, and what was refused is not
/// sent again.
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
    let both = Told { pushed: 2.0, refused: 2.0 };
    ground.told_all(before, |told| told == both).await;
    assert_eq!(pair.presented().await.unwrap(), old);

    // The bundle has three names. Two of them stand beside what was refused and are refused too; the
    // third is accepted, for Envoy had stopped at the first chain that refused `default`. So the
    // good certificates of before are sent once more, which heals Envoy, and then the bundles that it
    // refused: two, or one, where the other came only after the healing.
    agent.control(stage, &["ca", "prepare"]).unwrap();
    let possible = [Told { pushed: 9.0, refused: 4.0 }, Told { pushed: 8.0, refused: 3.0 }];
    let healed = ground.told_all(before, |told| possible.contains(&told)).await;
    let serial = pair.client_serial().await.unwrap();
    agent.control(stage, &["ca", "activate"]).unwrap();
    agent.control(stage, &["rotate", "--workload", Workload::Client.name()]).unwrap();
    until("a client of the new CA is let in", PATIENCE, async || {
        ensure!(pair.client_serial().await? != serial, "still the one of the old CA");
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(pair.presented().await.unwrap(), old);

    ground.rotate().unwrap();
    pair.presents_another(&old).await.unwrap();
    let rotated = Told { pushed: healed.pushed + 2.0, refused: healed.refused };
    ground.told_all(before, |told| told == rotated).await;
}
