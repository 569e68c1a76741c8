//! Points 2 and 3: what the API lets the client do, and what it is told about the client.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{Launch, Mesh, Workload, http::Ask};

/// A caller's answer from `/customers`, as the API wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The status code.
    pub status: u16,
    /// How many customers came.
    pub rows: usize,
    /// The caller's SPIFFE ID as the API saw it; empty if it said none.
    pub caller: String,
    /// The rule that the API was told.
    pub rule: String,
    /// The login role that Postgres named.
    pub session_user: String,
    /// The role in force that Postgres named.
    pub current_user: String,
}

/// Headers that a client would forge, and what it would like them to say.
pub const FORGED: [(&str, &str); 3] = [
    ("x-spiffe-id", "spiffe://example.org/ns/postgres-ns/sa/customer-db"),
    ("x-db-role", "customers_writer"),
    ("x_db_role", "customers_writer"),
];

/// The caller asks for all customers, through its sidecar.
pub async fn reads_customers(mesh: &Mesh, caller: Workload) -> Result<Read> {
    read(mesh, caller, None).await
}

/// The same with one of the [`FORGED`] headers.
pub async fn forges(mesh: &Mesh, (header, value): (&str, &str)) -> Result<Read> {
    read(mesh, Workload::Client, Some(format!("{header}:{value}"))).await
}

/// Runs the example's client and reads what it prints.
async fn read(mesh: &Mesh, caller: Workload, header: Option<String>) -> Result<Read> {
    let program = mesh.stage.within_reach(&mesh.stage.programs.own("example-client")?)?;
    let proxy = format!("unix:{}", mesh.http_socket(caller).display());
    let mut launch = Launch::new("example-client", program, &mesh.stage.accounts.mesh).args([
        "--output=json",
        "--proxy",
        &proxy,
        "GET",
        "/customers",
    ]);
    if let Some(header) = header {
        launch = launch.args(["--header", &header]);
    }
    let printed = launch.printed().await?;
    let answer: Value = serde_json::from_str(&printed)
        .with_context(|| format!("example-client printed no JSON: {printed}"))?;
    let body = &answer["body"];
    let text = |pointer: &str| {
        let found = body.pointer(pointer).and_then(Value::as_str);
        found.unwrap_or_default().to_owned()
    };
    Ok(Read {
        status: answer["status"].as_u64().and_then(|status| status.try_into().ok()).unwrap_or(0),
        rows: body["customers"].as_array().map_or(0, Vec::len),
        caller: text("/caller/spiffe_id"),
        rule: text("/caller/rule"),
        session_user: text("/postgres/session_user"),
        current_user: text("/postgres/current_user"),
    })
}

/// A request that the policy may deny, and what the API's Envoy logged about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The status code.
    pub status: u16,
    /// The SPIFFE ID that the log names.
    pub logged_caller: String,
    /// The decision that the log names.
    pub logged_decision: String,
    /// The rule that the log names.
    pub logged_rule: String,
    /// Envoy's response code details.
    pub logged_details: String,
    /// The request's id: as the caller was told, and as the log has it.
    pub request_ids: [String; 2],
}

/// The client asks for something, and the access log of the API's Envoy is read afterwards.
pub async fn is_denied(mesh: &Mesh, method: &str, path: &str) -> Result<Denial> {
    let envoy = &mesh.sidecar(Workload::Api).envoy;
    let seen = envoy.access_log().len();
    let reply = Ask::new(method, path).unix(&mesh.http_socket(Workload::Client)).await?;
    let line = envoy.logged(seen, |line| line["method"] == method && line["path"] == path).await?;
    let logged = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
    let told: Value = serde_json::from_str(&reply.body).unwrap_or_default();
    let told_id = told["request_id"].as_str().unwrap_or_default().to_owned();
    Ok(Denial {
        status: reply.status,
        logged_caller: logged("spiffe_id"),
        logged_decision: logged("decision"),
        logged_rule: logged("rule"),
        logged_details: logged("details"),
        request_ids: [told_id, logged("request_id")],
    })
}
