//! What is in the secrets beyond SPIRE agent's, as real Envoys take it.

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use e2e::{
    IdentitySource, MeshPlan, PATIENCE, Pair, PairPlan, PostgresVersion, SdsServer, SourceKind,
    Stage, TRUST_DOMAIN, Workload, bootstrap::holders, story::reads_customers, until,
};
use serde_json::{Value, json};

/// A server of secrets for one end of the pair.
async fn server(
    stage: &Stage,
    source: &IdentitySource,
    workload: Workload,
    addition: &str,
) -> Result<SdsServer> {
    let program = source.program(stage, workload, "sds-server")?;
    let (name, api) = (workload.name(), source.socket(workload));
    let mut server = SdsServer::of_secrets(stage, name, &program, &api, addition)?;
    server.ready().await?;
    Ok(server)
}

/// Asks for another secret wherever one of this name is asked for.
fn rename(configuration: &mut Value, from: &str, to: &str) {
    holders(configuration, "sds_config", &mut |asked| {
        if asked["name"] == from {
            asked["name"] = json!(to);
        }
    });
}

/// Handshakes that the server refused for the client's name.
async fn refused_names(pair: &Pair) -> Result<u64> {
    let page = pair.server.admin("/stats?filter=ssl.fail_verify_san").await?;
    let counts = page.lines().filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    Ok(counts.sum())
}

async fn accepts_whom_the_operator_names(form: &str) -> Result<()> {
    let stage = Stage::set(None)?;
    let source = IdentitySource::start(&stage, SourceKind::DevAgent, 60).await?;
    let [client_id, other_id] = [Workload::Client, Workload::Db].map(Workload::spiffe_id);
    let accepted = format!(
        "validation:
  ROOTCA: [{{ exact: '{other_id}' }}, {{ exact: '{client_id}' }}]
  'spiffe://{TRUST_DOMAIN}': [{{ exact: '{other_id}' }}]
  'bundle?td={TRUST_DOMAIN},other.example': [{{ prefix: 'spiffe://{TRUST_DOMAIN}/ns/client-ns/' }}]"
    );
    let answering = server(&stage, &source, Workload::Api, &accepted).await?;
    let asking = server(&stage, &source, Workload::Client, "").await?;
    let sockets = [&answering, &asking].map(|server| SdsServer::socket(server.directory()));
    let plain = form == ".x509";
    let plan =
        PairPlan::new("named", &sockets[0], &sockets[1]).mutate(move |end, configuration| {
            if end == Workload::Api {
                rename(configuration, "ALL", &format!("bundle?td={TRUST_DOMAIN},other.example"));
            }
            if end == Workload::Api && plain {
                rename(configuration, "ROOTCA", "ROOTCA.x509");
                let domain = format!("spiffe://{TRUST_DOMAIN}");
                rename(configuration, &domain, &format!("bundle.x509?td={TRUST_DOMAIN}"));
            }
        });
    let pair = plan.start(&stage).await?;
    pair.answers("default", 200).await?;
    pair.answers("all", 200).await?;
    ensure!(refused_names(&pair).await? == 0, "refused before anybody was to be");
    pair.answers("own-id", 503).await?;
    until("Envoy counts the refusal", PATIENCE, async || {
        ensure!(refused_names(&pair).await? > 0, "not yet");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_spiffe_validator_accepts_whom_the_operator_names() {
    accepts_whom_the_operator_names(".spiffe").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_list_of_authorities_accepts_whom_the_operator_names() {
    accepts_whom_the_operator_names(".x509").await.unwrap();
}

/// Has the asking Envoy put a JWT-SVID into every request, and the answering one write it down.
fn with_tokens(end: Workload, configuration: &mut Value) {
    if end == Workload::Api {
        holders(configuration, "json_format", &mut |log| {
            log["json_format"]["authorization"] = json!("%REQ(AUTHORIZATION)%");
        });
        return;
    }
    let mut sds = Value::Null;
    holders(configuration, "sds_config", &mut |asked| sds = asked["sds_config"].clone());
    holders(configuration, "http_filters", &mut |manager| {
        let injector = json!({
            "name": "envoy.filters.http.credential_injector",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.credential_injector.v3.CredentialInjector",
                "overwrite": true,
                "credential": {
                    "name": "envoy.http.injected_credentials.generic",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.http.injected_credentials.generic.v3.Generic",
                        "credential": { "name": "jwt?aud=https://api/", "sds_config": sds },
                        "header_value_prefix": "Bearer ",
                    },
                },
            },
        });
        manager["http_filters"].as_array_mut().expect("a list").insert(0, injector);
    });
}

/// The token of one request, as it arrived.
async fn token(pair: &Pair) -> Result<String> {
    let seen = pair.server.access_log().len();
    let reply = pair.ask("default").await?;
    ensure!(reply.status == 200, "{} {}", reply.status, reply.body);
    let line = pair.server.logged(seen, |line| line["chain"] == "default").await?;
    let header = line["authorization"].as_str().context("no token")?;
    Ok(header.strip_prefix("Bearer ").context("no bearer")?.to_owned())
}

async fn requests_carry_jwt_svids(kind: SourceKind, ttl: u32) -> Result<()> {
    let stage = Stage::set(None)?;
    let source = IdentitySource::start(&stage, kind, ttl).await?;
    let answering = server(&stage, &source, Workload::Api, "").await?;
    let asking = server(&stage, &source, Workload::Client, "").await?;
    let sockets = [&answering, &asking].map(|server| SdsServer::socket(server.directory()));
    let plan = PairPlan::new("token", &sockets[0], &sockets[1]).mutate(with_tokens);
    let pair = plan.start(&stage).await?;
    let first = token(&pair).await?;
    let claims = first.split('.').nth(1).context("no claims")?;
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims)?)?;
    ensure!(claims["sub"] == Workload::Client.spiffe_id(), "{claims}");
    ensure!(claims["aud"] == json!(["https://api/"]), "{claims}");
    until("the token is renewed", PATIENCE, async || {
        ensure!(token(&pair).await? != first, "still the first");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_carry_jwt_svids_of_dev_agent() {
    requests_carry_jwt_svids(SourceKind::DevAgent, 10).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_carry_jwt_svids_of_spire() {
    requests_carry_jwt_svids(SourceKind::Spire, 20).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_takes_the_slice_of_the_identity_that_its_name_tells() {
    let plan = MeshPlan::new(SourceKind::DevAgent, PostgresVersion::V15);
    let plan = plan.mutate(Workload::Api, |configuration| {
        holders(configuration, "config_discovery", &mut |filter| {
            if filter["name"] == "signet.http" {
                filter["name"] = json!(format!("signet.http?id={}", Workload::Api.spiffe_id()));
            }
        });
    });
    let mesh = plan.start().await.unwrap();
    assert_eq!(reads_customers(&mesh, Workload::Client).await.unwrap().status, 200);
    assert_eq!(reads_customers(&mesh, Workload::Report).await.unwrap().status, 403);
}
