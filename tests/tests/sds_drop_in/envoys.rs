//! What real Envoys see, with either SDS behind them.

use anyhow::Result;
use e2e::{Entry, PATIENCE, Pair, Workload, config_source, echo_listener, until};
use serde_json::{Value, json};

use crate::{
    scene::Scene,
    table::{Table, Verdict},
};

/// Of an SVID that a test waits for the end of; in seconds.
const SHORT: u32 = 15;

/// Of the others.
const LONG: u32 = 600;

pub(crate) async fn rows(scene: &mut Scene, table: &mut Table) -> Result<()> {
    for (tried, chain) in [
        ("a handshake by `default` and `ROOTCA`", "default"),
        ("a handshake by SPIFFE ID and trust domain ID, on the same Envoys", "own-id"),
        ("a handshake by `default` and `ALL`, on the same Envoys", "all"),
    ] {
        let [spire, ours] = scene.pairs();
        table.row(tried, [handshake(spire, chain).await, handshake(ours, chain).await]);
    }
    svids_are_renewed(scene, table).await?;
    entries_change(scene, table).await?;
    the_sds_side_dies(scene, table).await?;
    listeners_come(scene, table).await?;
    entries_go(scene, table).await
}

async fn handshake(pair: &Pair, chain: &str) -> Verdict {
    match pair.answers(chain, 200).await {
        Ok(()) => Verdict::Good("works".into()),
        Err(error) => Verdict::Poor(format!("{error:#}")),
    }
}

/// SPIRE renews at half of an SVID's life.
async fn svids_are_renewed(scene: &Scene, table: &mut Table) -> Result<()> {
    let [spire, ours] = scene.pairs().map(renewed);
    let (spire, ours) = tokio::join!(spire, ours);
    table.row("SPIRE renews the SVID at half of its life, while requests run", [spire?, ours?]);
    Ok(())
}

async fn renewed(pair: &Pair) -> Result<Verdict> {
    let load = pair.knock();
    let old = pair.presented().await?;
    let seen = pair.presents_another(&old).await;
    load.goes_on(20).await?;
    Ok(unbroken(seen.map(drop), &load.stop().await?, "the new one is presented, no request fails"))
}

async fn entries_change(scene: &Scene, table: &mut Table) -> Result<()> {
    let [spire, ours] = scene.pairs();
    let loads = [spire.knock(), ours.knock()];
    let (old_spire, old_ours) = (spire.presented().await?, ours.presented().await?);
    scene.renew(LONG, "renewed.test")?;
    let (spire, ours) =
        tokio::join!(spire.presents_another(&old_spire), ours.presents_another(&old_ours));
    let mut verdicts = Vec::new();
    for (load, seen) in loads.into_iter().zip([spire, ours]) {
        load.goes_on(20).await?;
        let failures = load.stop().await?;
        verdicts.push(unbroken(
            seen.map(drop),
            &failures,
            "the new one is presented, no request fails",
        ));
    }
    table.row("an entry is changed in SPIRE, while requests run", both(verdicts));
    Ok(())
}

async fn the_sds_side_dies(scene: &mut Scene, table: &mut Table) -> Result<()> {
    let loads = scene.pairs().map(Pair::knock);
    scene.spire.kill_agent()?;
    for server in &mut scene.servers {
        server.kill()?;
    }
    for load in &loads {
        load.goes_on(50).await?;
    }
    scene.spire.restart_agent(&scene.stage).await?;
    for server in &mut scene.servers {
        server.restart(&scene.stage)?;
        server.ready().await?;
    }
    let [spire, ours] = scene.pairs();
    let (old_spire, old_ours) = (spire.presented().await?, ours.presented().await?);
    scene.renew(LONG, "after-the-restart.test")?;
    let (spire, ours) =
        tokio::join!(spire.presents_another(&old_spire), ours.presents_another(&old_ours));
    let mut verdicts = Vec::new();
    for (load, seen) in loads.into_iter().zip([spire, ours]) {
        let good = "no request fails; Envoy reconnects and gets the next SVID";
        verdicts.push(unbroken(seen.map(drop), &load.stop().await?, good));
    }
    table.row("what serves SDS is killed and started again, while requests run", both(verdicts));
    Ok(())
}

