//! A table that is locked now and then, so that statements wait, and time out.

use std::time::Duration;

use e2e::{Mesh, Workload, postgres};
use tokio::{task::JoinHandle, time::sleep};

/// Longer than the policy's `statement_timeout`.
const LOCKED: Duration = Duration::from_millis(250);
const FREE: Duration = Duration::from_secs(1);

/// Locks `customers` again and again, until the task is aborted.
pub(crate) async fn come_and_go(mesh: &Mesh) -> JoinHandle<()> {
    let directory = &mesh.sidecar(Workload::Api).directory;
    let locker = postgres::connect(directory, "customers_writer", "customers").await.unwrap();
    locker.batch_execute("set statement_timeout = 0").await.unwrap();
    tokio::spawn(async move {
        loop {
            let lock = "begin; lock table customers in access exclusive mode";
            locker.batch_execute(lock).await.unwrap();
            sleep(LOCKED).await;
            locker.batch_execute("rollback").await.unwrap();
            sleep(FREE).await;
        }
    })
}
