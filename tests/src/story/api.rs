//! Points 2 and 3: what the API lets the client do, and what it is told about the client.

use anyhow::Result;

use crate::{Mesh, Workload, http::Ask};

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
    read(mesh, caller, Ask::get("/customers")).await
}

/// The same with one of the [`FORGED`] headers.
pub async fn forges(mesh: &Mesh, (header, value): (&str, &str)) -> Result<Read> {
    read(mesh, Workload::Client, Ask::get("/customers").header(header, value)).await
}

async fn read(mesh: &Mesh, caller: Workload, ask: Ask) -> Result<Read> {
    let reply = ask.unix(&mesh.http_socket(caller)).await?;
    let body = reply.json();
    let text = |pointer: &str| {
        let found = body.pointer(pointer).and_then(serde_json::Value::as_str);
        found.unwrap_or_default().to_owned()
    };
    Ok(Read {
        status: reply.status,
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
}

/// The client asks for something, and the access log of the API's Envoy is read afterwards.
pub async fn is_denied(mesh: &Mesh, method: &str, path: &str) -> Result<Denial> {
    let envoy = &mesh.sidecar(Workload::Api).envoy;
    let seen = envoy.access_log().len();
    let reply = Ask::new(method, path).unix(&mesh.http_socket(Workload::Client)).await?;
    let line = envoy.logged(seen, |line| line["method"] == method && line["path"] == path).await?;
    let logged = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
    Ok(Denial {
        status: reply.status,
        logged_caller: logged("spiffe_id"),
        logged_decision: logged("decision"),
        logged_rule: logged("rule"),
    })
}
