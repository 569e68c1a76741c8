//! `signet policy decide`

use std::process::ExitCode;

use serde_json::{Value, json};
use signet_policy_document::{Ask, Case, HttpAsk, PolicyDocument, PostgresAsk, Verdict};

use crate::OutputArguments;
use crate::decision::Decision;
use crate::error::Error;
use crate::filters::{FilterArguments, Filters};
use crate::input::{PolicyArgument, read_text, shown};
use crate::output::{Format, print, print_json};

/// Decide about one request or connection, or about many.
///
/// The filter itself is asked, the same .wasm that Envoy runs. The request is taken as it is: no
/// normalization, no escaping.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  Over HTTP:
    signet policy decide policy.yaml --from client --to api --request 'GET /customers/7'
    signet policy decide policy.yaml --from client --to api --request 'POST /orders' \\
        --host shop.example.org --header 'x-tenant: acme' --port 8443

  To Postgres; without --user, as the login role:
    signet policy decide policy.yaml --from api --to db --database customers --user postgres
    signet policy decide policy.yaml --from api --to db --database customers \\
        --parameter search_path=public --parameter 'options=-c work_mem=1GB'

  Many at once, a line of JSON for each, with the keys of `tests:`:
    echo '{\"from\":\"client\",\"to\":\"api\",\"request\":\"GET /customers\"}' |
        signet policy decide policy.yaml --batch -

Exit codes: 0 allow, 1 deny or refuse, 2 no decision; with --batch 0 all decided, 2 some not")]
pub(crate) struct Arguments {
    #[command(flatten)]
    policy: PolicyArgument,
    /// Who asks: a name of the policy, /… or a SPIFFE ID
    #[arg(long, value_name = "WORKLOAD", required_unless_present = "batch")]
    from: Option<String>,
    /// Whose Envoy decides: a name of the policy, /… or a SPIFFE ID
    #[arg(long, value_name = "WORKLOAD", required_unless_present = "batch")]
    to: Option<String>,
    /// The HTTP request
    #[arg(long, value_name = "METHOD PATH", group = "ask", required_unless_present_any = ["database", "batch"])]
    request: Option<String>,
    #[command(flatten)]
    http: HttpArguments,
    /// The Postgres database
    #[arg(long, value_name = "NAME", group = "ask")]
    database: Option<String>,
    #[command(flatten)]
    postgres: PostgresArguments,
    /// A file of cases, a line of JSON for each; `-` is standard input
    #[arg(long, value_name = "CASES.jsonl", conflicts_with_all = ["from", "to", "ask"])]
    batch: Option<String>,
    #[command(flatten)]
    filters: FilterArguments,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(clap::Args)]
struct HttpArguments {
    /// The host that the request asks for
    #[arg(long, requires = "request", conflicts_with = "database")]
    host: Option<String>,
    /// One more header; may be repeated
    #[arg(
        long = "header",
        value_name = "NAME: VALUE",
        requires = "request",
        conflicts_with = "database"
    )]
    headers: Vec<String>,
    /// The port that the connection comes in at
    #[arg(long, requires = "request", conflicts_with = "database")]
    port: Option<u16>,
    /// The protocol that the request asks to be upgraded to
    #[arg(long, value_name = "PROTOCOL", requires = "request", conflicts_with = "database")]
    upgrade: Option<String>,
}

#[derive(clap::Args)]
struct PostgresArguments {
    /// The user that the client names
    #[arg(long, value_name = "NAME", requires = "database", conflicts_with = "request")]
    user: Option<String>,
    /// One more start-up parameter; may be repeated
    #[arg(
        long = "parameter",
        value_name = "NAME=VALUE",
        requires = "database",
        conflicts_with = "request"
    )]
    parameters: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let format = arguments.output.output;
    let document = match arguments.policy.read() {
        Ok(document) => document,
        Err(error) => return error.report(format, 2),
    };
    if let Some(file) = &arguments.batch {
        return batch(arguments, &document, file);
    }
    match decide(arguments, &document) {
        Ok((case, decision)) => {
            match format {
                Format::Text => print(&in_words(&case, &decision)),
                Format::Json => print_json(&decision),
            }
            ExitCode::from(u8::from(decision.verdict != Verdict::Allow))
        }
        Err(error) => error.report(format, 2),
    }
}

