//! The six points of the story: each does something, and puts what it saw into the table.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use anyhow::Result;
use e2e::{
    IdentitySource, Mesh, Workload,
    story::{
        FORGED, Read, SHADOW, connects, forges, is_denied, new_customer, policy_is_edited,
        reads_customers, rotates_under_load,
    },
    tls::presented_by,
};

use crate::table::Table;

/// An edit of the policy must be in force within this time.
const EDIT_IN_FORCE: Duration = Duration::from_secs(2);

/// Rotations that the demo waits for.
const ROTATIONS: usize = 2;

/// Begins a point.
pub(crate) fn chapter(number: u8, title: &str) {
    println!("\n{number} ─ {title}");
}

/// Says what happens now, with the time since the start.
pub(crate) fn tell(what: &str) {
    static START: OnceLock<Instant> = OnceLock::new();
    let elapsed = START.get_or_init(Instant::now).elapsed().as_secs_f32();
    println!("   {elapsed:5.1} s  {what}");
}

pub(crate) async fn everything_is_up(mesh: &Mesh, table: &mut Table) -> Result<()> {
    tell("everything is ready");
    for server in [Workload::Api, Workload::Db] {
        let leaf = presented_by(mesh.ingress(server)).await?;
        let what = format!("{}-proxy presents", server.name());
        table.add(1, &what, &leaf.spiffe_id, leaf.spiffe_id == server.spiffe_id());
        if let Some(roots) = mesh.source.authorities(&mesh.stage)? {
            let by_spire = roots.contains(&leaf.authority);
            table.add(
                1,
                "  issued by SPIRE's CA",
                format!("key {}", &leaf.authority[..8]),
                by_spire,
            );
        }
    }
    let mut ready = [0, 0];
    for workload in Workload::ALL {
        let sidecar = mesh.sidecar(workload);
        ready[0] += usize::from(sidecar.server.admin("/readyz").await?.status == 200);
        ready[1] += usize::from(sidecar.envoy.admin("/ready").await?.trim() == "LIVE");
    }
    let wanted = Workload::ALL.len();
    table.add(1, "sds-servers ready", format!("{} of {wanted}", ready[0]), ready[0] == wanted);
    table.add(1, "Envoys ready", format!("{} of {wanted}", ready[1]), ready[1] == wanted);
    let version = mesh.postgres.sql(&mesh.stage, "customers", "show server_version")?;
    table.add(1, "Postgres", &version, version.starts_with("15."));
    Ok(())
}

fn is_the_clients(read: &Read) -> bool {
    read.caller == Workload::Client.spiffe_id()
        && read.session_user == "api"
        && read.current_user == "customers_reader"
}

pub(crate) async fn the_client_reads(mesh: &Mesh, table: &mut Table) -> Result<()> {
    chapter(
        2,
        "client ─▶ client-proxy ═mTLS═▶ api-proxy ─▶ API ─▶ api-proxy ═mTLS═▶ db-proxy ─▶ Postgres",
    );
    tell("client: GET /customers");
    let read = reads_customers(mesh, Workload::Client).await?;
    let answer = format!("{}, {} rows", read.status, read.rows);
    table.add(2, "GET /customers", answer, read.status == 200 && read.rows > 0);
    table.add(
        2,
        "caller, as the API saw it",
        &read.caller,
        read.caller == Workload::Client.spiffe_id(),
    );
    table.add(2, "rule, as the API was told", &read.rule, read.rule == "client-reads-customers");
    table.add(
        2,
        "session_user: login, by pg-role.wasm",
        &read.session_user,
        read.session_user == "api",
    );
    let role = &read.current_user;
    table.add(2, "current_user: role of the rule", role, role == "customers_reader");
    Ok(())
}

pub(crate) async fn denials_and_forgeries(mesh: &Mesh, table: &mut Table) -> Result<()> {
    chapter(3, "what the policy denies, and what a client would like to be");
    for (method, path, rule) in
        [("DELETE", "/audit/1", "nobody-deletes-audit"), ("POST", "/customers", "")]
    {
        tell(&format!("client: {method} {path}"));
        let denial = is_denied(mesh, method, path).await?;
        table.add(3, &format!("{method} {path}"), denial.status, denial.status == 403);
        let logged =
            if denial.logged_rule.is_empty() { "no rule allows it" } else { &denial.logged_rule };
        let seen = format!("{}, {logged}", denial.logged_decision);
        let right = denial.logged_decision == "deny" && denial.logged_rule == rule;
        table.add(3, "  api-proxy's log: decision, rule", seen, right);
    }
    for forgery in FORGED {
        let (header, value) = forgery;
        tell(&format!("client: GET /customers with {header}: {value}"));
        let read = forges(mesh, forgery).await?;
        let what = format!("forged {header}");
        if header.contains('_') {
            table.add(3, &what, format!("{}, refused", read.status), read.status == 400);
        } else {
            let caller = read.caller.rsplit('/').next().unwrap_or_default();
            let seen = format!("{}, still {caller} as {}", read.status, read.current_user);
            table.add(3, &what, seen, read.status == 200 && is_the_clients(&read));
        }
    }
    Ok(())
}

