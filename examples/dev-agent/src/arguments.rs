//! The command line.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};
use spiffe::{SpiffeId, TrustDomain};

use crate::command::Command;
use crate::view::Registration;

/// In-memory SPIFFE authority with a Workload API socket per workload.
///
/// FOR DEVELOPMENT AND TESTS ONLY: whoever reaches a socket is given that workload's identity, nobody is attested, and
/// the CA's key lives in this process alone. Use SPIRE for anything real.
#[derive(Parser)]
#[command(version, max_term_width = 110)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) action: Action,
}

#[derive(Subcommand)]
pub(crate) enum Action {
    /// Serve the Workload API until SIGTERM
    Serve(ServeArguments),
    /// Change what a serving agent does, and print its state as JSON
    ///
    /// The agent reads the same commands from DIRECTORY/control.sock, a line of JSON each, as in
    /// {"command": "expire", "workload": "client", "seconds": 5}, and answers each with a line:
    /// {"done": STATE} or {"refused": REASON}.
    Ctl {
        /// The directory given to `serve`
        #[arg(long, env = "DEV_AGENT_DIRECTORY")]
        directory: PathBuf,
        #[command(subcommand)]
        command: Command,
    },
}

#[derive(clap::Args)]
pub(crate) struct ServeArguments {
    /// Where NAME.sock of each workload and control.sock are made; itself made with mode 0700 when missing
    #[arg(long, env = "DEV_AGENT_DIRECTORY")]
    pub(crate) directory: PathBuf,
    /// The trust domain to sign for
    #[arg(long, default_value = "example.org", value_parser = |name: &str| TrustDomain::new(name))]
    pub(crate) trust_domain: TrustDomain,
    /// A workload and its SPIFFE ID, whole or as a path; a name given again adds an identity
    #[arg(long, value_name = "NAME=ID", required = true, value_parser = pair)]
    pub(crate) workload: Vec<(String, String)>,
    /// A DNS SAN of a workload's SVIDs; its first is their common name too
    #[arg(long, value_name = "NAME=DNS", value_parser = pair)]
    pub(crate) dns: Vec<(String, String)>,
    /// Life of an X.509 SVID; a new one is issued at half of it
    #[arg(long, default_value = "1h", value_parser = ttl)]
    pub(crate) svid_ttl: Duration,
    /// Life of a JWT-SVID
    #[arg(long, default_value = "5m", value_parser = ttl)]
    pub(crate) jwt_ttl: Duration,
    /// Sign leaves by an intermediate CA, which their chain then carries
    #[arg(long)]
    pub(crate) intermediate: bool,
    /// Octal mode of the workloads' sockets; control.sock is always 0600
    #[arg(long, default_value = "0600", value_parser = |mode: &str| u32::from_str_radix(mode, 8))]
    pub(crate) socket_mode: u32,
}

impl ServeArguments {
    /// The workloads, checked.
    pub(crate) fn registrations(&self) -> anyhow::Result<BTreeMap<String, Registration>> {
        let mut registrations: BTreeMap<String, Registration> = BTreeMap::new();
        for (name, id) in &self.workload {
            if name == "control" || name.contains('/') {
                bail!("workload name {name:?}: accepted: a file name other than control");
            }
            let whole = if id.starts_with('/') {
                format!("{}{id}", self.trust_domain.id_string())
            } else {
                id.clone()
            };
            let id = SpiffeId::new(&whole)
                .with_context(|| format!("workload {name}: {whole:?} is no SPIFFE ID"))?;
            if !id.is_member_of(&self.trust_domain) {
                bail!("workload {name}: {id} is outside the trust domain {}", self.trust_domain);
            }
            let registration = registrations
                .entry(name.clone())
                .or_insert_with(|| Registration { identities: Vec::new(), dns: Vec::new() });
            registration.identities.push(id);
        }
        for (name, dns) in &self.dns {
            let registration = registrations
                .get_mut(name)
                .with_context(|| format!("--dns names no workload: {name:?}"))?;
            registration.dns.push(dns.clone());
        }
        Ok(registrations)
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err("accepted: NAME=VALUE".to_owned()),
    }
}

fn ttl(text: &str) -> Result<Duration, String> {
    let ttl = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if ttl >= Duration::from_secs(2) { Ok(ttl) } else { Err("accepted: 2s or more".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registrations(options: &[&str]) -> Result<BTreeMap<String, Registration>, String> {
        let line = ["dev-agent", "serve", "--directory", "unused"].iter().chain(options);
        match Arguments::try_parse_from(line).map_err(|error| error.to_string())?.action {
            Action::Serve(arguments) => {
                arguments.registrations().map_err(|error| format!("{error:#}"))
            }
            Action::Ctl { .. } => unreachable!("serve was given"),
        }
    }

    #[test]
    fn a_name_given_twice_has_two_identities() {
        let found = registrations(&[
            "--workload=client=/client",
            "--workload=client=spiffe://example.org/second",
            "--dns=client=symuser",
        ])
        .unwrap();
        let ids: Vec<String> = found["client"].identities.iter().map(ToString::to_string).collect();
        assert_eq!(ids, ["spiffe://example.org/client", "spiffe://example.org/second"]);
        assert_eq!(found["client"].dns, ["symuser"]);
    }

    #[test]
    fn a_wrong_workload_is_refused_with_what_was_found() {
        for (option, expected) in [
            ("--workload=client", "accepted: NAME=VALUE"),
            ("--workload=client=client", "workload client: \"client\" is no SPIFFE ID"),
            (
                "--workload=client=spiffe://other.org/x",
                "spiffe://other.org/x is outside the trust domain example.org",
            ),
            ("--workload=control=/x", "workload name \"control\""),
            ("--workload=../x=/x", "workload name \"../x\""),
        ] {
            let error = registrations(&[option]).unwrap_err();
            assert!(error.contains(expected), "{option} gave {error}");
        }
    }
}
