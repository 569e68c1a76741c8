//! Point 4: who a workload is in Postgres, whatever it says it is.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::{Mesh, Workload, postgres, until};

/// How long an answer may take; a proxy without its filter may give none at all.
const ANSWER: Duration = Duration::from_secs(5);

/// One try to connect to the database, through the workload's own sidecar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Who Postgres says the session is; nothing if there was none.
    pub session_user: Option<String>,
    /// The SQLSTATE of the refusal; nothing if there was none.
    pub sqlstate: Option<String>,
    /// The refusal as a person reads it.
    pub message: String,
    /// Backends that Postgres' own log says were forked meanwhile.
    pub forked: usize,
    /// The rule that the database's Envoy logged.
    pub logged_rule: String,
    /// The role that the database's Envoy logged.
    pub logged_role: String,
}

/// A workload connects as `user` and asks who it has become.
pub async fn connects(mesh: &Mesh, workload: Workload, user: &str) -> Result<Attempt> {
    let envoy = &mesh.sidecar(Workload::Db).envoy;
    let seen = envoy.access_log().len();
    let forked = mesh.postgres.backends_forked();
    let directory = &mesh.sidecar(workload).directory;
    let asking = async {
        let client = postgres::connect(directory, user, "customers").await?;
        let row = client.query_one("select session_user::text", &[]).await?;
        Ok(row.get::<_, String>(0))
    };
    let outcome = tokio::time::timeout(ANSWER, asking).await.context("no answer");
    let outcome: Result<String> = outcome.flatten();
    // The session's line is written when it ends, after Postgres had every chance to log its own.
    let id = workload.spiffe_id();
    let line = envoy.logged(seen, |line| line["spiffe_id"] == id.as_str()).await;
    let logged = |key: &str| {
        let found = line.as_ref().ok().and_then(|line| line[key].as_str());
        found.unwrap_or_default().to_owned()
    };
    let (session_user, sqlstate, message) = match outcome {
        Ok(session_user) => (Some(session_user), None, String::new()),
        Err(error) => {
            let refusal = error.downcast_ref::<tokio_postgres::Error>();
            let refusal = refusal.and_then(tokio_postgres::Error::as_db_error);
            let sqlstate = refusal.map(|refusal| refusal.code().code().to_owned());
            let message =
                refusal.map_or_else(|| format!("{error:#}"), |it| it.message().to_owned());
            (None, sqlstate, message)
        }
    };
    Ok(Attempt {
        session_user,
        sqlstate,
        message,
        forked: mesh.postgres.backends_forked() - forked,
        logged_rule: logged("rule"),
        logged_role: logged("role"),
    })
}

/// Waits until Postgres has no session of this user any more.
pub async fn no_session_of(mesh: &Mesh, user: &str) -> Result<()> {
    let sql = format!("select count(*) from pg_stat_activity where usename = '{user}'");
    until("the sessions end", Duration::from_secs(10), async || {
        let open = mesh.postgres.sql(&mesh.stage, "postgres", &sql)?;
        anyhow::ensure!(open == "0", "{open} sessions of {user}");
        Ok(())
    })
    .await
}