pub(crate) async fn roles_in_postgres(mesh: &Mesh, table: &mut Table) -> Result<()> {
    chapter(4, "who is who in Postgres");
    tell("client, which has no Postgres rule: connects as api");
    let stranger = connects(mesh, Workload::Client, "api").await?;
    let sqlstate = stranger.sqlstate.as_deref().unwrap_or("no SQLSTATE");
    println!("     “{}”", stranger.message);
    table.add(4, "client connects: ErrorResponse", sqlstate, sqlstate == "28000");
    let forked = stranger.forked;
    table.add(4, "  backends forked, by Postgres' log", forked, forked == 0);

    tell("report: connects as postgres");
    let report = connects(mesh, Workload::Report, "postgres").await?;
    let became = report.session_user.as_deref().unwrap_or(&report.message);
    table.add(4, "report says user=postgres, becomes", became, became == "customers_reader");
    let forked = report.forked;
    table.add(4, "  backends forked, by Postgres' log", forked, forked == 1);

    tell("api, which may choose among its roles: connects as postgres");
    let api = connects(mesh, Workload::Api, "postgres").await?;
    let sqlstate = api.sqlstate.as_deref().unwrap_or("no SQLSTATE");
    println!("     “{}”", api.message);
    table.add(4, "api says user=postgres: ErrorResponse", sqlstate, sqlstate == "28000");
    table.add(4, "  backends forked, by Postgres' log", api.forked, api.forked == 0);
    Ok(())
}

pub(crate) async fn rotation(mesh: &Mesh, table: &mut Table) -> Result<()> {
    chapter(5, "SVIDs rotate under a small load");
    match &mesh.source {
        IdentitySource::DevAgent(_) => tell("dev-agent is told to rotate, twice"),
        IdentitySource::Spire(_) => {
            tell("SPIRE renews at half the life of 60 s: this takes about a minute");
        }
    }
    let rotation = rotates_under_load(mesh, ROTATIONS, tell).await?;
    let tally = &rotation.tally;
    let done = format!("{} requests, {} sessions", tally.requests, tally.sessions);
    table.add(5, "meanwhile", done, tally.requests > 0 && tally.sessions > 0);
    for failure in tally.failures.iter().take(3) {
        println!("     {failure}");
    }
    table.add(5, "failed", tally.failures.len(), tally.failures.is_empty());
    for (workload, serials) in &rotation.serials {
        let short: Vec<&str> =
            serials.iter().map(|serial| &serial[..serial.len().min(6)]).collect();
        let what = format!("serials that {} presented", workload.name());
        let seen = format!("{}: {}", serials.len(), short.join(" "));
        table.add(5, &what, seen, serials.len() > ROTATIONS);
    }
    if let Some(roots) = mesh.source.authorities(&mesh.stage)? {
        let leaf = presented_by(mesh.ingress(Workload::Api)).await?;
        let serials = rotation.serials[&Workload::Api].len();
        let right = roots.contains(&leaf.authority) && serials >= 2;
        table.add(5, "serials from SPIRE while it ran", serials, right);
    }
    Ok(())
}

pub(crate) async fn policy_edit(mesh: &Mesh, table: &mut Table) -> Result<()> {
    chapter(6, "the policy is edited while everything runs");
    tell(&format!("{}: the rule client-writes is shadow no more", mesh.policy.path().display()));
    let edit = policy_is_edited(mesh, (SHADOW, ""), new_customer()).await?;
    let answers = format!("{} → {}", edit.before, edit.after);
    table.add(6, "POST /customers", answers, (edit.before, edit.after) == (403, 201));
    let took = format!("{:.2} s", edit.took.as_secs_f32());
    table.add(6, "in force after", took, edit.took <= EDIT_IN_FORCE);
    let sql = "select string_agg(name, ', ') from customers where email = 'counter@quay.customers.example'";
    let added = mesh.postgres.sql(&mesh.stage, "customers", sql)?;
    table.add(6, "added in Postgres", &added, added == "Old Quay Tools");
    let api = &mesh.sidecar(Workload::Api).envoy;
    let drained = api.stat("listener_manager.listener_modified").await?
        + api.stat("listener_manager.total_listeners_draining").await?;
    table.add(6, "listeners of api-proxy drained for it", drained, drained == 0);
    Ok(())
}
