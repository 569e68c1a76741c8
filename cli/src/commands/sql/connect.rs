//! The connection to the server that is checked: by URL, and by the environment as libpq has it.

use std::env;
use std::net::SocketAddr;
use std::path::Path;
use std::str::FromStr;

use postgres::config::{Host, SslMode};
use postgres::{Client, Config, NoTls};

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// The URL, or a variable of the environment, says nothing that can be used.
    #[error("{what} is no way to a database")]
    Unreadable {
        /// The flag or variable.
        what: &'static str,
        /// What is wrong with it.
        source: postgres::Error,
    },
    /// A port isn't one.
    #[error("PGPORT is `{0}`; a number from 1 to 65535 is accepted")]
    Port(String),
    /// TLS is asked for.
    #[error(
        "TLS is asked for, which signet doesn't speak to Postgres; run it where Postgres' Unix socket is, or through a tunnel"
    )]
    Tls,
    /// The server wants TLS.
    #[error(
        "Postgres at {at} has no way in for this user without TLS, which signet doesn't speak to it; run it where its Unix socket is, or through a tunnel"
    )]
    TlsOnly {
        /// The hosts that were tried.
        at: String,
        /// What was said.
        source: postgres::Error,
    },
    /// The server can't be reached, or refuses.
    #[error("cannot connect to Postgres at {at}")]
    Refused {
        /// The hosts or directories that were tried.
        at: String,
        /// What was said.
        source: postgres::Error,
    },
    /// A query failed.
    #[error("Postgres refuses to tell")]
    Query(#[from] postgres::Error),
    /// The server is too old.
    #[error("this is PostgreSQL {0}; 15 and later are supported")]
    Version(u8),
}

/// What each session begins with: whoever owns the database may have chosen where names are looked for, and made functions
/// there. And nothing is to be changed.
const SESSION: &str =
    "set search_path = pg_catalog, pg_temp; set default_transaction_read_only = on";

/// Connects as `url` says, and as the environment says where it doesn't.
pub(super) fn connect(url: Option<&str>) -> Result<Client, ConnectError> {
    let config = configured(url, |name| env::var(name).ok().filter(|value| !value.is_empty()))?;
    if config.get_ssl_mode() == SslMode::Require {
        return Err(ConnectError::Tls);
    }
    let mut client = config.connect(NoTls).map_err(|source| {
        let at = places(&config);
        // Postgres' words where no line of `pg_hba.conf` lets in, or one rejects; over a Unix socket too.
        let wants_tls = source.as_db_error().is_some_and(|error| {
            let message = error.message();
            message.contains("no encryption") && !message.contains("host \"[local]\"")
        });
        if wants_tls {
            ConnectError::TlsOnly { at, source }
        } else {
            ConnectError::Refused { at, source }
        }
    })?;
    client.batch_execute(SESSION)?;
    Ok(client)
}

fn configured(
    url: Option<&str>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Config, ConnectError> {
    let unreadable = |what| move |source| ConnectError::Unreadable { what, source };
    let url = url.unwrap_or("");
    if ["verify-ca", "verify-full"].iter().any(|mode| url.contains(&format!("sslmode={mode}"))) {
        return Err(ConnectError::Tls);
    }
    let mut config = Config::from_str(url).map_err(unreadable("--url"))?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        for host in variable("PGHOST").unwrap_or_else(default_host).split(',') {
            config.host(host);
        }
    }
    if let Some(port) = variable("PGPORT").filter(|_| config.get_ports().is_empty()) {
        config.port(port.parse().map_err(|_| ConnectError::Port(port))?);
    }
    if let Some(user) = variable("PGUSER").filter(|_| config.get_user().is_none()) {
        config.user(&user);
    }
    if let Some(password) = variable("PGPASSWORD").filter(|_| config.get_password().is_none()) {
        config.password(password);
    }
    if config.get_dbname().is_none() {
        // What is checked belongs to the whole server.
        config.dbname(variable("PGDATABASE").as_deref().unwrap_or("postgres"));
    }
    if let Some(mode) = variable("PGSSLMODE").filter(|_| !url.contains("sslmode=")) {
        config.ssl_mode(match mode.as_str() {
            "disable" => SslMode::Disable,
            "allow" | "prefer" => SslMode::Prefer,
            _ => SslMode::Require,
        });
    }
    if config.get_application_name().is_none() {
        config.application_name("signet policy sql --check");
    }
    Ok(config)
}

