//! The Workload API of one socket: <https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE_Workload_API.md>.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use spiffe::{SpiffeId, TrustDomain};
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;
use tonic::{Request, Response, Status};

use crate::agent::Agent;
use crate::jwt;
use crate::proto::spiffe_workload_api_server::{SpiffeWorkloadApi, SpiffeWorkloadApiServer};
use crate::proto::{
    JwtBundlesRequest, JwtBundlesResponse, Jwtsvid, JwtsvidRequest, JwtsvidResponse,
    ValidateJwtsvidRequest, ValidateJwtsvidResponse, X509BundlesRequest, X509BundlesResponse,
    X509svid, X509svidRequest, X509svidResponse,
};
use crate::subscription::Subscription;
use crate::view::{Identity, View};

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// One workload's view of the authority.
pub(crate) struct WorkloadApi {
    agent: Arc<Agent>,
    workload: String,
    connections: CancellationToken,
}

/// The service, behind the header that keeps a browser from asking.
pub(crate) type Service = InterceptedService<
    SpiffeWorkloadApiServer<WorkloadApi>,
    fn(Request<()>) -> Result<Request<()>, Status>,
>;

impl WorkloadApi {
    /// The service for one workload, whose streams end with `connections`.
    pub(crate) fn service(
        agent: Arc<Agent>,
        workload: String,
        connections: CancellationToken,
    ) -> Service {
        SpiffeWorkloadApiServer::with_interceptor(
            Self { agent, workload, connections },
            require_security_header,
        )
    }

    fn subscribe(&self) -> Result<Subscription, Status> {
        Ok(Subscription {
            view: self
                .agent
                .watch(&self.workload)
                .map_err(|error| Status::internal(error.to_string()))?,
            conduct: self.agent.conduct(),
            connections: self.connections.clone(),
        })
    }
}

/// Section 6.1: a request without the header is refused, so that no server-side request forgery reaches the API.
fn require_security_header(request: Request<()>) -> Result<Request<()>, Status> {
    match request.metadata().get("workload.spiffe.io") {
        Some(value) if value == "true" => Ok(request),
        _ => Err(Status::invalid_argument(
            "security header missing from request: workload.spiffe.io must be \"true\"",
        )),
    }
}

#[tonic::async_trait]
impl SpiffeWorkloadApi for WorkloadApi {
    type FetchX509SVIDStream = Responses<X509svidResponse>;
    type FetchX509BundlesStream = Responses<X509BundlesResponse>;
    type FetchJWTBundlesStream = Responses<JwtBundlesResponse>;

    async fn fetch_x509svid(
        &self,
        _: Request<X509svidRequest>,
    ) -> Result<Response<Self::FetchX509SVIDStream>, Status> {
        let own = self.agent.trust_domain().clone();
        Ok(Response::new(Box::pin(self.subscribe()?.stream(move |view| x509_svids(view, &own)))))
    }

    async fn fetch_x509_bundles(
        &self,
        _: Request<X509BundlesRequest>,
    ) -> Result<Response<Self::FetchX509BundlesStream>, Status> {
        let bundles = |view: &View| {
            issued(view)?;
            Ok(X509BundlesResponse { crl: Vec::new(), bundles: keyed_by_id(&view.trust.x509) })
        };
        Ok(Response::new(Box::pin(self.subscribe()?.stream(bundles))))
    }

    async fn fetch_jwt_bundles(
        &self,
        _: Request<JwtBundlesRequest>,
    ) -> Result<Response<Self::FetchJWTBundlesStream>, Status> {
        let bundles = |view: &View| {
            issued(view)?;
            Ok(JwtBundlesResponse { bundles: keyed_by_id(&view.trust.jwks) })
        };
        Ok(Response::new(Box::pin(self.subscribe()?.stream(bundles))))
    }

    async fn fetch_jwtsvid(
        &self,
        request: Request<JwtsvidRequest>,
    ) -> Result<Response<JwtsvidResponse>, Status> {
        let JwtsvidRequest { audience, spiffe_id } = request.into_inner();
        if audience.is_empty() {
            return Err(Status::invalid_argument("audience is empty, accepted: at least one"));
        }
        let ids: Vec<SpiffeId> = self
            .subscribe()?
            .once(|view| Ok(issued(view)?.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>()))
            .await?
            .into_iter()
            .filter(|id| spiffe_id.is_empty() || id.to_string() == spiffe_id)
            .collect();
        if ids.is_empty() {
            return Err(no_identity());
        }
        let sign = |id: &SpiffeId| {
            let svid = self
                .agent
                .jwt(id, &audience)
                .map_err(|error| Status::internal(error.to_string()))?;
            Ok(Jwtsvid { spiffe_id: id.to_string(), svid, hint: String::new() })
        };
        let svids = ids.iter().map(sign).collect::<Result<_, Status>>()?;
        Ok(Response::new(JwtsvidResponse { svids }))
    }

    async fn validate_jwtsvid(
        &self,
        request: Request<ValidateJwtsvidRequest>,
    ) -> Result<Response<ValidateJwtsvidResponse>, Status> {
        let ValidateJwtsvidRequest { audience, svid } = request.into_inner();
        let verified = self.subscribe()?.once(|view| {
            let (id, claims) = jwt::verify(&svid, &audience, &view.trust.jwks)
                .map_err(|error| Status::invalid_argument(error.to_string()))?;
            Ok(ValidateJwtsvidResponse {
                spiffe_id: id.to_string(),
                claims: Some(jwt::as_struct(claims)),
            })
        });
        Ok(Response::new(verified.await?))
    }
}

fn x509_svids(view: &View, own: &TrustDomain) -> Result<X509svidResponse, Status> {
    let bundle = &view.trust.x509[own];
    let svids = issued(view)?
        .iter()
        .map(|(id, svid)| X509svid {
            spiffe_id: id.to_string(),
            x509_svid: svid.chain_der(),
            x509_svid_key: svid.key_der(),
            bundle: bundle.clone(),
            hint: String::new(),
        })
        .collect();
    let mut federated_bundles = keyed_by_id(&view.trust.x509);
    federated_bundles.remove(&own.id_string());
    Ok(X509svidResponse { svids, crl: Vec::new(), federated_bundles })
}

type Svids = [(SpiffeId, Arc<crate::svid::X509Svid>)];

fn issued(view: &View) -> Result<&Svids, Status> {
    match &view.identity {
        Identity::Issued(svids) => Ok(svids),
        Identity::Withdrawn => Err(no_identity()),
    }
}

fn no_identity() -> Status {
    Status::permission_denied("no identity issued")
}

fn keyed_by_id<'a>(
    bundles: impl IntoIterator<Item = (&'a TrustDomain, &'a Vec<u8>)>,
) -> HashMap<String, Vec<u8>> {
    bundles
        .into_iter()
        .map(|(trust_domain, bundle)| (trust_domain.id_string(), bundle.clone()))
        .collect()
}
