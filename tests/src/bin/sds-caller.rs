//! Asks an SDS server for one secret on several connections and streams, and prints each answer on a line:
//! a certificate's SPIFFE ID and serial number, a JWT-SVID's subject and audience, a bundle's name. It accepts everything and
//! stays until it is ended.
//!
//! A program of its own, because the server of a node tells processes apart.

use std::{path::PathBuf, thread::sleep, time::Duration};

use anyhow::{Context, Result};
use clap::Parser;
use e2e::sds::{Heard, SdsClient, SdsStream, claims, leaf};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{Secret, secret::Type};
use tokio::task::JoinSet;

#[derive(Parser)]
struct Arguments {
    /// The server's Unix socket; waited for if it does not exist yet.
    socket: PathBuf,
    /// The secret's name.
    #[arg(long, default_value = "default")]
    name: String,
    /// Ask by a single request, without a stream, and end.
    #[arg(long, conflicts_with_all = ["connections", "streams"])]
    fetch: bool,
    /// Connections to open.
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Streams to open on each.
    #[arg(long, default_value_t = 1)]
    streams: usize,
}

/// How often a thousand of them may look whether there is a socket, and leave the machine to others.
const LOOK: Duration = Duration::from_millis(100);

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    // Whoever started us has patience, and ends us.
    while !arguments.socket.exists() {
        sleep(LOOK);
    }
    ask(&arguments)
}

#[tokio::main(flavor = "current_thread")]
async fn ask(arguments: &Arguments) -> Result<()> {
    if arguments.fetch {
        let client = SdsClient::connect(&arguments.socket).await?;
        let fetched = client.fetch(&[&arguments.name]).await;
        let (_, secrets) = fetched.map_err(|code| anyhow::anyhow!("refused: {code:?}"))?;
        for secret in &secrets {
            println!("{}", told(secret)?);
        }
        return Ok(());
    }
    let mut streams = JoinSet::new();
    for _ in 0..arguments.connections {
        let client = SdsClient::connect(&arguments.socket).await?;
        for _ in 0..arguments.streams {
            let stream = client.open(&[&arguments.name]);
            streams.spawn(follow(stream, arguments.name.clone()));
        }
    }
    while let Some(ended) = streams.join_next().await {
        ended??;
    }
    Ok(())
}

async fn follow(mut stream: SdsStream, name: String) -> Result<()> {
    loop {
        match stream.hear().await {
            Heard::Pushed(secrets) => {
                for secret in &secrets {
                    println!("{}", told(secret)?);
                }
                stream.accept(&[&name]);
            }
            Heard::Silence => {}
            Heard::Ended(code) => anyhow::bail!("the stream ended: {code:?}"),
        }
    }
}

fn told(secret: &Secret) -> Result<String> {
    if secret.name.starts_with("jwt?") {
        let claims = claims(secret)?;
        let subject = claims["sub"].as_str().context("a token without a subject")?;
        return Ok(format!("{subject} {}", claims["aud"]));
    }
    if let Some(Type::ValidationContext(_)) = secret.r#type {
        return Ok(secret.name.clone());
    }
    let leaf = leaf(secret)?;
    Ok(format!("{} {}", leaf.spiffe_id, leaf.serial))
}
