//! The command line of the server.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use sds_server::check::Findings;
use sds_server::config::{ConfigFile, LIVE_KEYS};
use sds_server::logging::{self, LogControl, LogFormat};
use sds_server::server::Server;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

/// Gives Envoy sidecars their identity and their policy.
///
/// The server takes X.509 SVIDs and bundles from the SPIFFE Workload API (a SPIRE agent) and serves
/// them to Envoy over SDS; with a policy it serves each Wasm filter's configuration over ECDS.
/// Everything is pushed as soon as it changes.
#[derive(Debug, Parser)]
#[command(name = "sds-server", version, after_long_help = TEACHING)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    /// The configuration file (YAML, see below)
    #[arg(long, env = "SIGNET_CONFIG", value_name = "FILE", required = true)]
    config: Option<PathBuf>,
    /// What is logged: error, warn, info, debug, trace, or a list of them by module
    #[arg(long, env = "SIGNET_LOG", value_name = "FILTER", default_value = "info", global = true)]
    log: String,
    /// How it is logged, on standard error
    #[arg(
        long,
        env = "SIGNET_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "text",
        global = true
    )]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Checks a configuration, its policy and the filters' code, and says what is wrong; serves
    /// nothing
    Check {
        /// The configuration file
        file: PathBuf,
    },
    /// Prints the JSON Schema of the configuration, for editors
    Schema,
}

