//! What `signet policy check` warns of: the exact text is the test. Every example in it was decided
//! by the filter.

mod command;

use command::signet;

const HEAD: &str =
    "version: 1\ntrust_domain: example.org\nworkloads: { client: /client, api: /api, db: /db }\n";
/// Makes all of the head's workloads used, and `r` and `s` roles that the API can take.
const POSTGRES: &str = "postgres: [{ name: pg, from: [api, client], to: [db], databases: [d], login_role: r, may_act_as: [s] }]\n";

/// The warnings of a policy with these HTTP rules, a line each.
fn warnings(http: &str) -> Vec<String> {
    warnings_of(&format!("{HEAD}{POSTGRES}http:\n{http}"))
}

fn warnings_of(policy: &str) -> Vec<String> {
    let run = signet(&["policy", "check", "-", "-o", "json"], policy);
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{}", run.out);
    let line = |warning: &serde_json::Value| {
        let text = |key: &str| warning[key].as_str().unwrap_or_default().to_owned();
        let witness = |witness: &serde_json::Value| {
            let text = |key: &str| witness[key].as_str().unwrap().to_owned();
            let shadow = if witness["with_shadow_rules"] == true { " (shadow)" } else { "" };
            format!("{}: {} by {}{shadow}", text("case"), text("decision"), witness["rule"])
        };
        let witnesses: Vec<String> =
            warning["witnesses"].as_array().unwrap().iter().map(witness).collect();
        let witness = match witnesses.join(", and ") {
            none if none.is_empty() => "no example".to_owned(),
            all => all,
        };
        format!("{}:{}: {}; {}", warning["line"], warning["column"], text("message"), witness)
    };
    run.json()["warnings"].as_array().unwrap().iter().map(line).collect()
}

