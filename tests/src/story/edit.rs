//! Point 6: the policy file is edited while everything runs.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use crate::{Mesh, Workload, http::Ask, until};

/// The line that keeps the demo's rule `client-writes` from being enforced.
pub const SHADOW: &str = "    mode: shadow\n";

/// What that rule will allow once the line is gone: a customer to be added.
pub fn new_customer() -> Ask {
    let customer = json!({ "name": "Old Quay Tools", "email": "counter@quay.customers.example" });
    Ask::new("POST", "/customers").json(&customer)
}

/// A call before and after the edit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The status code before.
    pub before: u16,
    /// The status code after.
    pub after: u16,
    /// From the file's change to the first other answer.
    pub took: Duration,
}

/// Replaces a passage of the policy and asks again and again until the answer changes.
pub async fn policy_is_edited(
    mesh: &Mesh,
    (passage, replacement): (&str, &str),
    ask: Ask,
) -> Result<Edit> {
    let socket = mesh.http_socket(Workload::Client);
    let before = ask.clone().unix(&socket).await?.status;
    let start = Instant::now();
    mesh.policy.edit(passage, replacement)?;
    let after = until("the policy's edit is in force", Duration::from_secs(20), async || {
        let status = ask.clone().unix(&socket).await?.status;
        anyhow::ensure!(status != before, "still {status}");
        Ok(status)
    })
    .await?;
    Ok(Edit { before, after, took: start.elapsed() })
}
