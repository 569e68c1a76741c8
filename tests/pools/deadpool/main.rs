//! deadpool on tokio-postgres. What it reads and prints stands in ../README.md.

use std::{env, time::Duration};

use anyhow::Result;
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use tokio_postgres::{Config, NoTls};

const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

async fn ask(pool: &Pool) -> Result<Value> {
    let client = pool.get().await?;
    let row = client.query_one("select pg_backend_pid(), current_user::text", &[]).await?;
    Ok(json!({ "backend": row.get::<_, i32>(0), "user": row.get::<_, String>(1) }))
}

/// The first line of what the driver says, behind the SQLSTATE where Postgres told one.
fn told(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    let line = text.lines().next().unwrap_or_default();
    let code = error.downcast_ref().and_then(tokio_postgres::Error::code);
    code.map_or_else(|| line.to_owned(), |code| format!("{} {line}", code.code()))
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut config = Config::new();
    config
        .host(env::var("PGHOST")?)
        .port(env::var("PGPORT")?.parse()?)
        .user(env::var("PGUSER")?)
        .dbname(env::var("PGDATABASE")?);
    let size = env::var("POOL_SIZE")?.parse()?;
    // By default it asks nobody whether a connection still runs.
    let recycling_method = match env::var("POOL_RECYCLING").as_deref() {
        Ok("verified") => RecyclingMethod::Verified,
        _ => RecyclingMethod::default(),
    };
    let manager = Manager::from_config(config, NoTls, ManagerConfig { recycling_method });
    let pool = Pool::builder(manager).max_size(size).runtime(Runtime::Tokio1).build()?;
    let workers = (0..2 * size).map(|_| {
        let pool = pool.clone();
        tokio::spawn(async move {
            loop {
                let outcome = match timeout(PATIENCE, ask(&pool)).await {
                    Ok(Ok(found)) => found,
                    Ok(Err(error)) => json!({ "error": told(&error) }),
                    Err(_) => json!({ "error": "no answer in time" }),
                };
                println!("{outcome}");
                sleep(PAUSE).await;
            }
        })
    });
    futures::future::try_join_all(workers.collect::<Vec<_>>()).await?;
    Ok(())
}