/// Listeners that Envoy learns of while it runs: one by known names, one by a name that nothing
/// answers until its entry is made.
async fn listeners_come(scene: &Scene, table: &mut Table) -> Result<()> {
    let later = format!("{}/later", Workload::Api.spiffe_id());
    let mut known = Vec::new();
    let mut beside = Vec::new();
    let mut appears = Vec::new();
    for pair in scene.pairs() {
        pair.listeners(&json!([listener("known", "default"), listener("unknown", &later)]))?;
    }
    for pair in scene.pairs() {
        let active = state(pair, "known", "active").await;
        known.push(Verdict::of(active.is_ok(), word(active, "comes up")));
        let warming = state(pair, "unknown", "warming").await;
        let goes_on = pair.ask("default").await?.status == 200;
        let seen = word(warming, "waits for it; the other listeners serve on");
        beside.push(Verdict::of(goes_on && seen.starts_with("waits"), seen));
    }
    let entries = scene.answering(LONG).map(|entry| Entry {
        id: format!("{}-later", entry.id),
        spiffe_id: later.clone(),
        ..entry
    });
    scene.spire.create(&scene.stage, &entries)?;
    for pair in scene.pairs() {
        let active = state(pair, "unknown", "active").await;
        appears.push(Verdict::of(active.is_ok(), word(active, "the listener comes up")));
    }
    for entry in &entries {
        scene.spire.delete(&scene.stage, entry)?;
    }
    for pair in scene.pairs() {
        pair.listeners(&json!([]))?;
    }
    table.row("a listener is added while Envoy runs", both(known));
    table.row("a listener asks for an SVID that is not registered", both(beside));
    table.row("that SVID's entry is made", both(appears));
    Ok(())
}

/// The old certificate serves until it ends, and no longer; what comes back is used.
async fn entries_go(scene: &Scene, table: &mut Table) -> Result<()> {
    let mut before = Vec::new();
    for pair in scene.pairs() {
        before.push(pair.presented().await?);
    }
    scene.renew(SHORT, "short.test")?;
    for (pair, old) in scene.pairs().into_iter().zip(&before) {
        pair.presents_another(old).await?;
    }
    for entry in scene.answering(SHORT) {
        scene.spire.delete(&scene.stage, &entry)?;
    }
    let mut serving = Vec::new();
    for pair in scene.pairs() {
        serving.push(pair.ask("default").await?.status);
    }
    let mut gone = Vec::new();
    for (pair, serving) in scene.pairs().into_iter().zip(serving) {
        let refused = pair.answers("default", 503).await;
        let seen =
            word(refused, "serves on with the old one until that expires, then nobody accepts it");
        gone.push(Verdict::of(serving == 200 && seen.starts_with("serves"), seen));
    }
    scene.spire.create(&scene.stage, &scene.answering(LONG))?;
    let mut back = Vec::new();
    for pair in scene.pairs() {
        let served = pair.answers("default", 200).await;
        back.push(Verdict::of(served.is_ok(), word(served, "works again, Envoy is not restarted")));
    }
    table.row("an entry is deleted", both(gone));
    table.row("the entry is made again", both(back));
    Ok(())
}

fn unbroken(seen: Result<()>, failures: &[String], good: &str) -> Verdict {
    match (seen, failures) {
        (Ok(()), []) => Verdict::Good(good.to_owned()),
        (Err(error), _) => Verdict::Poor(format!("{error:#}")),
        (Ok(()), [first, ..]) => {
            Verdict::Poor(format!("{} requests fail: {first}", failures.len()))
        }
    }
}

fn word(seen: Result<()>, good: &str) -> String {
    seen.map_or_else(|error| format!("{error:#}"), |()| good.to_owned())
}

fn both(verdicts: Vec<Verdict>) -> [Verdict; 2] {
    verdicts.try_into().expect("two sides")
}

/// Waits until Envoy says that a listener is `active` or `warming`.
async fn state(pair: &Pair, listener: &str, wanted: &str) -> Result<()> {
    until(&format!("listener {listener} is {wanted}"), PATIENCE, async || {
        let dump: Value = serde_json::from_str(&pair.server.admin("/config_dump").await?)?;
        let configs = dump["configs"].as_array().into_iter().flatten();
        let found: Vec<_> = configs
            .flat_map(|config| config["dynamic_listeners"].as_array().into_iter().flatten())
            .filter(|found| found["name"] == listener)
            .collect();
        let is = found.iter().any(|found| found[format!("{wanted}_state")].is_object());
        anyhow::ensure!(is, "{} such listeners", found.len());
        Ok(())
    })
    .await
}

/// A listener that is never called; it needs its secret to come up.
fn listener(name: &str, secret: &str) -> Value {
    echo_listener(name, secret, &config_source("GRPC"))
}
