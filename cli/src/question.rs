//! What `decide` and `explain` are asked: one case from flags, or many from a file.

use std::process::ExitCode;

use serde::Serialize;
use serde_json::{Value, json};
use signet_policy_document::{Ask, Case, HttpAsk, PolicyDocument, PostgresAsk, Verdict};

use crate::OutputArguments;
use crate::error::Error;
use crate::filters::{FilterArguments, Filters};
use crate::input::{PolicyArgument, read_text, shown};
use crate::output::{Format, print, print_json};

/// What is asked of which policy.
#[derive(clap::Args)]
pub(crate) struct QuestionArguments {
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
    /// One more value of a claim of the caller's JWT; may be repeated
    #[arg(
        long = "jwt",
        value_name = "CLAIM=VALUE",
        requires = "request",
        conflicts_with = "database"
    )]
    claims: Vec<String>,
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

/// What is answered to one case.
pub(crate) trait Answer: Serialize {
    fn verdict(&self) -> Verdict;
    fn in_words(&self, case: &Case) -> String;
}

impl QuestionArguments {
    /// Reads the policy, and prints the answer to each case that is asked about.
    pub(crate) fn run<A: Answer>(
        &self,
        answer: impl Fn(&mut Filters<'_>, &Case) -> Result<A, Error>,
    ) -> ExitCode {
        let format = self.output.output;
        let document = match self.policy.read() {
            Ok(document) => document,
            Err(error) => return error.report(format, 2),
        };
        let mut filters = Filters::new(&self.filters, document);
        if let Some(file) = &self.batch {
            return batch(file, document, |case| answer(&mut filters, case));
        }
        let case = case_of(self, document);
        match case.and_then(|case| answer(&mut filters, &case).map(|answer| (case, answer))) {
            Ok((case, answer)) => {
                match format {
                    Format::Text => print(&answer.in_words(&case)),
                    Format::Json => print_json(&answer),
                }
                ExitCode::from(u8::from(answer.verdict() != Verdict::Allow))
            }
            Err(error) => error.report(format, 2),
        }
    }
}

/// The case that the flags describe.
fn case_of(arguments: &QuestionArguments, document: &PolicyDocument) -> Result<Case, Error> {
    let (from, to) = (arguments.from.as_deref(), arguments.to.as_deref());
    let (from, to) = (from.unwrap_or_default(), to.unwrap_or_default());
    let ask = match (&arguments.request, &arguments.database) {
        (Some(request), _) => Ask::Http(http_ask(request, &arguments.http)?),
        (None, database) => {
            let PostgresArguments { user, parameters } = &arguments.postgres;
            Ask::Postgres(PostgresAsk {
                user: user.clone(),
                parameters: pairs("--parameter", '=', parameters)?,
                database: database.clone().unwrap_or_default(),
            })
        }
    };
    Ok(Case {
        title: format!("{from} → {to}: {}", ask.to_string().escape_debug()),
        from: document.identity(from)?,
        to: document.identity(to)?,
        ask,
        expect: None,
        file: String::new(),
        line: 0,
    })
}

fn http_ask(request: &str, more: &HttpArguments) -> Result<HttpAsk, Error> {
    let ask = HttpAsk::of_request(request).ok_or_else(|| Error::Request(request.to_owned()))?;
    Ok(HttpAsk {
        host: more.host.clone(),
        headers: pairs("--header", ':', &more.headers)?,
        claims: pairs("--jwt", '=', &more.claims)?,
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

/// Answers each line of a file. A line that is no case is told in its place.
fn batch<A: Answer>(
    file: &str,
    document: &PolicyDocument,
    mut answer: impl FnMut(&Case) -> Result<A, Error>,
) -> ExitCode {
    let text = match read_text(file) {
        Ok(text) => text,
        Err(error) => return error.report(Format::Json, 2),
    };
    let mut all_answered = true;
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let number = index + 1;
        let name = format!("{}:{number}", shown(file));
        let case = document.parse_case(&name, line).map_err(Error::from);
        match case.and_then(|case| answer(&case)) {
            Ok(answer) => print_json(&answer),
            Err(error) => {
                all_answered = false;
                print_json(&merged(error.to_json(), json!({ "line": number })));
            }
        }
    }
    ExitCode::from(if all_answered { 0 } else { 2 })
}

/// Two JSON objects in one.
fn merged(mut a: Value, b: Value) -> Value {
    if let (Value::Object(a), Value::Object(b)) = (&mut a, b) {
        a.extend(b);
    }
    a
}
