//! The built filters, found, started and asked.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::PathBuf;

use pgwire::{ProtocolVersion, encode_startup};
use serde_json::{Value, json};
use signet_policy::{ClaimName, PayloadName, Policy, SpiffeId};
use signet_policy_document::{Ask, Case, HttpAsk, PolicyDocument, PostgresAsk, Verdict};
use wasm_host::{FilterModule, HttpFilter, HttpOutcome, HttpRequest, Noted, PostgresFilter};

use crate::decision::{Decision, Role};
use crate::error::Error;

const HTTP_FILTER: &str = "spiffe_authz.wasm";
const POSTGRES_FILTER: &str = "pg_role.wasm";
/// Destinations whose filters are held ready at once: each filter has a memory of its own.
const MOST_READY: usize = 256;
/// The reason of an allow: the HTTP filter writes none.
const ALLOWED: &str = "allowed";
/// What every driver speaks.
const PROTOCOL: ProtocolVersion = ProtocolVersion { major: 3, minor: 0 };

/// Where the built filters are.
#[derive(clap::Args)]
pub(crate) struct FilterArguments {
    /// The directory of the built filters. Without it they are looked for beside this program,
    /// and where cargo builds them
    #[arg(long, value_name = "DIRECTORY", env = "SIGNET_WASM_DIR")]
    wasm_dir: Option<PathBuf>,
}

impl FilterArguments {
    /// The directories to look in, in order. One that is named is the only one.
    fn directories(&self) -> Vec<PathBuf> {
        const BUILT: &str = "wasm32-unknown-unknown/filters";
        if let Some(directory) = &self.wasm_dir {
            return vec![directory.clone()];
        }
        let program = std::env::current_exe().ok();
        let beside = program.as_deref().and_then(|program| program.parent());
        // Cargo puts this program in target/debug or target/release.
        let in_target = beside.and_then(|directory| directory.parent());
        let here = PathBuf::from("target").join(BUILT);
        beside
            .map(PathBuf::from)
            .into_iter()
            .chain(in_target.map(|target| target.join(BUILT)))
            .chain([here])
            .collect()
    }

    fn load(&self, file: &'static str) -> Result<FilterModule, Error> {
        let looked_in = self.directories();
        match looked_in.iter().map(|directory| directory.join(file)).find(|path| path.exists()) {
            Some(path) => Ok(FilterModule::load(&path)?),
            None => Err(Error::NoFilter { file, looked_in }),
        }
    }
}

/// The filters of all workloads of one policy. Each is compiled once, and started once for each
/// workload that it stands in front of.
pub(crate) struct Filters<'d> {
    arguments: &'d FilterArguments,
    document: &'d PolicyDocument,
    digest: String,
    http: Option<FilterModule>,
    postgres: Option<FilterModule>,
    running_http: HashMap<String, HttpFilter>,
    running_postgres: HashMap<String, PostgresFilter>,
    /// The policies of destinations, to tell login roles.
    policies: HashMap<String, Policy>,
}

impl<'d> Filters<'d> {
    pub(crate) fn new(arguments: &'d FilterArguments, document: &'d PolicyDocument) -> Self {
        Self {
            arguments,
            document,
            digest: document.digest(),
            http: None,
            postgres: None,
            running_http: HashMap::new(),
            running_postgres: HashMap::new(),
            policies: HashMap::new(),
        }
    }

    /// The policy.
    pub(crate) fn document(&self) -> &PolicyDocument {
        self.document
    }

    /// The digest of the policy.
    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }

    /// Asks the filter of the case's destination.
    pub(crate) fn decide(&mut self, case: &Case) -> Result<Decision, Error> {
        match &case.ask {
            Ask::Http(ask) => self.decide_http(case, ask),
            Ask::Postgres(ask) => self.decide_postgres(case, ask),
        }
    }

    fn decide_http(&mut self, case: &Case, ask: &HttpAsk) -> Result<Decision, Error> {
        let module = match &mut self.http {
            Some(module) => module,
            none => none.insert(self.arguments.load(HTTP_FILTER)?),
        };
        make_room(&mut self.running_http, &case.to);
        let filter = match self.running_http.entry(case.to.clone()) {
            Entry::Occupied(running) => running.into_mut(),
            Entry::Vacant(stopped) => {
                let slice = slice(self.document, case)?.http_only().to_json();
                stopped.insert(HttpFilter::start(module, slice.as_bytes())?)
            }
        };
        let headers = ask.header_lines().into_iter();
        let port = ask
            .port
            .map(|port| (b"destination\0port".to_vec(), u64::from(port).to_le_bytes().to_vec()));
        let exchange = filter.exchange(&HttpRequest {
            peer: Some(peer(case)),
            headers: headers
                .map(|(name, value)| (name.to_lowercase().into(), value.into()))
                .collect(),
            properties: port.into_iter().collect(),
            metadata: jwt_metadata(&ask.claims)?,
            ..HttpRequest::default()
        })?;
        let noted = Noted::read(&exchange.filter_state);
        let forwarded = matches!(exchange.outcome, HttpOutcome::Forwarded { .. });
        Ok(Decision {
            verdict: verdict(&noted, forwarded)?,
            rule: noted.rule,
            reason: noted.reason.unwrap_or_else(|| ALLOWED.to_owned()),
            role: Role::Told(noted.role),
            policy_digest: self.digest.clone(),
            wasm_digest: module.sha256().to_owned(),
        })
    }

    /// The role that the policy gives to a connection which names no user.
    fn login_role(&mut self, case: &Case, ask: &PostgresAsk) -> Result<Option<String>, Error> {
        make_room(&mut self.policies, &case.to);
        let policy = match self.policies.entry(case.to.clone()) {
            Entry::Occupied(compiled) => compiled.into_mut(),
            Entry::Vacant(new) => new.insert(Policy::compile(slice(self.document, case)?)),
        };
        let role = policy.login_role(identity(&case.from)?, ask.database.as_bytes());
        Ok(role.map(str::to_owned))
    }

    fn decide_postgres(&mut self, case: &Case, ask: &PostgresAsk) -> Result<Decision, Error> {
        let login_role = match ask.user {
            Some(_) => None,
            None => self.login_role(case, ask)?,
        };
        let module = match &mut self.postgres {
            Some(module) => module,
            none => none.insert(self.arguments.load(POSTGRES_FILTER)?),
        };
        make_room(&mut self.running_postgres, &case.to);
        let filter = match self.running_postgres.entry(case.to.clone()) {
            Entry::Occupied(running) => running.into_mut(),
            Entry::Vacant(stopped) => {
                let slice = slice(self.document, case)?.postgres_only().to_json();
                stopped.insert(PostgresFilter::start(module, slice.as_bytes())?)
            }
        };
        let packet = startup_packet(ask, login_role.as_deref())?;
        let connection = filter.connect(Some(&peer(case)))?;
        filter.from_client(connection, &packet, false)?;
        let led_to_postgres = filter.cluster(connection).as_deref() == Some("postgres");
        let noted = Noted::read(&filter.disconnect(connection)?);
        Ok(Decision {
            verdict: verdict(&noted, led_to_postgres)?,
            rule: noted.rule,
            reason: noted.reason.unwrap_or_default(),
            role: Role::LoggedIn(noted.role),
            policy_digest: self.digest.clone(),
            wasm_digest: module.sha256().to_owned(),
        })
    }
}