#[test]
fn each_with_its_example() {
    let c = "spiffe://example.org/client → spiffe://example.org/api";
    for (http, expected) in [
        // Nothing to warn of
        ("  - { name: a, from: [client], to: [api], paths: [/a/**] }\n  - { name: d, effect: deny, from: [client], to: [api], paths: [/a/b] }\n", vec![]),
        ("  - { name: a, from: [client], to: [api], paths: [/a/**] }\n  - { name: d, effect: deny, from: [client], to: [api], paths: ['/a/*/**'] }\n", vec![]),
        ("  - { name: a, from: [client], to: [api], hosts: ['*.org'] }\n  - { name: d, effect: deny, from: ['**'], to: [api], hosts: ['*.a.org', '*.b.org', b.org] }\n", vec![]),
        ("  - { name: a, from: [client], to: [api], db_role: s }\n  - { name: b, mode: shadow, from: [client], to: [api], methods: [GET], db_role: r }\n", vec![]),
        // Denied by one, and by two together
        (
            "  - { name: a, from: [client], to: [api], paths: [/a/b, /a/c/d] }\n  - { name: d, effect: deny, from: [/**], to: [/**], paths: ['/a/*/**'] }\n",
            vec![format!("6:13: rule `a` never allows: all that it matches is denied by `d`; {c}: GET /a/b: deny by \"d\"")],
        ),
        (
            "  - { name: a, from: [client], to: [api], paths: [/a/**] }\n  - { name: d, effect: deny, from: [client], to: [api], paths: [/a] }\n  - { name: e, effect: deny, from: ['**'], to: [api], paths: ['/*/*/**'] }\n",
            vec![format!("6:13: rule `a` never allows: all that it matches is denied by `d`, `e`; {c}: GET /a: deny by \"d\"")],
        ),
        (
            "  - { name: a, from: [client], to: [api], methods: [GET], hosts: ['*.org'], ports: [80], headers: { h: [x, y] }, jwt: { sub: me } }\n  - { name: d, effect: deny, from: [client], to: [api], headers: { h: [x, y, z] } }\n",
            vec![format!("6:13: rule `a` possibly never allows: all that it matches is denied by `d`; {c}: GET / with host x.org, port 80, h: x, claim sub=me: deny by \"d\"")],
        ),
        // Outweighed
        (
            "  - { name: a, from: [/**], to: [api], paths: ['/x/*'], db_role: r }\n  - { name: b, from: [client], to: [api], paths: [/x/**], methods: [GET, POST], db_role: s }\n  - { name: c, from: [client], to: [api], paths: ['/x/{id}'], db_role: s }\n  - { name: e, from: [client], to: [api], paths: ['/x/{id}', '/x/y'], methods: [POST], db_role: s }\n",
            vec![],
        ),
        (
            "  - { name: a, from: ['/*'], to: [api], paths: ['/x/*'], methods: [GET], db_role: r }\n  - { name: b, from: [/**], to: [api], paths: ['/x/**'], methods: [GET], db_role: s }\n  - { name: c, from: [/**], to: [api], paths: [/x], db_role: s }\n  - { name: e, from: ['/**'], to: [api], paths: ['/x/*/**'], db_role: s }\n",
            vec![
                "7:13: rule `b` is unreachable: all that it matches is decided by `a`, `c`, `e`; spiffe://example.org/x → spiffe://example.org/api: GET /x: allow by \"c\"".to_owned(),
            ],
        ),
        // Superfluous denies: of two that say the same, the later
        (
            "  - { name: d, effect: deny, from: ['**'], to: [api], paths: [/a] }\n  - { name: e, effect: deny, from: [client], to: [api], paths: [/a/], methods: [GET] }\n",
            vec![format!("7:13: deny `e` is superfluous: all that it denies is denied by `d`; {c}: GET /a: deny by \"e\"")],
        ),
        // Nothing matches
        (
            "  - { name: a, from: [client], to: [api], methods: [CONNECT] }\n  - { name: b, from: [client], to: [api], methods: [GET], paths: ['*'] }\n",
            vec![
                "6:13: rule `a` matches nothing: its clauses contradict each other; no example".to_owned(),
                "7:13: rule `b` matches nothing: its clauses contradict each other; no example".to_owned(),
            ],
        ),
        ("  - { name: a, from: [client], to: [api], methods: [GET], upgrades: [websocket], paths: [/a] }\n  - { name: b, from: [client], to: [api], methods: [OPTIONS], paths: ['*'] }\n", vec![]),
        // In shadow mode
        (
            "  - { name: a, mode: shadow, from: [client], to: [api], paths: [/a] }\n  - { name: d, mode: shadow, effect: deny, from: [client], to: [api] }\n",
            vec![format!("6:13: rule `a` never allows: all that it matches is denied by `d`; {c}: GET /a: deny by \"d\" (shadow)")],
        ),
        // Wider than the trust domain
        (
            "  - { name: a, from: ['**', client], to: [api], paths: ['/ä b'] }\n",
            vec!["6:23: rule `a` lets in workloads of every trust domain; spiffe://x/x → spiffe://example.org/api: GET /%C3%A4%20b: allow by \"a\"".to_owned()],
        ),
        ("  - { name: a, from: ['**'], to: [api] }\n  - { name: d, effect: deny, from: ['**'], to: [api], methods: [GET] }\n",
            vec!["6:23: rule `a` lets in workloads of every trust domain; spiffe://x/x → spiffe://example.org/api: POST /: allow by \"a\"".to_owned()]),
        (
            "  - { name: a, from: [client], to: ['**'], paths: [/a] }\n",
            vec!["6:37: rule `a` holds at workloads of every trust domain; spiffe://example.org/client → spiffe://x/x: GET /a: allow by \"a\"".to_owned()],
        ),
        // Roles
        (
            "  - { name: a, from: [client], to: [api], db_role: x }\n",
            vec![format!("6:52: no postgres rule lets spiffe://example.org/api act as `x`; {c}: GET /: allow by \"a\", and spiffe://example.org/api → spiffe://example.org/db: database d as x: deny by \"pg\"")],
        ),
        (
            "  - { name: a, from: [client], to: [db], db_role: s }\n",
            vec!["6:51: no postgres rule lets spiffe://example.org/db act as `s`; spiffe://example.org/client → spiffe://example.org/db: GET /: allow by \"a\"".to_owned()],
        ),
    ] {
        assert_eq!(warnings(http), expected, "{http}");
    }
}

