//! Fetches one X.509-SVID from a Workload API and prints it as JSON, in hex: `{"chain": […], "key": …}`.
//!
//! A program of its own, because SPIRE tells workloads apart by the path of the program that asks.

use anyhow::{Context, Result};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let socket = std::env::args().nth(1).context("usage: fetch-svid SOCKET")?;
    let client = spiffe::WorkloadApiClient::connect_to(format!("unix://{socket}")).await?;
    let svid = client.fetch_x509_svid().await?;
    let chain: Vec<String> =
        svid.cert_chain().iter().map(|certificate| hex::encode(certificate.as_bytes())).collect();
    println!(
        "{}",
        serde_json::json!({ "chain": chain, "key": hex::encode(svid.private_key().as_bytes()) })
    );
    Ok(())
}
