//! Fetches one X.509-SVID from a Workload API and prints it as JSON, in hex: `{"chain": […], "key": …, "bundle": […]}`.
//!
//! A program of its own, because SPIRE tells workloads apart by the path of the program that asks.

use anyhow::{Context, Result};
use spiffe::Certificate;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let socket = std::env::args().nth(1).context("usage: fetch-svid SOCKET")?;
    let client = spiffe::WorkloadApiClient::connect_to(format!("unix://{socket}")).await?;
    let context = client.fetch_x509_context().await?;
    let svid = context.default_svid().context("the Workload API has no SVID for us")?;
    let bundle = context.bundle_set().get(svid.spiffe_id().trust_domain());
    let bundle = bundle.context("the Workload API has no bundle of our trust domain")?;
    let print = serde_json::json!({
        "chain": hexes(svid.cert_chain()),
        "key": hex::encode(svid.private_key().as_bytes()),
        "bundle": hexes(bundle.authorities()),
    });
    println!("{print}");
    Ok(())
}

fn hexes(certificates: &[Certificate]) -> Vec<String> {
    certificates.iter().map(|certificate| hex::encode(certificate.as_bytes())).collect()
}