/// Where libpq looks: Debian's directory, else Postgres' own.
fn default_host() -> String {
    const DEBIAN: &str = "/var/run/postgresql";
    if Path::new(DEBIAN).is_dir() { DEBIAN.to_owned() } else { "/tmp".to_owned() }
}

/// Where the server is looked for, as psql tells it.
fn places(config: &Config) -> String {
    let (hosts, addresses) = (config.get_hosts(), config.get_hostaddrs());
    let port = |at: usize| match config.get_ports() {
        [] => 5432,
        [one] => *one,
        several => several.get(at).copied().unwrap_or_default(),
    };
    let place = |at: usize| match (hosts.get(at), addresses.get(at)) {
        (Some(Host::Unix(path)), _) => format!("{}/.s.PGSQL.{}", path.display(), port(at)),
        (_, Some(address)) => SocketAddr::new(*address, port(at)).to_string(),
        (Some(Host::Tcp(host)), None) => format!("{host}:{}", port(at)),
        (None, None) => String::new(),
    };
    let places: Vec<String> = (0..hosts.len().max(addresses.len())).map(place).collect();
    places.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(url: Option<&str>, environment: &[(&str, &str)]) -> Result<Config, ConnectError> {
        let variable = |name: &str| {
            environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        configured(url, variable)
    }

    #[test]
    fn the_url_comes_before_the_environment() {
        let environment =
            [("PGHOST", "/run/pg"), ("PGPORT", "5433"), ("PGUSER", "eve"), ("PGDATABASE", "d")];
        let config = from(None, &environment).unwrap();
        assert_eq!(places(&config), "/run/pg/.s.PGSQL.5433");
        assert_eq!((config.get_user(), config.get_dbname()), (Some("eve"), Some("d")));
        let config = from(Some("postgres://bob@db:5432/other"), &environment).unwrap();
        assert_eq!(places(&config), "db:5432");
        assert_eq!((config.get_user(), config.get_dbname()), (Some("bob"), Some("other")));
        let config = from(Some("host=/run/postgresql user=postgres"), &[]).unwrap();
        assert_eq!(places(&config), "/run/postgresql/.s.PGSQL.5432");
        assert_eq!(config.get_dbname(), Some("postgres"));
        for (url, expected) in [
            ("hostaddr=127.0.0.1 port=5433", "127.0.0.1:5433"),
            ("host=a,b hostaddr=127.0.0.1,::1 port=1,2", "127.0.0.1:1, [::1]:2"),
            ("host=a,/run port=1,2", "a:1, /run/.s.PGSQL.2"),
        ] {
            assert_eq!(places(&from(Some(url), &[]).unwrap()), expected);
        }
    }

    #[test]
    fn tls_is_asked_for_by_the_url_or_else_by_the_environment() {
        let mode = |url, environment: &[_]| from(url, environment).map(|c| c.get_ssl_mode());
        for (url, environment, expected) in [
            (None, None, SslMode::Prefer),
            (None, Some("disable"), SslMode::Disable),
            (None, Some("verify-full"), SslMode::Require),
            (Some("host=db sslmode=disable"), Some("require"), SslMode::Disable),
            (Some("postgres://db/x?sslmode=require"), Some("disable"), SslMode::Require),
        ] {
            let environment: Vec<_> = environment.map(|m| ("PGSSLMODE", m)).into_iter().collect();
            assert_eq!(mode(url, &environment).unwrap(), expected, "{url:?} {environment:?}");
        }
        for url in ["host=db sslmode=verify-full", "postgres://db/x?sslmode=verify-ca"] {
            assert!(matches!(mode(Some(url), &[]), Err(ConnectError::Tls)), "{url}");
        }
    }

    #[test]
    fn what_is_no_way_is_told() {
        let told = |url, environment: &[_]| from(url, environment).unwrap_err().to_string();
        assert!(told(Some("mysql://x"), &[]).starts_with("--url is no way to a database"));
        assert!(told(None, &[("PGPORT", "x")]).contains("PGPORT is `x`; a number"));
    }
}
