//! The meaning of the Postgres rules, written down as plainly as it is told in the documentation. Shares no code with
//! `policy/core`, and is what that is compared with.

/// A rule about connections to Postgres.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) name: String,
    pub(crate) from: Vec<String>,
    pub(crate) databases: Vec<String>,
    pub(crate) login_role: String,
    pub(crate) may_act_as: Option<Vec<String>>,
    pub(crate) client_parameters: Option<Vec<String>>,
    pub(crate) replication: bool,
}

/// What a caller with an identity asks for.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) from: String,
    /// The start-up packet's parameters in order, `user` and `database` among them.
    pub(crate) parameters: Vec<(String, String)>,
}

/// Verdict, rule and role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) verdict: &'static str,
    pub(crate) rule: Option<String>,
    pub(crate) role: Option<String>,
}

/// What any client may set.
const FREE: &[&str] = &["application_name", "datestyle", "timezone", "statement_timeout"];

pub(crate) fn decide(rules: &[Rule], asked: &Connection) -> Decision {
    let answer = |verdict, rule: Option<&Rule>, role: Option<&String>| Decision {
        verdict,
        rule: rule.map(|rule| rule.name.clone()),
        role: role.cloned(),
    };
    let last = |key: &str| {
        let mut values = asked.parameters.iter().filter(|(name, _)| name == key);
        values.next_back().map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    };
    let Some(user) = last("user") else { return answer("refuse", None, None) };
    let database = last("database").unwrap_or(user);
    // The heaviest caller alone, then a database by its name.
    let heaviest = rules
        .iter()
        .filter_map(|rule| {
            let from = rule.from.iter().filter_map(|pattern| weigh(pattern, &asked.from)).max()?;
            let named = rule.databases.iter().any(|name| name == database);
            (named || rule.databases.iter().any(|name| name == "*")).then_some((from, named, rule))
        })
        .max_by(|(a, b, _), (c, d, _)| (a, b).cmp(&(c, d)));
    let Some((_, _, rule)) = heaviest else { return answer("deny", None, None) };
    let role = match &rule.may_act_as {
        Some(roles) if user != rule.login_role => roles.iter().find(|role| *role == user),
        _ => Some(&rule.login_role),
    };
    let every_database = rule.databases.iter().any(|name| name == "*");
    let chosen = rule.client_parameters.iter().flatten().map(String::as_str);
    let settable: Vec<&str> = FREE.iter().copied().chain(chosen).collect();
    let refused = asked.parameters.iter().any(|(name, value)| match name.as_str() {
        "user" | "database" => false,
        // Physical replication has no database.
        "replication" => !(rule.replication && (value == "database" || every_database)),
        name if name.starts_with("_pq_.") || name.to_lowercase().starts_with("signet.") => false,
        name => !settable.iter().any(|known| known.eq_ignore_ascii_case(name)),
    });
    match role {
        Some(role) if !refused => answer("allow", Some(rule), Some(role)),
        _ => answer("deny", Some(rule), None),
    }
}

/// How narrowly a pattern holds an identity, segment by segment; nothing where it doesn't.
fn weigh(pattern: &str, id: &str) -> Option<Vec<u32>> {
    let id: Vec<&str> = id.strip_prefix("spiffe://")?.split('/').collect();
    let pattern: Vec<&str> = pattern.trim_start_matches("spiffe://").split('/').collect();
    let rest = pattern.last() == Some(&"**");
    let fits = if rest { id.len() >= pattern.len() } else { id.len() == pattern.len() };
    let weights = pattern.iter().zip(&id).map(|(want, found)| match *want {
        "**" => Some(1),
        "*" => Some(2),
        literal => (literal == *found).then_some(3),
    });
    let weights: Option<Vec<u32>> = weights.collect();
    weights.filter(|_| fits)
}
