//! The demo's client: asks through its own sidecar, and says what came of it by its exit code.

mod exchange;
mod load;
mod proxy;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, StatusCode, Uri};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::exchange::Ask;
use crate::load::{Load, Report};
use crate::proxy::Proxy;

/// Everything was answered with 2xx.
const ANSWERED: u8 = 0;
/// Something was answered with 4xx.
const DENIED: u8 = 1;
/// Something was answered otherwise (503 is Envoy's word for an upstream that cannot be reached), or not at all.
const FAULT: u8 = 2;

/// Sends a request through the client's Envoy sidecar and prints the answer.
///
/// Exit code: 0 for 2xx, 1 for 4xx (denied), 2 for any other answer or none. With --repeat or --seconds it sends the
/// request many times and prints a report; the exit code is that of the worst answer.
#[derive(Parser)]
#[command(version, max_term_width = 110)]
struct Arguments {
    /// The sidecar: unix:PATH or http://127.0.0.1:PORT
    #[arg(long, env = "EXAMPLE_CLIENT_PROXY")]
    proxy: Proxy,
    /// GET, POST, DELETE, …
    method: Method,
    /// Path and query, sent as they are
    target: Uri,
    /// A header as NAME:VALUE; may come again, with the same name too
    #[arg(short = 'H', long, value_name = "NAME:VALUE", value_parser = header)]
    header: Vec<(HeaderName, HeaderValue)>,
    /// A body, by default of type application/json
    #[arg(short, long)]
    data: Option<String>,
    /// Time for each request
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Print for people or for programs
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
    /// Send it so many times
    #[arg(long, value_name = "N")]
    repeat: Option<u64>,
    /// Send it again and again for so long
    #[arg(long, value_name = "S")]
    seconds: Option<u64>,
    /// Requests under way at once
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: u16,
    /// How many of a hundred requests open a new connection
    #[arg(long, value_name = "PERCENT", default_value_t = 10, value_parser = clap::value_parser!(u8).range(..=100))]
    new_connections: u8,
    /// Requests begun per second, at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Output {
    Text,
    Json,
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("accepted: NAME:VALUE")?;
    let name = name.trim().parse().map_err(|_| format!("{name:?} is no header name"))?;
    let value = value.trim().parse().map_err(|_| format!("{value:?} is no header value"))?;
    Ok((name, value))
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let load = arguments.load();
    let Arguments { proxy, method, target, header, data, timeout, output, .. } = arguments;
    let ask = Ask::new(&proxy, method, target, header, data, timeout);
    let code = match load {
        Some(load) => ask_often(proxy, ask, load, output).await,
        None => ask_once(&proxy, &ask, output).await,
    };
    ExitCode::from(code)
}

impl Arguments {
    fn load(&self) -> Option<Load> {
        (self.repeat.is_some() || self.seconds.is_some()).then(|| Load {
            requests: self.repeat.unwrap_or(u64::MAX),
            duration: self.seconds.map(Duration::from_secs),
            concurrency: self.concurrency,
            new_connections: self.new_connections,
            rate: self.rate,
        })
    }
}

async fn ask_once(proxy: &Proxy, ask: &Ask, output: Output) -> u8 {
    let outcome = async { ask.send(&mut proxy.connect().await?).await };
    match outcome.await {
        Ok(answer) => {
            match output {
                Output::Text => println!("{}", answer.as_text()),
                Output::Json => println!("{:#}", answer.as_json()),
            }
            exit_code(answer.status)
        }
        Err(fault) => {
            match output {
                Output::Text => eprintln!("example-client: {fault}"),
                Output::Json => println!("{:#}", serde_json::json!({ "fault": fault.to_string() })),
            }
            FAULT
        }
    }
}

/// Ended by SIGINT or SIGTERM it reports what it has seen so far.
async fn ask_often(proxy: Proxy, ask: Ask, load: Load, output: Output) -> u8 {
    let stop = CancellationToken::new();
    match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        (Ok(mut interrupt), Ok(mut terminate)) => {
            let stop = stop.clone();
            tokio::spawn(async move {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                stop.cancel();
            });
        }
        _ => eprintln!("example-client: no report will follow a signal: handlers cannot be set"),
    }
    let report = load::run(proxy, ask, load, stop).await;
    match output {
        Output::Text => println!("{report}"),
        Output::Json => println!("{:#}", serde_json::json!(report)),
    }
    worst(&report)
}

fn exit_code(status: StatusCode) -> u8 {
    match status.as_u16() {
        200..=299 => ANSWERED,
        400..=499 => DENIED,
        _ => FAULT,
    }
}

fn worst(report: &Report) -> u8 {
    if !report.faults.is_empty() {
        return FAULT;
    }
    let codes =
        report.statuses.keys().map(|status| StatusCode::from_u16(*status).map_or(FAULT, exit_code));
    codes.max().unwrap_or(FAULT)
}