/// The filter in front of Postgres has decided those about connections.
#[test]
fn those_about_postgres() {
    let db = "spiffe://example.org/db";
    for (rules, expected) in [
        // Heavier callers, and others for whom there is no heavier rule; a database by name, and the others
        (
            "  - { name: a, from: ['/*'], to: [db], databases: [d, '*'], login_role: r }\n  - { name: b, from: [client], to: [db], databases: [d], login_role: s }\n  - { name: c, from: [client, api], to: [db], databases: ['*'], login_role: s, may_act_as: [t] }\n",
            vec![],
        ),
        // Outweighed by two together, by another role and a refusal
        (
            "  - { name: a, from: [/w/**], to: [db], databases: [d], login_role: r }\n  - { name: b, from: ['/w/*'], to: [db], databases: [d], login_role: s }\n  - { name: c, from: ['/w/*/**'], to: [/**], databases: ['*'], login_role: t, may_act_as: [u] }\n  - { name: e, from: [client, api], to: [db], databases: [d], login_role: r }\n",
            vec![format!(
                "5:13: rule `a` is unreachable: all that it matches is decided by `b`, `c`; spiffe://example.org/w/x → {db}: database d: allow by \"b\""
            )],
        ),
        // Wider than the trust domain
        (
            "  - { name: a, from: ['**'], to: [db], databases: [p], login_role: guest }\n  - { name: b, from: [client, api], to: [db], databases: [d], login_role: r }\n",
            vec![format!(
                "5:23: rule `a` lets in workloads of every trust domain; spiffe://x/x → {db}: database p: allow by \"a\""
            )],
        ),
        (
            "  - { name: a, from: [client], to: ['**'], databases: [p], login_role: guest }\n  - { name: b, from: [client, api], to: [db], databases: [d], login_role: r }\n",
            vec!["5:37: rule `a` holds at workloads of every trust domain; spiffe://example.org/client → spiffe://x/x: database p: allow by \"a\"".to_owned()],
        ),
    ] {
        assert_eq!(warnings_of(&format!("{HEAD}postgres:\n{rules}")), expected, "{rules}");
    }
}

/// A role that the API is told is of use where some postgres rule gives it, to every destination, whatever else weighs more.
/// It is shown by a request for which it is told, and where the API is let into Postgres by what becomes of it there.
#[test]
fn those_about_roles_that_no_postgres_rule_gives() {
    let shown = |rule: &str, to: &str, role: &str, request: &str| {
        format!(
            "no postgres rule lets {to} act as `{role}`; spiffe://example.org/client → {request}: allow by \"{rule}\""
        )
    };
    let api = "spiffe://example.org/api";
    let becomes = |role: &str, decision: &str, rule: &str| {
        format!(
            ", and {api} → spiffe://example.org/db: database d as {role}: {decision} by \"{rule}\""
        )
    };
    for (http, postgres, expected) in [
        (
            "from: [client], to: [api], db_role: r",
            "from: [/**], to: [db], databases: [d], login_role: r",
            None,
        ),
        (
            "from: [client], to: [api], db_role: s",
            "from: [/*], to: [db], databases: [d], login_role: r, may_act_as: [s]",
            None,
        ),
        // Another workload's
        (
            "from: [client], to: [api], db_role: r",
            "from: [client], to: [db], databases: [d], login_role: r",
            Some(shown("h", api, "r", &format!("{api}: GET /"))),
        ),
        // One of two destinations
        (
            "from: [client], to: [api, db], paths: [/x], db_role: r",
            "from: [api], to: [db], databases: [d], login_role: r",
            Some(shown("h", "spiffe://example.org/db", "r", "spiffe://example.org/db: GET /x")),
        ),
        // A heavier rule decides about its connections, with another role
        (
            "from: [client], to: [api], db_role: r",
            "from: [/**], to: [db], databases: [d], login_role: r }\n  - { name: q, from: [api], to: [db], databases: [d], login_role: s",
            Some(shown("h", api, "r", &format!("{api}: GET /")) + &becomes("r", "allow", "q")),
        ),
        // Another of the two: the rule lets it act as some, and not as this one
        (
            "from: [client], to: [api], db_role: t",
            "from: [api], to: [db], databases: [d], login_role: r, may_act_as: [s]",
            Some(shown("h", api, "t", &format!("{api}: GET /")) + &becomes("t", "deny", "p")),
        ),
        // Only where the shadow rules are enforced
        (
            "mode: shadow, from: [client], to: [api], db_role: t",
            "from: [api], to: [db], databases: [d], login_role: r",
            Some(
                shown("h", api, "t", &format!("{api}: GET /"))
                    + " (shadow)"
                    + &becomes("t", "allow", "p"),
            ),
        ),
    ] {
        let policy = format!(
            "{HEAD}http:\n  - {{ name: h, {http} }}\npostgres:\n  - {{ name: p, {postgres} }}\n"
        );
        let told: Vec<String> = warnings_of(&policy)
            .into_iter()
            .filter(|line| !line.contains("never used"))
            .map(|line| line.split_once(": ").unwrap().1.to_owned())
            .collect();
        assert_eq!(told, Vec::from_iter(expected), "{policy}");
    }
}

