//! The demo's API: customers in Postgres, read and written in the role that the sidecar's filter names.

mod customers;
mod database;
mod listen;
mod problem;

use std::process::ExitCode;

use axum::extract::FromRef;
use axum::http::HeaderMap;
use axum::routing::get;
use axum::{Json, Router};
use caller_role::{Role, RoleConnections, Roles};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio_postgres::config::Host;
use tracing_subscriber::EnvFilter;

use crate::database::RoleInjection;
use crate::listen::ListenAddress;

/// Customers in Postgres, behind an Envoy sidecar.
///
/// Believes the headers x-spiffe-id, x-db-role and x-signet-rule, which the sidecar's filter writes, and therefore
/// listens where only the sidecar gets to. Answers 403 without them.
#[derive(Parser)]
#[command(version, max_term_width = 110)]
struct Arguments {
    /// Where to listen: unix:PATH, or 127.0.0.1:PORT (0: a free one)
    #[arg(long, env = "EXAMPLE_API_LISTEN", default_value = "127.0.0.1:8080")]
    listen: ListenAddress,
    /// The database through the sidecar, on a Unix socket or loopback, as libpq writes it
    #[arg(
        long,
        env = "EXAMPLE_API_DATABASE",
        default_value = "host=127.0.0.1 port=5432 user=api dbname=customers",
        value_parser = database_config
    )]
    database: tokio_postgres::Config,
    /// The roles that the API may take, and no other
    #[arg(
        long = "role",
        env = "EXAMPLE_API_ROLES",
        value_delimiter = ',',
        default_value = "customers_reader,customers_writer"
    )]
    roles: Vec<Role>,
    /// How a transaction comes to its role
    #[arg(long, env = "EXAMPLE_API_ROLE_INJECTION", value_enum, default_value = "set-config")]
    role_injection: RoleInjection,
    /// Most connections per login
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
}

/// What every request may use.
#[derive(Clone)]
struct App {
    roles: Roles,
    database: RoleConnections,
}

impl FromRef<App> for Roles {
    fn from_ref(app: &App) -> Self {
        app.roles.clone()
    }
}

/// A connection string that leads to the sidecar: nothing else is encrypted on the way.
fn database_config(text: &str) -> Result<tokio_postgres::Config, String> {
    let config: tokio_postgres::Config =
        text.parse().map_err(|error: tokio_postgres::Error| error.to_string())?;
    let private = |host: &Host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
        }
    };
    match config.get_hosts() {
        [] => Err("host is missing, accepted: a socket's directory, 127.0.0.1 or ::1".to_owned()),
        hosts if hosts.iter().all(private) => Ok(config),
        hosts => Err(format!(
            "{hosts:?} is not the sidecar, the only one with TLS; accepted: a socket's directory, 127.0.0.1 or ::1"
        )),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("example-api: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let Arguments { listen, database, roles, role_injection, connections } = arguments;
    let roles = Roles::new(roles);
    let database = role_injection.connections(&database, &roles, connections.into());
    let router = Router::new()
        .route("/customers", get(customers::list).post(customers::create))
        .route("/customers/{id}", get(customers::find).delete(customers::delete))
        .route("/whoami", get(whoami))
        .route("/livez", get(async || "ok\n"))
        .with_state(App { roles, database });
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    listen::serve(listen, router, |address| println!("example-api ready on {address}"), stop).await
}

/// `GET /whoami`: every header as it arrived, in order, for whoever wants to see what became of a forged one.
async fn whoami(headers: HeaderMap) -> Json<Vec<(String, String)>> {
    let header = |(name, value): (&axum::http::HeaderName, &axum::http::HeaderValue)| {
        (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    Json(headers.iter().map(header).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_database_behind_the_sidecar_is_taken() {
        for (text, accepted) in [
            ("host=/run/signet/db user=api dbname=customers", true),
            ("host=127.0.0.1 user=api", true),
            ("postgres://api@[::1]/customers", true),
            ("host=db.example.org user=api", false),
            ("host=127.0.0.1,10.0.0.1 user=api", false),
            ("user=api", false),
            ("host", false),
        ] {
            assert_eq!(database_config(text).is_ok(), accepted, "{text}");
        }
    }

    #[test]
    fn a_role_that_means_no_role_cannot_be_configured() {
        assert!(
            Arguments::try_parse_from(["example-api", "--role", "customers_reader,none"]).is_err()
        );
    }
}
