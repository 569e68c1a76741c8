//! Why a connection to Postgres is decided as it is.

use signet_policy::{
    Parameter, Policy, PostgresDecision, PostgresDenial, PostgresRule, SpiffeId, StartupRequest,
};
use signet_policy_document::{Addressed, Case, PolicyDocument, PostgresAsk, Verdict};

use super::clause::{Clause, listed};
use super::{Explanation, RuleText};
use crate::error::Error;
use crate::filters::identity;

pub(super) fn explain(
    document: &PolicyDocument,
    case: &Case,
    ask: &PostgresAsk,
) -> Result<Explanation, Error> {
    let (from, to) = (identity(&case.from)?, identity(&case.to)?);
    let policy = Policy::compile(document.slice_for(to));
    let user = ask.user_or(policy.login_role(from, ask.database.as_bytes()));
    let mut parameters: Vec<Parameter<'_>> =
        vec![(b"user", user.as_bytes()), (b"database", ask.database.as_bytes())];
    parameters
        .extend(ask.parameters.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    let options = parameters.iter().rev().find(|(name, _)| *name == b"options");
    let settings = match pgwire::parse_options(options.map_or(b"", |(_, value)| *value)) {
        Ok(settings) => settings,
        Err(pgwire::OptionsError::Switch(found)) => {
            let found = found.escape_ascii();
            return Ok(refused(format!(
                "`options` has the switch `{found}`, and only settings can be judged"
            )));
        }
        Err(pgwire::OptionsError::NoValue(found)) => {
            let found = found.escape_ascii();
            return Ok(refused(format!("`options` has the setting `{found}` without a value")));
        }
    };
    let options: Vec<Parameter<'_>> =
        settings.iter().map(|s| (s.name.as_slice(), s.value.as_slice())).collect();
    let request = StartupRequest { parameters: &parameters, options: &options };
    let decision = policy.decide_postgres(Ok(from), &request);
    let question = Question { case, ask, from, to };
    let decided = decision
        .rule()
        .and_then(|name| document.postgres_rules().iter().find(|r| r.rule.name.as_str() == name));
    let (summary, nearest) = match &decision {
        PostgresDecision::Allow(session) => {
            (format!("rule {} lets it in as {}", session.rule.name, session.role), None)
        }
        PostgresDecision::Deny(PostgresDenial::NoRule | PostgresDenial::Database) => {
            question.without_rule(document)
        }
        PostgresDecision::Deny(PostgresDenial::User { rule }) => {
            (format!("rule {rule} decides, and doesn't let the peer act as {user}"), None)
        }
        PostgresDecision::Deny(PostgresDenial::Parameter { rule, name }) => {
            let name = name.escape_ascii();
            (
                format!("rule {rule} decides, and doesn't let the client set {name} at start-up"),
                None,
            )
        }
        PostgresDecision::Deny(PostgresDenial::NoIdentity(reason)) => (reason.to_string(), None),
        PostgresDecision::Deny(PostgresDenial::Withdrawn) | PostgresDecision::Refuse(_) => {
            (decision.to_string(), None)
        }
    };
    let mut rule =
        decided.map(|rule| RuleText::new(document, rule, &rule.rule.name, question.clauses(rule)));
    if let (Some(text), PostgresDecision::Deny(PostgresDenial::Parameter { name, .. })) =
        (&mut rule, &decision)
    {
        let chosen = decided.and_then(|rule| rule.rule.client_parameters.as_ref());
        text.fails.push(Clause {
            key: "client_parameters",
            wants: chosen.map_or("none".to_owned(), |names| listed(names)),
            found: name.escape_ascii().to_string(),
            holds: false,
            distance: 0,
        });
    }
    Ok(Explanation {
        verdict: match decision {
            PostgresDecision::Allow(_) => Verdict::Allow,
            PostgresDecision::Deny(_) => Verdict::Deny,
            PostgresDecision::Refuse(_) => Verdict::Refuse,
        },
        decided_by: decision.rule().map(str::to_owned),
        role: decision.role().map(str::to_owned),
        summary,
        rule,
        nearest,
        shadow: None,
    })
}

fn refused(summary: String) -> Explanation {
    Explanation {
        verdict: Verdict::Refuse,
        decided_by: None,
        role: None,
        summary,
        rule: None,
        nearest: None,
        shadow: None,
    }
}

/// The connection, its caller and its destination.
struct Question<'c> {
    case: &'c Case,
    ask: &'c PostgresAsk,
    from: SpiffeId<'c>,
    to: SpiffeId<'c>,
}

impl Question<'_> {
    /// What to say where no rule matches, and the rule that came nearest.
    fn without_rule(&self, document: &PolicyDocument) -> (String, Option<RuleText>) {
        let rules = document.postgres_rules();
        let distance = |rule: &&Addressed<PostgresRule>| -> usize {
            let failed = self.clauses(rule).into_iter().filter(|clause| !clause.holds);
            failed.map(|clause| clause.distance).sum()
        };
        let summary = if rules.iter().any(|rule| rule.to.iter().any(|to| to.matches(self.to))) {
            "no rule lets it in".to_owned()
        } else {
            format!("no rule is for {}, so everyone is denied there", self.case.to)
        };
        let text = |rule: &Addressed<PostgresRule>| {
            RuleText::new(document, rule, &rule.rule.name, self.clauses(rule))
        };
        (summary, rules.iter().min_by_key(distance).map(text))
    }

    fn clauses(&self, rule: &Addressed<PostgresRule>) -> Vec<Clause> {
        let Addressed { rule, to, .. } = rule;
        let mut clauses = Vec::new();
        let mut clause = |key, distance, wants, found: &str, holds| {
            clauses.push(Clause { key, wants, found: found.to_owned(), holds, distance });
        };
        clause("to", 256, listed(to), &self.case.to, to.iter().any(|to| to.matches(self.to)));
        let from_holds = rule.from.iter().any(|from| from.matches(self.from));
        clause("from", 64, listed(&rule.from), &self.case.from, from_holds);
        let holds = rule.databases.iter().any(|name| name.covers(&self.ask.database));
        clause("databases", 4, listed(&rule.databases), &self.ask.database, holds);
        if let Some(others) = &rule.may_act_as {
            let roles: Vec<_> = std::iter::once(&rule.login_role).chain(others).collect();
            // A client that names no user asks to be the login role.
            let user = self.ask.user.as_deref().unwrap_or(rule.login_role.as_str());
            let holds = roles.iter().any(|role| role.as_str() == user);
            clause("may_act_as", 1, listed(&roles), user, holds);
        }
        clauses
    }
}
