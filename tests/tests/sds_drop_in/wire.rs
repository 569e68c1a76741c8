//! What a client by hand sees: requests that Envoy sends with ADS, after a refusal, or never.

use anyhow::Result;
use e2e::{
    SdsServer, TRUST_DOMAIN, Workload,
    sds::{Heard, SdsClient, has_key, names, validator},
};

use crate::{
    scene::{Scene, by_hand},
    table::{Table, Verdict},
};

const LONG: u32 = 600;

/// The validator that trusts each bundle for its own trust domain only.
const SPIFFE: &str = "envoy.tls.cert_validator.spiffe";

pub(crate) async fn rows(scene: &mut Scene, table: &mut Table) -> Result<()> {
    strangers(scene, table).await?;
    let (own, domain) = (Workload::Api.spiffe_id(), format!("spiffe://{TRUST_DOMAIN}"));
    let clients = scene.clients().await?;
    for (tried, asked) in [
        ("one stream asks for `ROOTCA` and `ALL`", ["ROOTCA", "ALL"]),
        ("one stream asks for `ROOTCA` and the trust domain ID", ["ROOTCA", &domain]),
        ("one stream asks for `default` and the same SVID's SPIFFE ID", ["default", &own]),
        ("one stream asks for `ROOTCA` and an unknown name", ["ROOTCA", "nobody"]),
    ] {
        table.row(tried, each(&clients, async |client| together(client, asked).await).await?);
    }
    table.row(
        "the first request names nothing",
        each(&clients, async |client| everything(client, &own, &domain).await).await?,
    );
    table.row("a later request names nothing any more", each(&clients, unsubscribed).await?);
    let [spire, ours] = &clients;
    table.row(
        "an SVID is renewed on a stream that also has `ROOTCA`",
        [renewed(scene, spire, "wire-1.test").await?, renewed(scene, ours, "wire-2.test").await?],
    );
    table.row("a secret is refused", each(&clients, refused).await?);
    table.row(
        "the node's metadata say `disable_spiffe_cert_validation: true`",
        each(&clients, plain).await?,
    );
    table.row("`FetchSecrets`", each(&clients, async |client| Ok(fetched(client).await)).await?);
    table
        .row("`DeltaSecrets`", each(&clients, async |client| Ok(incremental(client).await)).await?);
    table.row("another type URL", each(&clients, async |client| Ok(mistyped(client).await)).await?);
    Ok(())
}

/// Tries the same on both sides at once.
async fn each(
    clients: &[SdsClient; 2],
    tried: impl AsyncFn(&SdsClient) -> Result<Verdict>,
) -> Result<[Verdict; 2]> {
    let (spire, ours) = tokio::join!(tried(&clients[0]), tried(&clients[1]));
    Ok([spire?, ours?])
}

/// A workload that SPIRE does not know, until it is registered.
async fn strangers(scene: &Scene, table: &mut Table) -> Result<()> {
    let stranger = scene.stage.path().join("stranger/sds-server");
    scene.stage.link(&scene.stage.programs.own("sds-server")?, &stranger)?;
    let server =
        SdsServer::of_secrets(&scene.stage, "stranger", &stranger, &scene.spire.socket(), "")?;
    let socket = SdsServer::socket(server.directory());
    let ours =
        e2e::until("the server listens", e2e::PATIENCE, async || SdsClient::connect(&socket).await);
    let clients = [scene.clients().await?[0].clone(), ours.await?];
    let mut bundles = Vec::new();
    let mut streams = Vec::new();
    for client in &clients {
        let mut stream = client.open(&["ROOTCA"]);
        bundles.push(match stream.hear().await {
            Heard::Pushed(_) => Verdict::Good("is given the bundle".into()),
            Heard::Silence => Verdict::Good("is given nothing until it is registered".into()),
            Heard::Ended(code) => Verdict::Poor(format!("{code:?}")),
        });
        let mut stream = client.open(&["default"]);
        let first = stream.hear().await;
        streams.push((first, stream));
    }
    let by_hand = by_hand(LONG)?;
    let selector = format!("path:{}", stranger.display());
    let ours = e2e::Entry { id: "stranger".into(), selector, ..by_hand.clone() };
    scene.spire.create(&scene.stage, &[by_hand, ours])?;
    let mut svids = Vec::new();
    for (first, mut stream) in streams {
        svids.push(match first {
            Heard::Pushed(_) => Verdict::Poor("is given an SVID".into()),
            Heard::Ended(code) => Verdict::Poor(format!(
                "{code:?}, the stream ends; Envoy asks again, later and later"
            )),
            Heard::Silence => {
                let good = stream.next().await.is_ok_and(|secrets| has_key(&secrets[0]));
                Verdict::of(
                    good,
                    "is told nothing; the SVID is pushed as soon as the entry is made",
                )
            }
        });
    }
    table.row("a workload without an entry asks for `ROOTCA`", both(bundles));
    table.row("a workload without an entry asks for `default`", both(svids));
    until_registered(&clients[0]).await
}

async fn until_registered(spire: &SdsClient) -> Result<()> {
    e2e::until("the agent knows this program", e2e::PATIENCE, async || {
        let fetched = spire.fetch(&["default"]).await;
        fetched.map(drop).map_err(|code| anyhow::anyhow!("{code:?}"))
    })
    .await
}

