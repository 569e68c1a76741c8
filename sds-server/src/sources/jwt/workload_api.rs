//! The SPIFFE Workload API as an issuer of JWT-SVIDs.

use spiffe::{JwtSvid, WorkloadApiClient};

use super::{JwtIssuer, JwtRequest};
use crate::config::UnixAddress;
use crate::sources::trouble::Endpoint;

/// The Workload API at a socket.
#[derive(Debug)]
pub struct WorkloadApiIssuer {
    endpoint: Endpoint,
}

impl WorkloadApiIssuer {
    /// Asks at `socket`, with a connection of its own for each request.
    pub fn new(socket: UnixAddress) -> Self {
        Self { endpoint: Endpoint { api: "Workload API", address: socket } }
    }
}

impl JwtIssuer for WorkloadApiIssuer {
    async fn fetch(&self, request: &JwtRequest) -> Result<JwtSvid, String> {
        let asking = async {
            let client = WorkloadApiClient::connect_to(self.endpoint.address.to_string()).await?;
            client.fetch_jwt_svid(&request.audience, Some(&request.id)).await
        };
        let asking = async { asking.await.map_err(|error| self.endpoint.workload_api(&error)) };
        let svid = self.endpoint.answered(asking).await.map_err(|trouble| trouble.to_string())?;
        request.confirm(svid)
    }
}
