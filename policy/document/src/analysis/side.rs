//! One of two policies that are compared.

use std::collections::{BTreeMap, HashMap, HashSet};

use signet_policy::{
    DatabaseName, Effect, HeaderCondition, HostPattern, HttpRule, IdPattern, Method, Mode,
    OnSvidExpiry, ParameterName, PathPattern, PostgresRule, RoleName, UpgradeProtocol,
};

use super::decider::{Decider, Neighbours, Rules};
use super::diff::Outcome;
use crate::case::Verdict;
use crate::document::PolicyDocument;
use crate::fault::shortened;
use crate::read::Addressed;
use crate::space::{Named, Rule};

/// One of the two policies.
pub(super) struct Side<'d> {
    document: &'d PolicyDocument,
    pub(super) rules: &'d Rules<'d>,
    pub(super) neighbours: Neighbours<'d>,
    http: HashSet<HttpMeaning<'d>>,
    postgres: HashSet<PostgresMeaning<'d>>,
    /// What the HTTP rules say, then the Postgres rules.
    said: Vec<Said>,
}

/// What an allow says of those whom it lets in.
pub(super) struct Said {
    /// The same where it is the same, in both policies.
    pub(super) number: usize,
    role: Option<String>,
    terms: String,
}

/// The roles and terms that allows give, in words, and their numbers.
pub(super) type Meanings = HashMap<(Option<String>, String), usize>;

impl<'d> Side<'d> {
    pub(super) fn of(
        document: &'d PolicyDocument,
        rules: &'d Rules<'d>,
        meanings: &mut Meanings,
    ) -> Self {
        let http = document
            .http_rules()
            .iter()
            .map(|rule| (rule.rule.db_role.as_ref().map(ToString::to_string), String::new()));
        let postgres = document
            .postgres_rules()
            .iter()
            .map(|rule| (Some(rule.rule.login_role.to_string()), terms(&rule.rule)));
        let said = http.chain(postgres).map(|(role, terms)| {
            let next = meanings.len();
            let number = *meanings.entry((role.clone(), terms.clone())).or_insert(next);
            Said { number, role, terms: shortened(terms) }
        });
        Self {
            document,
            rules,
            neighbours: Neighbours::of(rules),
            said: said.collect(),
            http: document.http_rules().iter().map(HttpMeaning::of).collect(),
            postgres: document.postgres_rules().iter().map(PostgresMeaning::of).collect(),
        }
    }

    /// Whether this policy has a rule that says the same as one of the other policy.
    pub(super) fn has_same(&self, other: &Self, rule: &Rule<'_>) -> bool {
        if rule.databases.is_some() {
            let rule = &other.document.postgres_rules()[rule.index];
            return self.postgres.contains(&PostgresMeaning::of(rule));
        }
        self.http.contains(&HttpMeaning::of(&other.document.http_rules()[rule.index]))
    }

    /// What an allow says.
    pub(super) fn said(&self, rule: &Rule<'_>) -> &Said {
        let http = if rule.databases.is_some() { self.rules.http.len() } else { 0 };
        &self.said[http + rule.index]
    }

    /// What is said where an allow decides.
    pub(super) fn said_by(&self, decider: &Decider<'_>) -> Option<&Said> {
        match decider {
            Decider::Allowed(region) => Some(self.said(region.rule)),
            Decider::Denied(_) | Decider::Nobody => None,
        }
    }

    /// The decision in words.
    pub(super) fn outcome(&self, decider: &Decider<'_>) -> Outcome {
        let said = self.said_by(decider);
        Outcome {
            verdict: if said.is_some() { Verdict::Allow } else { Verdict::Deny },
            rule: decider.region().map(|region| region.rule.name.to_owned()),
            role: said.and_then(|said| said.role.clone()),
            terms: said.map(|said| said.terms.clone()).unwrap_or_default(),
        }
    }
}