#[test]
fn as_a_terminal_shows_them() {
    let policy = "\
version: 1
trust_domain: example.org
workloads: { client: /client, api: /api, old: /old }
http:
  - { name: reads, from: [client], to: [api], methods: [GET] }
  - { name: nothing, effect: deny, from: ['**'], to: [api] }
";
    let run = signet(&["policy", "check", "-"], policy);
    assert_eq!(run.code, 0);
    assert!(
        run.out.starts_with("standard input: 2 rules, 3 workloads, 2 warnings, policy digest "),
        "{}",
        run.out
    );
    assert_eq!(
        run.err.lines().map(|line| line.trim_end().to_owned() + "\n").collect::<String>(),
        "  ⚠ workload `old` is never used
   ╭─[standard input:3:42]
 2 │ trust_domain: example.org
 3 │ workloads: { client: /client, api: /api, old: /old }
   ·                                          ─┬─
   ·                                           ╰── no rule and no test names it
 4 │ http:
   ╰────
  help: remove it, or name it in a rule

  ⚠ rule `reads` never allows: all that it matches is denied by `nothing`
   ╭─[standard input:5:13]
 4 │ http:
 5 │   - { name: reads, from: [client], to: [api], methods: [GET] }
   ·             ──┬──
   ·               ╰── never decides
 6 │   - { name: nothing, effect: deny, from: ['**'], to: [api] }
   ╰────
  help: remove it, or narrow the deny: a deny beats every allow
        for example spiffe://example.org/client → spiffe://example.org/api:
        GET /: deny by nothing (denied_by_rule)

"
    );
    let run = signet(&["policy", "check", "-", "--deny-warnings"], policy);
    assert_eq!(run.code, 1);
    let run = signet(&["policy", "check", "-", "--wasm-dir", "/nowhere"], policy);
    assert_eq!(run.code, 0);
    assert!(
        run.err.contains("note: warnings have no examples: spiffe_authz.wasm was not found"),
        "{}",
        run.err
    );
}

/// Of thousands the first are told and shown, and all are counted.
#[test]
fn of_thousands_the_first_are_told() {
    let names: Vec<String> = (0..3000).map(|i| format!("  w{i:04}: /w/{i}\n")).collect();
    let names = names.concat();
    let policy = format!("version: 1\ntrust_domain: example.org\nworkloads:\n{names}");
    let run = signet(&["policy", "check", "-"], &policy);
    let told = "standard input: 0 rules, 3000 workloads, 3000 warnings (1000 of them told), policy digest ";
    assert!(run.out.starts_with(told), "{}", run.out);
    assert_eq!(run.err.matches("is never used").count(), 1000);
    let found = signet(&["policy", "check", "-", "-o", "json", "--deny-warnings"], &policy);
    assert_eq!((found.code, &found.json()["warning_count"]), (1, &3000.into()));
    assert_eq!(found.json()["warnings"].as_array().unwrap().len(), 1000);
}
