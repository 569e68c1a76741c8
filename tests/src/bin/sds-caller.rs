//! Asks an SDS server for `default` on several connections and streams, and prints each answer's
//! SPIFFE ID and serial number on a line. It accepts everything and stays until it is ended.
//!
//! A program of its own, because the server of a node tells processes apart.

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use clap::Parser;
use e2e::sds::{Heard, SdsClient, SdsStream, leaf};
use tokio::{task::JoinSet, time::sleep};

#[derive(Parser)]
struct Arguments {
    /// The server's Unix socket; waited for if it does not exist yet.
    socket: PathBuf,
    /// Connections to open.
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Streams to open on each.
    #[arg(long, default_value_t = 1)]
    streams: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    while !arguments.socket.exists() {
        sleep(Duration::from_millis(10)).await;
    }
    let mut streams = JoinSet::new();
    for _ in 0..arguments.connections {
        let client = SdsClient::connect(&arguments.socket).await?;
        for _ in 0..arguments.streams {
            streams.spawn(follow(client.open(&["default"])));
        }
    }
    while let Some(ended) = streams.join_next().await {
        ended??;
    }
    Ok(())
}

async fn follow(mut stream: SdsStream) -> Result<()> {
    loop {
        match stream.hear().await {
            Heard::Pushed(secrets) => {
                for secret in &secrets {
                    let leaf = leaf(secret)?;
                    println!("{} {}", leaf.spiffe_id, leaf.serial);
                }
                stream.accept(&["default"]);
            }
            Heard::Silence => {}
            Heard::Ended(code) => anyhow::bail!("the stream ended: {code:?}"),
        }
    }
}
