//! Faults of rules beside each other.

use signet_policy_document::PolicyDocument;

use crate::HEAD;

#[test]
fn ties() {
    let http = |rules: &str| PolicyDocument::parse("p.yaml", &format!("{HEAD}http:\n{rules}"));
    let tied = "
  - { name: a, from: [client], to: [api], paths: [/x, '/c/{id}'], methods: [GET], db_role: r }
  - { name: b, from: [/**, client], to: [/**], paths: ['/c/{name}'], methods: [POST, GET] }
";
    let faults = http(tied).unwrap_err();
    assert_eq!(
        faults.lines().next().unwrap(),
        "p.yaml:7:13: rules `a` and `b` tie: `GET /c/x` of `spiffe://example.org/client` would get `r` or no \
         role; make one of them narrower (path, caller, host, method, then other conditions), or give both the \
         same `db_role`"
    );
    // What decides between the two, or keeps them apart.
    for (from, to) in [
        ("methods: [POST, GET] }", "methods: [POST, GET], db_role: r }"),
        ("methods: [POST, GET]", "methods: [POST]"),
        (", methods: [POST, GET]", ""),
        ("'/c/{name}'", "/c/**"),
        ("'/c/{name}'", "/c/7"),
        ("[/**, client]", "[/**]"),
        ("to: [/**]", "to: [db]"),
        ("methods: [POST, GET]", "methods: [POST, GET], headers: { h: present }"),
        ("methods: [POST, GET]", "methods: [POST, GET], effect: deny"),
        ("methods: [POST, GET]", "methods: [POST, GET], hosts: [h]"),
    ] {
        let text = tied.replace(from, to);
        assert_ne!(text, tied);
        http(&text).expect(&text);
    }
    let headers = "
  - { name: a, from: [client], to: [api], headers: { h: [x, y] }, db_role: r }
  - { name: b, from: [client], to: [api], headers: { h: CONDITION } }
";
    for (condition, tie) in
        [("x", true), ("z", false), ("{ absent: true }", false), ("{ present: true }", true)]
    {
        let text = headers.replace("CONDITION", condition);
        assert_eq!(http(&text).is_err(), tie, "{text}");
    }

    let postgres =
        |rules: &str| PolicyDocument::parse("p.yaml", &format!("{HEAD}postgres:\n{rules}"));
    let tied = "
  - { name: a, from: [client, api], to: [db], databases: [c, d], login_role: u }
  - { name: b, from: [api], to: [/**], databases: [d], login_role: u }
";
    let told = postgres(tied).unwrap_err().lines().next().unwrap();
    assert!(
        told.contains(
            "rules `a` and `b` tie: both decide about `spiffe://example.org/api` in database `d`"
        ),
        "{told}"
    );
    for (from, to) in [
        ("databases: [d]", "databases: ['*']"),
        ("from: [api]", "from: [/**]"),
        ("to: [/**]", "to: [client]"),
    ] {
        let text = tied.replace(from, to);
        assert_ne!(text, tied);
        postgres(&text).expect(&text);
    }
}

#[test]
fn claims_of_one_destination() {
    let rule = |i: usize, to: &str| {
        format!("  - {{ name: r{i}, from: [client], to: [{to}], jwt: {{ a{i}: x, b{i}: x }} }}\n")
    };
    let rules = |count, to: fn(usize) -> &'static str| -> String {
        format!("{HEAD}http:\n") + &(0..count).map(|i| rule(i, to(i))).collect::<String>()
    };
    PolicyDocument::parse("p.yaml", &rules(32, |_| "api")).unwrap();
    PolicyDocument::parse("p.yaml", &rules(64, |i| if i % 2 == 0 { "api" } else { "db" })).unwrap();
    let told = |to| PolicyDocument::parse("p.yaml", &rules(40, to)).unwrap_err();
    assert_eq!(
        told(|_| "api").lines().collect::<Vec<_>>(),
        [
            "p.yaml:37:13: with rule `r32` 66 JWT claims decide at `spiffe://example.org/api`; the rules for one \
          destination look at 64 claims at most: each is asked for at every request"
        ]
    );
    assert_eq!(told(|i| if i % 2 == 0 { "api" } else { "/**" }).count(), 1);
}

/// Lists that multiply to millions of alternatives are compared list by list.
#[test]
fn long_lists() {
    let many = |stem: &str| (0..300).map(|i| format!("{stem}{i}")).collect::<Vec<_>>().join(", ");
    let rule = |name: &str, hosts: &str, role: &str| {
        let (callers, paths, hosts) = (many("/c/"), many("/p/"), many(hosts));
        format!(
            "  - {{ name: {name}, from: [{callers}], to: [api], paths: [{paths}], hosts: [{hosts}], db_role: {role} }}\n"
        )
    };
    let read = |rules: &[String]| {
        PolicyDocument::parse("p.yaml", &format!("{HEAD}http:\n{}", rules.concat()))
    };
    let (a, b) = (rule("a", "g", "r"), rule("b", "h", "s"));
    read(&[a.clone(), b.clone()]).unwrap();
    let narrow = |role: &str| {
        format!(
            "  - {{ name: few, from: [/c/7], to: [api], paths: [/p/8], hosts: [h9], db_role: {role} }}\n"
        )
    };
    read(&[a.clone(), narrow("s"), b.clone()]).unwrap();
    for rules in [[a.clone(), b.clone(), narrow("r")], [narrow("r"), a, b]] {
        let told = read(&rules).unwrap_err().lines().next().unwrap();
        assert!(
            told.contains("tie: `GET /p/8 with host h9` of `spiffe://example.org/c/7`"),
            "{told}"
        );
    }
}

/// Two rules of which one never decides by what both list, each of more callers than are tried.
#[test]
fn a_tie_that_is_searched_in_vain_is_told() {
    let callers = (0..1001).map(|i| format!("/c/{i}")).collect::<Vec<_>>().join(", ");
    let text = |callers: &str| {
        format!(
            "{HEAD}http:
  - {{ name: a, from: [{callers}], to: [api], paths: ['/**', /, '/*/**'], db_role: r }}
  - {{ name: b, from: [{callers}], to: [api], paths: ['/**'], db_role: s }}\n"
        )
    };
    PolicyDocument::parse("p.yaml", &text("/c/7, /c/8")).unwrap();
    let faults = PolicyDocument::parse("p.yaml", &text(&callers)).unwrap_err();
    assert_eq!(
        faults.lines().collect::<Vec<_>>(),
        [
            "p.yaml:6:13: whether this rule ties with others isn't known: they overlap in too many ways; shorten \
          their lists, or write a rule for each path or caller"
        ]
    );
}