const TEACHING: &str = "\
Configuration, with every default:

  source:
    workload_api: { socket: unix:///run/spire/agent.sock }   # waited for if it does not exist yet
    # or one of these, for a whole node: each process that connects gets its own identities
    # broker:    { socket: unix:///run/spire/broker/broker.sock, workload_api: unix:///run/spire/agent.sock }
    #            # also: spiffe_id, agent_id; left out: the smallest of ours, any agent of our domain
    # delegated: { admin_socket: unix:///run/spire/admin/admin.sock }  # can impersonate every workload
  listen:
    path: /run/signet/sds.sock    # Envoy's cluster for SDS and ECDS: a pipe with this path, HTTP/2
    mode: \"0660\"
    # allowed_uids: [1337]        # by SO_PEERCRED; left out: whomever the mode lets in
    # allowed_gids: [1337]        # the same by group; with both, a process must be on both
    # tcp:                        # mutual TLS by SVIDs, with or instead of the Unix socket
    #   address: 10.0.0.1:8443
    #   allow:                    # nobody else gets in, and nobody gets another name
    #     - { peer: spiffe://example.org/edge/*, names: [default, ROOTCA, signet.http] }
  admin: { listen: 127.0.0.1:9902 }         # or unix:///path; left out: no probes, metrics, pages
  policy: { file: /etc/signet/policy.yaml } # or a directory; watched; left out, with filters: secrets only
  filters:
    http:     { wasm: /opt/signet/spiffe_authz.wasm, sha256: …, denial_detail: class }
    postgres: { wasm: /opt/signet/pg_role.wasm, sha256: …, denial_detail: class }
  #   per filter also: headers: { spiffe_id: x-spiffe-id, db_role: x-db-role, rule: x-signet-rule }
  #                    jwt_payload: jwt_payload       # the provider's payload_in_metadata
  # default_svid: { spiffe_id: spiffe://…, hint: … }   # else the one chosen first, else the smallest
  # names: { default_svid: default, default_bundle: ROOTCA, all_bundles: ALL }
  # validation:                   # whom a bundle's validation context accepts, in both forms; else all
  #   ROOTCA: [{ exact: spiffe://DOMAIN/PATH }, { prefix: spiffe://DOMAIN/PATH/ }]
  # on_demand: [\"spiffe://DOMAIN/sni/*\"]   # names for which handshakes wait: an unknown one is answered at once
  # rotation: { hold: 10s, withdrawal_delay: 1s }
  # limits: { connections_per_peer: 16, connections: 1024, opens_per_second: 50, opens_burst: 200,
  #           streams_per_connection: 1024, names_per_request: 1024, jwt_svids: 64, message_bytes: 1048576,
  #           slow_reader: 20s, keepalive: 30s, keepalive_timeout: 5s, pending_resets: 64, own_resets: 64,
  #           header_bytes: 16384, window_bytes: 1048576 }
  # process: { dumpable: false }  # true where an agent of the same user must read /proc/PID/exe
  # drain: 5s                     # for open streams after SIGTERM

Secrets that Envoy can ask for:

  default                     the default SVID: certificate and key
  ROOTCA                      its trust domain's bundle, for envoy.tls.cert_validator.spiffe
  ALL                         every bundle, federated ones too, each for its own trust domain only
  spiffe://DOMAIN/PATH        the SVID of that ID
  spiffe://DOMAIN             the bundle of that trust domain
  svid?hint=HINT              the SVID to which the source gives that hint
  bundle?td=DOMAIN,DOMAIN     the bundles of these trust domains
  jwt?aud=NAME,NAME           a JWT-SVID of the default SVID's ID for this audience, as a generic secret,
                              renewed at half its life; &id=spiffe://DOMAIN/PATH: of that ID

  ROOTCA, ALL and bundle take a form: ROOTCA.spiffe as above, ROOTCA.x509 and bundle.x509?td=DOMAIN
  as a plain trusted_ca, which holds one trust domain only. In a value % & , are %25 %26 %2C.

Extension configurations: signet.http (HTTP filter), signet.postgres (network filter), for the
default SVID; signet.http?id=spiffe://DOMAIN/PATH for another of those issued here.

When something does not come:

  http://127.0.0.1:9902/      is a page of what is served, to whom, and who refused what and why;
                              /status has the same as JSON, and `signet status` prints it
  /readyz                     says in JSON what is missing: the agent's socket, an identity, a policy
  /logging                    tells what is logged; a POST changes it while the server runs:
                              curl -H 'content-type: application/json' -d '{\"filter\": \"debug\"}' …
  a name nobody can answer    is logged after 10 s; Envoy's listener stays warming until then
  a changed configuration     counts at once, by file watch or SIGHUP, where only live keys changed
                              (`sds-server check FILE` lists them); otherwise nothing changes, and
                              the log and /readyz say why
  a policy with faults        is logged with all of them; the last good one stays in force

Exit codes: 0 stopped as asked, or checked and good; 1 a fault; 2 a wrong command line.";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match &arguments.command {
        Some(Command::Check { file }) => return check(file),
        Some(Command::Schema) => {
            print(&format!("{:#}\n", sds_server::config::schema()));
            return ExitCode::SUCCESS;
        }
        None => {}
    }
    let served = logging::start(arguments.log_format, &arguments.log).and_then(|log| {
        let file = arguments.config.unwrap_or_default();
        ConfigFile::read(&file).map_err(|e| e.to_string()).and_then(|file| serve(file, log))
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("sds-server: {fault}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the server until SIGTERM or SIGINT.
#[tokio::main]
async fn serve(file: ConfigFile, log: LogControl) -> Result<(), String> {
    let stop = CancellationToken::new();
    let mut terminate =
        signal(SignalKind::terminate()).map_err(|e| format!("SIGTERM cannot be handled: {e}"))?;
    let mut interrupt =
        signal(SignalKind::interrupt()).map_err(|e| format!("SIGINT cannot be handled: {e}"))?;
    let asked = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => info!(signal = "SIGTERM", "asked to stop"),
            _ = interrupt.recv() => info!(signal = "SIGINT", "asked to stop"),
        }
        asked.cancel();
    });
    let server = Server::build(file, log).await.map_err(|e| e.to_string())?;
    server.run(stop).await.map_err(|fault| {
        error!(%fault, "stopped");
        fault.to_string()
    })
}

/// Prints what is right and what is wrong with a configuration.
fn check(file: &Path) -> ExitCode {
    let findings = match ConfigFile::read(file) {
        Ok(file) => sds_server::check::look(file.config()),
        Err(fault) => Findings { faults: vec![fault.to_string()], unseen: Vec::new() },
    };
    for told in findings.faults.iter().chain(&findings.unseen) {
        eprintln!("{told}");
    }
    if !findings.faults.is_empty() {
        return ExitCode::FAILURE;
    }
    let live = LIVE_KEYS.join(", ");
    print(&format!("{}: good\nlive (other keys need a restart): {live}\n", file.display()));
    ExitCode::SUCCESS
}

/// Writes to standard output. Whoever reads it may leave early (`sds-server schema | head`).
fn print(text: &str) {
    if let Err(fault) = io::stdout().lock().write_all(text.as_bytes()) {
        if fault.kind() == io::ErrorKind::BrokenPipe {
            std::process::exit(0);
        }
        eprintln!("cannot write to standard output: {fault}");
        std::process::exit(1);
    }
}