fn decide(arguments: &Arguments, document: &PolicyDocument) -> Result<(Case, Decision), Error> {
    let case = case(arguments, document)?;
    let decision = Filters::new(&arguments.filters, document).decide(&case)?;
    Ok((case, decision))
}

/// The case that the flags describe.
fn case(arguments: &Arguments, document: &PolicyDocument) -> Result<Case, Error> {
    let (from, to) = (arguments.from.as_deref(), arguments.to.as_deref());
    let (from, to) = (from.unwrap_or_default(), to.unwrap_or_default());
    let (what, ask) = match (&arguments.request, &arguments.database) {
        (Some(request), _) => (request.clone(), Ask::Http(http_ask(request, &arguments.http)?)),
        (None, database) => {
            let database = database.clone().unwrap_or_default();
            let PostgresArguments { user, parameters } = &arguments.postgres;
            let ask = PostgresAsk {
                user: user.clone(),
                parameters: pairs("--parameter", '=', parameters)?,
                database: database.clone(),
            };
            (format!("database {database}"), Ask::Postgres(ask))
        }
    };
    Ok(Case {
        title: format!("{from} → {to}: {}", what.escape_debug()),
        from: document.identity(from)?,
        to: document.identity(to)?,
        ask,
        expect: None,
        line: 0,
    })
}

fn http_ask(request: &str, more: &HttpArguments) -> Result<HttpAsk, Error> {
    let ask = HttpAsk::of_request(request).ok_or_else(|| Error::Request(request.to_owned()))?;
    Ok(HttpAsk {
        host: more.host.clone(),
        headers: pairs("--header", ':', &more.headers)?,
        port: more.port,
        upgrade: more.upgrade.clone(),
        ..ask
    })
}

/// Splits names from values. White space around a header's value means nothing (RFC 9110 §5.5).
fn pairs(
    flag: &'static str,
    separator: char,
    texts: &[String],
) -> Result<Vec<(String, String)>, Error> {
    let pair = |text: &String| match text.split_once(separator) {
        Some((name, value)) if separator == ':' => Ok((name.to_owned(), value.trim().to_owned())),
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err(Error::Pair { flag, separator, found: text.clone() }),
    };
    texts.iter().map(pair).collect()
}

fn in_words(case: &Case, decision: &Decision) -> String {
    let role = decision.role.key();
    let rows = [
        ("rule", decision.rule.as_deref()),
        (role, decision.role.name()),
        ("reason", Some(decision.reason.as_str())),
        ("policy", Some(decision.policy_digest.as_str())),
        ("filter", Some(decision.wasm_digest.as_str())),
    ];
    let head = format!("{}  {}\n", decision.verdict, case.title);
    let row =
        |(name, value): (&str, Option<&str>)| format!("  {name:<8} {}\n", value.unwrap_or("-"));
    std::iter::once(head).chain(rows.map(row)).collect()
}

/// Decides about each line of a file. A line that is no case is told in its place.
fn batch(arguments: &Arguments, document: &PolicyDocument, file: &str) -> ExitCode {
    let text = match read_text(file) {
        Ok(text) => text,
        Err(error) => return error.report(Format::Json, 2),
    };
    let mut filters = Filters::new(&arguments.filters, document);
    let mut all_decided = true;
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let number = index + 1;
        let name = format!("{}:{number}", shown(file));
        let case = document.parse_case(&name, line).map_err(Error::from);
        match case.and_then(|case| filters.decide(&case)) {
            Ok(decision) => print_json(&decision),
            Err(error) => {
                all_decided = false;
                print_json(&merged(error.to_json(), json!({ "line": number })));
            }
        }
    }
    ExitCode::from(if all_decided { 0 } else { 2 })
}

/// Two JSON objects in one.
fn merged(mut a: Value, b: Value) -> Value {
    if let (Value::Object(a), Value::Object(b)) = (&mut a, b) {
        a.extend(b);
    }
    a
}