async fn together(client: &SdsClient, asked: [&str; 2]) -> Result<Verdict> {
    let mut stream = client.open(&asked);
    Ok(match stream.all(&asked).await {
        Heard::Pushed(secrets) => {
            let mut found = names(&secrets);
            found.sort_unstable();
            let mut asked = asked;
            asked.sort_unstable();
            let known: Vec<_> = asked.into_iter().filter(|name| *name != "nobody").collect();
            match (found == known, known.len()) {
                (true, 2) => Verdict::Good("both come".into()),
                (true, _) => Verdict::Good("the known one comes, the stream stays open".into()),
                (false, _) => Verdict::Poor(format!("{found:?}")),
            }
        }
        Heard::Ended(code) => Verdict::Poor(format!("{code:?}, the stream ends and nothing comes")),
        Heard::Silence => Verdict::Poor("nothing comes".into()),
    })
}

async fn everything(client: &SdsClient, own: &str, domain: &str) -> Result<Verdict> {
    let mut stream = client.open(&[]);
    Ok(match stream.all(&[]).await {
        Heard::Pushed(secrets) => {
            let found = names(&secrets);
            let good = found.contains(&own) && found.contains(&domain);
            Verdict::of(
                good,
                if good {
                    "all SVIDs by SPIFFE ID, all bundles by trust domain ID".into()
                } else {
                    format!("{found:?}")
                },
            )
        }
        other => Verdict::Poor(format!("{other:?}")),
    })
}

async fn unsubscribed(client: &SdsClient) -> Result<Verdict> {
    let mut stream = client.open(&["ROOTCA"]);
    stream.next().await?;
    stream.accept(&[]);
    Ok(match stream.hear().await {
        Heard::Silence => Verdict::Good("nothing is sent".into()),
        Heard::Pushed(secrets) if secrets.iter().any(has_key) => {
            Verdict::Poor("everything is sent, private keys too".into())
        }
        other => Verdict::Poor(format!("{other:?}")),
    })
}

async fn renewed(scene: &Scene, client: &SdsClient, dns_name: &str) -> Result<Verdict> {
    let asked = ["ROOTCA", "default"];
    let mut stream = client.open(&asked);
    stream.all(&asked).await;
    let [_, ours] = scene.answering(LONG).map(|entry| entry.dns(dns_name));
    scene.spire.update(&scene.stage, &[ours, by_hand(LONG)?.dns(dns_name)])?;
    let secrets = stream.next().await?;
    let mut found = names(&secrets);
    stream.accept(&asked);
    let more = stream.hear().await;
    if let Heard::Pushed(more) = &more {
        found.extend(names(more));
    }
    Ok(match found.as_slice() {
        ["default"] => Verdict::Good("the SVID is sent".into()),
        _ => Verdict::Poor("both are sent".into()),
    })
}

async fn refused(client: &SdsClient) -> Result<Verdict> {
    let mut stream = client.open(&["default"]);
    stream.next().await?;
    stream.refuse(&["default"]);
    Ok(match stream.hear().await {
        Heard::Silence => Verdict::Good("it is not sent again until it changes".into()),
        other => Verdict::Poor(format!("{other:?}")),
    })
}

async fn plain(client: &SdsClient) -> Result<Verdict> {
    let mut kinds = Vec::new();
    let plainly = client.open_with("disable_spiffe_cert_validation", &["ROOTCA"]);
    for mut stream in [plainly, client.open(&["ROOTCA"])] {
        kinds.push(validator(&stream.next().await?[0]));
    }
    let good = kinds == ["plain", SPIFFE];
    let seen = "`ROOTCA` is a plain CA file; without, it is for the SPIFFE validator";
    Ok(Verdict::of(good, if good { seen.to_owned() } else { format!("{kinds:?}") }))
}

async fn fetched(client: &SdsClient) -> Verdict {
    match client.fetch(&["default"]).await {
        Ok((response, secrets)) if secrets.iter().any(has_key) => {
            let version = if response.version_info.is_empty() { "no version" } else { "a version" };
            Verdict::Good(format!("answers, with {version}"))
        }
        Ok(_) => Verdict::Poor("answers without a key".into()),
        Err(code) => Verdict::Poor(format!("{code:?}")),
    }
}

async fn incremental(client: &SdsClient) -> Verdict {
    match client.delta(&["default"]).await {
        Ok(response) => {
            let good = response.resources.iter().any(|resource| resource.name == "default");
            Verdict::of(good, if good { "answers" } else { "answers without the secret" })
        }
        Err(code) => Verdict::Poor(format!("{code:?}; Envoy asks again for ever")),
    }
}

async fn mistyped(client: &SdsClient) -> Verdict {
    let strange = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
    match client.open_as(strange, &["ROOTCA"]).hear().await {
        Heard::Ended(code) => Verdict::Good(format!("{code:?}")),
        Heard::Pushed(_) => Verdict::Poor("secrets are sent as what was asked for".into()),
        Heard::Silence => Verdict::Poor("nothing happens".into()),
    }
}

fn both(verdicts: Vec<Verdict>) -> [Verdict; 2] {
    verdicts.try_into().expect("two sides")
}
