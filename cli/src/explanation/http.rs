//! Why a request is decided as it is.

use std::collections::BTreeMap;

use signet_policy::{
    Claim, Effect, Header, HttpDecision, HttpDenial, HttpRequest, HttpRule, IdPattern, Mode,
    Policy, Slice, SpiffeId, UpgradeProtocol,
};
use signet_policy_document::{Addressed, Case, HttpAsk, PolicyDocument, Verdict};

use super::clause::{Clause, listed};
use super::{Explanation, RuleText};
use crate::error::Error;
use crate::filters::identity;

/// The request, its caller and its destination.
struct Question<'c> {
    case: &'c Case,
    ask: &'c HttpAsk,
    from: SpiffeId<'c>,
    to: SpiffeId<'c>,
    headers: Vec<Header<'c>>,
    claims: Vec<Claim<'c>>,
}

pub(super) fn explain(
    document: &PolicyDocument,
    case: &Case,
    ask: &HttpAsk,
) -> Result<Explanation, Error> {
    let lines = ask.header_lines();
    let lower: Vec<_> = lines.iter().map(|(name, _)| name.to_lowercase()).collect();
    let headers = lower.iter().zip(&lines);
    let question = Question {
        case,
        ask,
        from: identity(&case.from)?,
        to: identity(&case.to)?,
        headers: headers.map(|(name, (_, value))| (name.as_bytes(), value.as_bytes())).collect(),
        claims: ask.claims.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect(),
    };
    let policy = Policy::compile(document.slice_for(question.to));
    let request = question.request();
    let decision = policy.decide_http(Ok(question.from), &request);
    let shadow =
        policy.shadow_http(Ok(question.from), &request).map(|shadow| match shadow.rule() {
            Some(rule) => format!("with the shadow rules enforced: {} by {rule}", shadow.verdict()),
            None => format!("with the shadow rules enforced: {}", shadow.verdict()),
        });
    let decided = decision
        .rule()
        .and_then(|name| document.http_rules().iter().find(|rule| rule.rule.name.as_str() == name));
    let no_rule = decision == HttpDecision::Deny(HttpDenial::NoRule);
    let (summary, nearest) = match &decision {
        HttpDecision::Allow { rule, .. } => (format!("rule {rule} allows it"), None),
        HttpDecision::Deny(HttpDenial::Rule(rule)) => {
            (format!("rule {rule} denies it, and a deny beats every allow"), None)
        }
        HttpDecision::Deny(HttpDenial::NoRule) => question.without_rule(document),
        HttpDecision::Deny(HttpDenial::NoIdentity(reason)) => (reason.to_string(), None),
        HttpDecision::Deny(HttpDenial::Connect | HttpDenial::Withdrawn) => {
            (decision.to_string(), None)
        }
        HttpDecision::Refuse(ambiguity) => {
            (format!("{ambiguity}, so two readers could read the request differently"), None)
        }
    };
    debug_assert!(no_rule || nearest.is_none());
    Ok(Explanation {
        verdict: match decision {
            HttpDecision::Allow { .. } => Verdict::Allow,
            HttpDecision::Deny(_) => Verdict::Deny,
            HttpDecision::Refuse(_) => Verdict::Refuse,
        },
        decided_by: decision.rule().map(str::to_owned),
        role: match decision {
            HttpDecision::Allow { db_role, .. } => db_role.map(str::to_owned),
            _ => None,
        },
        summary,
        rule: decided
            .map(|rule| RuleText::new(document, rule, &rule.rule.name, question.clauses(rule))),
        nearest,
        shadow,
    })
}

