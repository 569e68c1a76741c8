//! The Postgres rules: the filter in wasmtime, and Envoy in front of a real Postgres.

use e2e::{
    FetchedSvid, Mesh, MeshPlan, PATIENCE, PostgresVersion, Programs, SourceKind, Workload,
    startup::{self, Answer, message, session_user},
    tls::TlsCaller,
    until,
};
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::TestCaseError,
};
use wasm_host::{FilterModule, Noted, PostgresFilter};

use crate::{
    MORE, policies, postgres_random as random,
    postgres_reference::{self as reference, Connection, Decision},
    runner,
};

/// Connections to each policy.
const CONNECTIONS: usize = 40;
/// Through Envoy, where each needs a handshake.
const THROUGH_ENVOY: usize = 15;

#[test]
fn the_postgres_filter_in_wasmtime_decides_as_the_reference_does() {
    let file = Programs::locate().unwrap().filter("pg_role").unwrap();
    let module = FilterModule::load(&file).unwrap();
    let run = runner(policies(60)).run(
        &random::policy_and_connections(CONNECTIONS),
        |(rules, connections)| {
            let slice = random::slice(&rules).to_string();
            let failed = |error| TestCaseError::fail(format!("{error}: {slice}"));
            let mut filter = PostgresFilter::start(&module, slice.as_bytes()).map_err(failed)?;
            for asked in &connections {
                let expected = reference::decide(&rules, asked);
                let found = in_wasmtime(&mut filter, asked);
                proptest::prop_assert_eq!(found, expected, "{:?} {}", asked, slice);
            }
            Ok(())
        },
    );
    run.unwrap();
}

fn in_wasmtime(filter: &mut PostgresFilter, asked: &Connection) -> Decision {
    let peer = format!("{}|{}", u64::MAX, asked.from);
    let connection = filter.connect(Some(peer.as_bytes())).unwrap();
    filter.from_client(connection, &packet(asked), false).unwrap();
    let led = filter.cluster(connection).as_deref() == Some("postgres");
    let noted = Noted::read(&filter.disconnect(connection).unwrap());
    let verdict = match noted.verdict.as_str() {
        "allow" => "allow",
        "deny" => "deny",
        "refuse" => "refuse",
        other => panic!("{other:?}"),
    };
    assert_eq!(led, verdict == "allow");
    Decision { verdict, rule: noted.rule, role: noted.role }
}

fn packet(asked: &Connection) -> Vec<u8> {
    let parameters: Vec<(&str, &str)> =
        asked.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    message(&parameters)
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_in_front_of_postgres_decides_as_the_reference_does() {
    let plan = MeshPlan::new(SourceKind::DevAgent, PostgresVersion::V15).svid_ttl(3600);
    let mesh = plan.policy(random::document(&[], 0)).start().await.unwrap();
    let workloads = [Workload::Client, Workload::Api, Workload::Report];
    let svids = workloads.map(|workload| mesh.source.fetch(&mesh.stage, workload).unwrap());
    let mut runner = runner(1);
    let (mut allowed, mut welcome) = (0, 0);
    let wanted = policies(8) as usize;
    for generation in 1..=wanted + MORE {
        // Who lets nobody in would agree too often, and Postgres knows the roles.
        if generation > wanted && allowed > 10 && welcome > 3 {
            break;
        }
        let (rules, connections) =
            random::policy_and_connections(THROUGH_ENVOY).new_tree(&mut runner).unwrap().current();
        mesh.policy.write(&random::document(&rules, generation)).unwrap();
        sees_policy(&mesh, &svids[0], generation).await;
        for asked in &connections {
            let caller = random::CALLERS.iter().position(|id| *id == asked.from).unwrap();
            let expected = reference::decide(&rules, asked);
            let agrees = async || {
                let (answer, user) = through_envoy(&mesh, &svids[caller], asked).await;
                let agrees = is_ours(&answer) == (expected.verdict != "allow")
                    && (user.is_none() || user == expected.role);
                if agrees {
                    return Ok(user.is_some());
                }
                let slice = random::slice(&rules);
                anyhow::bail!("{answer:?} {user:?} {expected:?} {asked:?} {slice}")
            };
            // One of Envoy's workers may have the policy before for a moment more.
            let is_session = until("the reference's decision", PATIENCE, agrees).await.unwrap();
            allowed += usize::from(expected.verdict == "allow");
            welcome += usize::from(is_session);
        }
    }
    assert!(allowed > 10 && welcome > 3, "{allowed} allowed, {welcome} welcome");
}

/// The answer, and the role of the session where there is one.
async fn through_envoy(
    mesh: &Mesh,
    svid: &FetchedSvid,
    asked: &Connection,
) -> (Answer, Option<String>) {
    let caller = TlsCaller::new(Some(svid), "postgresql").unwrap();
    let mut stream = caller.connect(mesh.ingress(Workload::Db)).await.unwrap().stream;
    let answer = startup::ask(&mut stream, &[&packet(asked)]).await.unwrap();
    let user = match answer {
        Answer::Welcome => session_user(&mut stream).await.ok(),
        _ => None,
    };
    (answer, user)
}

/// Whether the filter answered, and not Postgres.
fn is_ours(answer: &Answer) -> bool {
    matches!(answer, Answer::Refused { message, .. } if message.starts_with("signet: "))
}

/// Waits until the filter lets a connection through to a database that only this policy names.
async fn sees_policy(mesh: &Mesh, svid: &FetchedSvid, generation: usize) {
    let asked = Connection {
        from: String::new(),
        parameters: vec![
            ("user".to_owned(), "api".to_owned()),
            ("database".to_owned(), format!("which_policy_{generation}")),
        ],
    };
    until("the new policy", PATIENCE, async || match through_envoy(mesh, svid, &asked).await {
        (answer, _) if is_ours(&answer) || answer == Answer::Silence => anyhow::bail!("{answer:?}"),
        _ => Ok(()),
    })
    .await
    .unwrap();
}