/// What a connection to Postgres may do besides being the login role.
fn terms(rule: &PostgresRule) -> String {
    fn names<T: ToString>(list: &[T]) -> String {
        list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }
    let mut terms = vec![match &rule.may_act_as {
        Some(roles) => format!("may act as {}", names(roles)),
        None => "whatever user it names".to_owned(),
    }];
    terms.extend(rule.client_parameters.as_ref().map(|list| format!("may set {}", names(list))));
    terms.extend(rule.settings.iter().map(|(name, value)| format!("{name}={value}")));
    terms.extend(rule.max_session.map(|seconds| format!("at most {seconds}s")));
    if rule.replication {
        terms.push("replication".to_owned());
    }
    if rule.on_svid_expiry == OnSvidExpiry::Keep {
        terms.push("outlives its SVID".to_owned());
    }
    terms.join("; ")
}

/// All of a rule but its name.
#[derive(PartialEq, Eq, Hash)]
struct HttpMeaning<'d> {
    to: &'d [IdPattern],
    from: &'d [IdPattern],
    paths: Option<&'d [PathPattern]>,
    hosts: Option<&'d [HostPattern]>,
    methods: Option<&'d [Method]>,
    ports: Option<&'d [u16]>,
    upgrades: Option<&'d [UpgradeProtocol]>,
    db_role: Option<&'d RoleName>,
    is_deny: bool,
    is_shadow: bool,
    /// Of each header and claim whether a value must be there, and which.
    conditions: Vec<(Named, &'d str, bool, &'d [String])>,
}

impl<'d> HttpMeaning<'d> {
    fn of(addressed: &'d Addressed<HttpRule>) -> Self {
        let HttpRule {
            db_role,
            effect,
            from,
            headers,
            hosts,
            jwt,
            methods,
            mode,
            name: _,
            paths,
            ports,
            upgrades,
        } = &addressed.rule;
        let condition = |kind, name: &'d str, condition: &'d HeaderCondition| match condition {
            HeaderCondition::Absent => (kind, name, false, &[][..]),
            HeaderCondition::Present => (kind, name, true, &[][..]),
            HeaderCondition::Equals(list) => (kind, name, true, list.as_slice()),
        };
        let headers = headers.iter().map(|(name, c)| condition(Named::Header, name.as_str(), c));
        let claims = jwt.iter().map(|(name, c)| condition(Named::Claim, name.as_str(), c));
        Self {
            to: &addressed.to,
            from,
            paths: paths.as_deref(),
            hosts: hosts.as_deref(),
            methods: methods.as_deref(),
            ports: ports.as_deref(),
            upgrades: upgrades.as_deref(),
            db_role: db_role.as_ref(),
            is_deny: *effect == Effect::Deny,
            is_shadow: *mode == Mode::Shadow,
            conditions: headers.chain(claims).collect(),
        }
    }
}

/// All of a rule but its name.
#[derive(PartialEq, Eq, Hash)]
struct PostgresMeaning<'d> {
    to: &'d [IdPattern],
    from: &'d [IdPattern],
    databases: &'d [DatabaseName],
    login_role: &'d RoleName,
    may_act_as: Option<&'d [RoleName]>,
    client_parameters: Option<&'d [ParameterName]>,
    settings: &'d BTreeMap<ParameterName, String>,
    max_session: Option<u64>,
    outlives_its_svid: bool,
    replication: bool,
}

impl<'d> PostgresMeaning<'d> {
    fn of(addressed: &'d Addressed<PostgresRule>) -> Self {
        let PostgresRule {
            client_parameters,
            databases,
            from,
            login_role,
            max_session,
            may_act_as,
            name: _,
            on_svid_expiry,
            replication,
            settings,
        } = &addressed.rule;
        Self {
            to: &addressed.to,
            from,
            databases,
            login_role,
            may_act_as: may_act_as.as_deref(),
            client_parameters: client_parameters.as_deref(),
            settings,
            max_session: *max_session,
            outlives_its_svid: *on_svid_expiry == OnSvidExpiry::Keep,
            replication: *replication,
        }
    }
}
