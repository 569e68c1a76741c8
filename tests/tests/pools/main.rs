//! Connection pools, unmodified and under load, while their sessions end for every reason that there is. Nobody restarts
//! them, and while the database stays within reach only the requests fail that were on a connection when it ended.

mod pool;
mod scene;

use e2e::Workload;

use crate::{
    pool::{Kind, SIZE, Since},
    scene::{Scene, policy},
};

/// Generations of connections that are seen to end.
const GENERATIONS: usize = 3;

/// Why Postgres ends sessions by itself.
const TERMINATED: &str = "ended by the administrator";

const READER: &str = "customers_reader";
const WRITER: &str = "customers_writer";

/// Each end of a session cost so many requests at most, and these were told why.
fn are_told(reason: &str, pool: Kind, since: &Since, ends: usize) {
    println!("{reason}: {}: {since}", pool.name());
    let (name, errors) = (pool.name(), &since.errors);
    assert!(errors.len() <= ends * pool.requests_per_end(), "{reason}: {name}: {errors:?}");
    let is_known = |error: &String| {
        pool.knows_the_end(error) || (reason == TERMINATED && pool.finds_it_broken(error))
    };
    assert!(errors.iter().all(is_known), "{reason}: {name}: {errors:?}");
}

/// Sessions end one by one, as each comes to its time.
async fn sessions_end_in_their_time(scene: &mut Scene, reason: &str) {
    for (pool, since) in scene.outlives(GENERATIONS * SIZE).await.unwrap() {
        are_told(reason, pool, &since, since.backends.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_expire() {
    let mut scene = Scene::set(12, "").await.unwrap();
    sessions_end_in_their_time(&mut scene, "expired certificates").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_else_that_ends_a_session() {
    let mut scene = Scene::set(3_600, ", max_session: 3s").await.unwrap();
    sessions_end_in_their_time(&mut scene, "max_session").await;

    // All sessions at once, and new ones are let in.
    scene.mesh.policy.write(&policy(READER, "")).unwrap();
    scene.all_last(6).await.unwrap();
    for (reason, from, to) in [
        (TERMINATED, READER, READER),
        ("another role in the policy", READER, WRITER),
        ("the first role again", WRITER, READER),
    ] {
        let connected = scene.connected(from).await.unwrap();
        if from == to {
            scene.terminate_all().unwrap();
        } else {
            scene.mesh.policy.write(&policy(to, "")).unwrap();
        }
        for (pool, since) in scene.recover(connected, to).await.unwrap() {
            are_told(reason, pool, &since, SIZE);
        }
    }

    // Nobody is let in for a while.
    let connected = scene.connected(READER).await.unwrap();
    scene.mesh.policy.write("version: 1\ntrust_domain: example.org\n").unwrap();
    scene.all_fail(&connected).await.unwrap();
    scene.mesh.policy.write(&policy(READER, "")).unwrap();
    scene.recovers_from("a rule that was taken away", connected).await;

    for workload in [Workload::Report, Workload::Db] {
        let connected = scene.connected(READER).await.unwrap();
        let (sidecar, stage) = scene.mesh.sidecar_mut(workload);
        sidecar.envoy.kill().unwrap();
        sidecar.envoy.restart(stage).unwrap();
        scene.recovers_from(&format!("a crash of {}'s Envoy", workload.name()), connected).await;
    }

    let connected = scene.connected(READER).await.unwrap();
    let mesh = &mut scene.mesh;
    mesh.postgres.restart(&mesh.stage).await.unwrap();
    scene.recovers_from("a restart of Postgres", connected).await;
}
