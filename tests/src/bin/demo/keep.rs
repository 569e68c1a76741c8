//! What `--keep` prints: how to talk to what is running. The lines work as printed; they are tried
//! before they are shown.

use std::process::Command;

use anyhow::{Result, bail};
use e2e::{IdentitySource, Mesh, Workload};

pub(crate) fn say_where_logs_lie(mesh: &Mesh, kept: bool) {
    let logs = mesh.stage.logs().display();
    if kept {
        eprintln!("the logs of all processes are in {logs}");
    } else {
        eprintln!("run again with --log-dir DIR to keep the logs of all processes");
    }
}

pub(crate) async fn say_how_to_talk_to_it(mesh: &Mesh) -> Result<()> {
    let of = |workload: Workload| mesh.sidecar(workload).directory.display().to_string();
    let (client, report, api, db) =
        (of(Workload::Client), of(Workload::Report), of(Workload::Api), of(Workload::Db));
    println!("\nEverything is still running. Talk to it as the client, and as the report job:\n");
    let curl = format!("curl -s --unix-socket {client}/http.sock http://api/customers");
    let psql = format!(
        "{} 'host={report} dbname=customers user=postgres sslmode=disable' -c 'select session_user, * from customers'",
        mesh.stage.programs.psql()?.display()
    );
    for line in [&curl, &psql] {
        println!("    {line}");
        // A machine without curl can still read the line.
        if line.starts_with('/') || is_installed("curl") {
            works(line).await?;
        }
    }
    println!(
        "\n  policy    {}   edit it and watch the answers change",
        mesh.policy.path().display()
    );
    println!(
        "  ingress   api-proxy {}, db-proxy {}   mTLS",
        mesh.ingress(Workload::Api),
        mesh.ingress(Workload::Db)
    );
    println!("  sockets   {client}/http.sock   HTTP for the API, as the client");
    println!("            {report}/.s.PGSQL.5432   Postgres, as the report job");
    println!("            {api}/.s.PGSQL.5432   Postgres, as the API");
    println!("            {db}/admin.sock   Envoy's admin; each sidecar's directory has one");
    println!("            {db}/sds-admin.sock   sds-server's /readyz and /metrics");
    println!("            {}   Postgres itself", mesh.postgres.socket().display());
    match &mesh.source {
        IdentitySource::DevAgent(agent) => println!(
            "  keys      in the memory of dev-agent, sds-server and Envoy only; Workload API sockets in {}",
            agent.directory().display()
        ),
        IdentitySource::Spire(spire) => println!(
            "  keys      in the memory of SPIRE, sds-server and Envoy only; Workload API: {}",
            spire.socket().display()
        ),
    }
    println!("  logs      {}", mesh.stage.logs().display());
    println!("\nCtrl-C ends it and cleans up.");
    Ok(())
}

fn is_installed(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

async fn works(line: &str) -> Result<()> {
    let output = tokio::process::Command::new("sh").args(["-c", line]).output().await?;
    if !output.status.success() {
        bail!("`{line}` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