/// Drops what is held ready for all destinations where another one would be too many.
fn make_room<T>(ready: &mut HashMap<String, T>, next: &str) {
    if ready.len() >= MOST_READY && !ready.contains_key(next) {
        ready.clear();
    }
}

/// What Envoy's `jwt_authn` leaves behind of a verified token with these claims: a claim of several
/// values is a list.
fn jwt_metadata(claims: &[(String, String)]) -> Result<serde_json::Map<String, Value>, Error> {
    if claims.is_empty() {
        return Ok(serde_json::Map::new());
    }
    let mut payload = json!({});
    for (name, _) in claims {
        let values: Vec<&str> = claims
            .iter()
            .filter(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
            .collect();
        let value = match values.as_slice() {
            [one] => json!(one),
            several => json!(several),
        };
        let claim = ClaimName::try_from(name.clone())
            .map_err(|error| Error::Claim { name: name.clone(), error })?;
        let keys: Vec<String> = claim.keys().collect();
        let mut at = &mut payload;
        for key in keys {
            let Value::Object(object) = at else {
                let error = "a claim is a value or has claims of its own, not both".to_owned();
                return Err(Error::Contradiction(format!("claim `{name}`: {error}")));
            };
            at = object.entry(key).or_insert_with(|| json!({}));
        }
        *at = value;
    }
    let of_provider = json!({ PayloadName::default().as_str(): payload });
    Ok([("envoy.filters.http.jwt_authn".to_owned(), of_provider)].into_iter().collect())
}

/// The verdict that a filter noted for the access log. What it says and what it does are the same, or neither is believed.
fn verdict(noted: &Noted, passed: bool) -> Result<Verdict, Error> {
    let verdict = match noted.verdict.as_str() {
        "allow" => Verdict::Allow,
        "deny" => Verdict::Deny,
        "refuse" => Verdict::Refuse,
        other => return Err(Error::Contradiction(format!("it noted `{other}`"))),
    };
    if (verdict == Verdict::Allow) == passed {
        return Ok(verdict);
    }
    let did = if passed { "let it pass" } else { "stopped it" };
    Err(Error::Contradiction(format!("it noted `{verdict}` and {did}")))
}

/// The filter state that Envoy's listener writes, of a certificate that never expires.
fn peer(case: &Case) -> Vec<u8> {
    format!("{}|{}", u64::MAX, case.from).into_bytes()
}

fn slice(document: &PolicyDocument, case: &Case) -> Result<signet_policy::Slice, Error> {
    Ok(document.slice_for(identity(&case.to)?))
}

/// The identity of a case, whose text was checked when it was read.
pub(crate) fn identity(id: &str) -> Result<SpiffeId<'_>, Error> {
    SpiffeId::parse(id).map_err(|error| Error::Contradiction(format!("`{id}`: {error}")))
}

/// The packet that a client of the case begins with. One that names no user is who the policy would
/// make it.
fn startup_packet(ask: &PostgresAsk, login_role: Option<&str>) -> Result<Vec<u8>, Error> {
    let user = ask.user_or(login_role);
    let named = [("user", user.as_str()), ("database", ask.database.as_str())];
    let more = ask.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let pairs: Vec<(&str, &str)> = named.into_iter().chain(more).collect();
    if pairs
        .iter()
        .any(|(name, value)| name.is_empty() || name.contains('\0') || value.contains('\0'))
    {
        return Err(Error::Startup("no packet can say an empty name or a NUL".to_owned()));
    }
    let bytes = pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    encode_startup(PROTOCOL, bytes).map_err(|error| Error::Startup(error.to_string()))
}
