//! The server as a process, a Workload API that tests steer, and an SDS client.

#![allow(dead_code, unused_imports, reason = "each test program uses a part")]

mod agent;
pub(crate) mod aim;
mod authority;
mod broker;
mod client;
pub(crate) mod hostile;
mod other_user;
pub(crate) mod raw;
mod server;
mod token;

use std::future::Future;
use std::time::Duration;

pub(crate) use agent::{Agent, Identity};
pub(crate) use authority::Authority;
pub(crate) use broker::Broker;
pub(crate) use client::{
    Client, Discovery, Pushed, accepted, certificate, generic, key, plain_authority, tls,
    trust_domains,
};
pub(crate) use other_user::{NOBODY, as_user};
pub(crate) use server::{Launch, Server};
pub(crate) use token::token;

pub(crate) const HOUR: Duration = Duration::from_hours(1);

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// A server with this configuration added, which serves the identity `/a` of this authority, issued by this
/// Workload API.
pub(crate) async fn served(addition: &str) -> (Server, Agent, Authority) {
    let server = Server::start(addition).await;
    let agent = Agent::serve(&server.at("agent.sock"));
    let authority = Authority::new("example.org");
    agent.issue(&[&Identity::new(&authority, "/a", HOUR)], &[]);
    server.wait_for_readiness(200, "").await;
    (server, agent, authority)
}

/// Waits until `condition` gives a value.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut condition: impl FnMut() -> F,
) -> T {
    let waiting = async {
        loop {
            if let Some(value) = condition().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .unwrap_or_else(|_| panic!("never came true: {what}"))
}