impl Question<'_> {
    fn request(&self) -> HttpRequest<'_> {
        HttpRequest { headers: &self.headers, port: self.ask.port, claims: &self.claims }
    }

    /// What to say where no rule matches, and the rule that came nearest.
    fn without_rule(&self, document: &PolicyDocument) -> (String, Option<RuleText>) {
        // A rule's distance first, then how many leading segments of its path fit.
        let nearest = document
            .http_rules()
            .iter()
            .filter(|rule| rule.rule.effect == Effect::Allow)
            .map(|rule| (rule, self.clauses(rule)))
            .min_by_key(|(rule, clauses)| {
                let failed = clauses.iter().filter(|clause| !clause.holds);
                let distance: usize = failed.map(|clause| clause.distance).sum();
                (distance, usize::MAX - self.common_segments(&rule.rule))
            });
        let Some((rule, clauses)) = nearest else {
            return (
                "no rule allows it: the policy has no rule over HTTP that allows".to_owned(),
                None,
            );
        };
        let for_destination =
            |rule: &&Addressed<HttpRule>| rule.to.iter().any(|to| to.matches(self.to));
        let summary = if !document.http_rules().iter().any(|rule| for_destination(&rule)) {
            format!("no rule is for {}, so everything is denied there", self.case.to)
        } else if clauses.iter().all(|clause| clause.holds || clause.key == "mode") {
            format!("no rule allows it yet: {} would, and is in shadow mode", rule.rule.name)
        } else {
            "no rule allows it".to_owned()
        };
        (summary, Some(RuleText::new(document, rule, &rule.rule.name, clauses)))
    }

    /// A header as it reaches the filter.
    fn header(&self, name: &str) -> Option<String> {
        let found = self.headers.iter().find(|(found, _)| *found == name.as_bytes());
        found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
    }

    /// How many leading segments of the request's path a pattern of the rule shares.
    fn common_segments(&self, rule: &HttpRule) -> usize {
        let path = self.ask.path.split('?').next().unwrap_or_default();
        let common = |pattern: String| {
            let pairs = pattern.split('/').zip(path.split('/')).collect::<Vec<_>>();
            pairs.iter().take_while(|(want, found)| want.starts_with('*') || want == found).count()
        };
        let patterns = rule.paths.iter().flatten();
        patterns.map(|pattern| common(pattern.to_string())).max().unwrap_or(0)
    }

    /// All clauses that a rule has.
    fn clauses(&self, rule: &Addressed<HttpRule>) -> Vec<Clause> {
        let Addressed { rule, to, .. } = rule;
        let mut clauses = Vec::new();
        let mut clause = |key, distance, wants, found: &str, holds| {
            clauses.push(Clause { key, wants, found: found.to_owned(), holds, distance });
        };
        let anyone = || clause_rule(rule);
        let to_holds = to.iter().any(|to| to.matches(self.to));
        clause("to", 256, listed(to), &self.case.to, to_holds);
        let from_holds = rule.from.iter().any(|from| from.matches(self.from));
        clause("from", 64, listed(&rule.from), &self.case.from, from_holds);
        if let Some(paths) = &rule.paths {
            let holds = self.plain(HttpRule { paths: Some(paths.clone()), ..anyone() });
            clause("paths", 32, listed(paths), &self.ask.path, holds);
        }
        if let Some(hosts) = &rule.hosts {
            let holds = self.other(HttpRule { hosts: Some(hosts.clone()), ..anyone() });
            clause("hosts", 4, listed(hosts), self.ask.host.as_deref().unwrap_or("no host"), holds);
        }
        if let Some(methods) = &rule.methods {
            let holds = self.plain(HttpRule { methods: Some(methods.clone()), ..anyone() });
            let method = self.header(":method").unwrap_or_default();
            clause("methods", 3, listed(methods), &method, holds);
        }
        if let Some(ports) = &rule.ports {
            let holds = self.other(HttpRule { ports: Some(ports.clone()), ..anyone() });
            let port =
                self.ask.port.map_or("a port that isn't known".to_owned(), |p| p.to_string());
            clause("ports", 2, listed(ports), &port, holds);
        }
        for (name, condition) in &rule.headers {
            let only = [(name.clone(), condition.clone())].into();
            let holds = self.other(HttpRule { headers: only, ..anyone() });
            let found = self.ask.header_lines();
            let values =
                found.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name.as_str()));
            let values = values.map(|(_, value)| *value).collect::<Vec<_>>();
            let wants = format!("{name} {}", condition_text(condition));
            clause("headers", 2, wants, &values_text(name.as_str(), &values), holds);
        }
        for (name, condition) in &rule.jwt {
            let only = [(name.clone(), condition.clone())].into();
            let holds = self.other(HttpRule { jwt: only, ..anyone() });
            let values = self.ask.claims.iter().filter(|(found, _)| found == name.as_str());
            let values = values.map(|(_, value)| value.as_str()).collect::<Vec<_>>();
            let wants = format!("{name} {}", condition_text(condition));
            clause("jwt", 2, wants, &values_text(name.as_str(), &values), holds);
        }
        let upgrade = self.header("upgrade");
        if rule.upgrades.is_some() || upgrade.is_some() {
            let holds = self.upgrade_holds(rule);
            let wants =
                rule.upgrades.as_ref().map_or("no upgrades".to_owned(), |list| listed(list));
            clause("upgrades", 2, wants, upgrade.as_deref().unwrap_or("none"), holds);
        }
        if rule.mode == Mode::Shadow {
            clause(
                "mode",
                1,
                "shadow: decided and counted".to_owned(),
                "enforced rules only",
                false,
            );
        }
        clauses
    }

    /// Whether a rule of one clause about path or method holds. As a deny, so that upgrades don't
    /// count.
    fn plain(&self, rule: HttpRule) -> bool {
        let rule = HttpRule { effect: Effect::Deny, ..rule };
        self.decided_by_rule(rule, &self.request())
    }

    /// Whether a rule of one clause about anything else holds, whatever is asked for.
    fn other(&self, rule: HttpRule) -> bool {
        let left_out: [&[u8]; 5] = [b":method", b":path", b":protocol", b"upgrade", b"connection"];
        let rest = self.headers.iter().filter(|(name, _)| !left_out.contains(name));
        let headers: Vec<Header<'_>> = [(&b":method"[..], &b"GET"[..]), (b":path", b"/")]
            .into_iter()
            .chain(rest.copied())
            .collect();
        self.decided_by_rule(rule, &HttpRequest { headers: &headers, ..self.request() })
    }

    fn upgrade_holds(&self, rule: &HttpRule) -> bool {
        if rule.effect == Effect::Deny {
            let upgrades = rule.upgrades.clone();
            return self
                .decided_by_rule(HttpRule { upgrades, ..clause_rule(rule) }, &self.request());
        }
        // A plain CONNECT is denied whatever a rule lists.
        let upgrades: Option<Vec<UpgradeProtocol>> = rule.upgrades.clone();
        self.decided_by_rule(HttpRule { upgrades, ..clause_rule(rule) }, &self.request())
    }

    fn decided_by_rule(&self, rule: HttpRule, request: &HttpRequest<'_>) -> bool {
        let policy =
            Policy::compile(Slice { http: vec![rule], ..Slice::deny_all(self.to.as_str()) });
        policy.decide_http(Ok(self.from), request).rule().is_some()
    }
}

/// A rule without clauses: anyone may do anything, or nothing.
fn clause_rule(rule: &HttpRule) -> HttpRule {
    HttpRule {
        db_role: None,
        effect: rule.effect,
        from: vec![IdPattern::parse("**").expect("`**` is a pattern")],
        headers: BTreeMap::new(),
        hosts: None,
        jwt: BTreeMap::new(),
        methods: None,
        mode: Mode::Enforce,
        name: rule.name.clone(),
        paths: None,
        ports: None,
        upgrades: None,
    }
}

fn condition_text(condition: &signet_policy::HeaderCondition) -> String {
    use signet_policy::HeaderCondition::{Absent, Equals, Present};
    match condition {
        Absent => "absent".to_owned(),
        Present => "present".to_owned(),
        Equals(values) => listed(values),
    }
}

fn values_text(name: &str, values: &[&str]) -> String {
    if values.is_empty() {
        format!("no {name}")
    } else {
        format!("{name} {}", values.join(" and "))
    }
}
