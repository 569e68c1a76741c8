//! Documents that are too large, too deep, too many things at once, or not whole: an answer soon, and never a panic.

use std::fmt::Write;

use signet_policy_document::PolicyDocument;

use crate::HEAD;

#[test]
fn hostile_documents_are_refused() {
    let bomb = {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for i in 1..12 {
            let before = format!("*a{}", i - 1);
            writeln!(text, "a{i}: &a{i} [{}]", vec![before; 10].join(", ")).unwrap();
        }
        text
    };
    let deep = "[".repeat(100_000);
    let big = "#".repeat(33 * 1024 * 1024);
    for text in [bomb, deep, big] {
        let started = std::time::Instant::now();
        let faults = PolicyDocument::parse("p.yaml", &text).unwrap_err();
        assert!(faults.count() >= 1);
        assert!(started.elapsed().as_secs() < 60, "hangs");
    }
    let faults = PolicyDocument::parse_bytes("p.yaml", b"version: 1\n\xff".to_vec()).unwrap_err();
    assert_eq!(
        faults.lines().next().unwrap(),
        "p.yaml:2:1: byte 11 of the document is no UTF-8; a policy is written in UTF-8"
    );
}

#[test]
fn of_thousands_of_faults_the_first_are_told_and_the_others_counted() {
    for (there_are, told) in [
        (1000, "1000 faults in p.yaml"),
        (1001, "1000 faults in p.yaml, and 1 more fault"),
        (3000, "1000 faults in p.yaml, and 2000 more faults"),
        (200_000, "1000 faults in p.yaml, and at least 99000 more"),
    ] {
        let text = format!("{HEAD}http: [{}]\n", "5, ".repeat(there_are));
        let faults = PolicyDocument::parse("p.yaml", &text).unwrap_err();
        assert_eq!((faults.count(), faults.to_string().as_str()), (1000, told));
    }
}

/// What would take hours if each were compared with each.
#[test]
fn long_lists_and_many_names_are_read_soon() {
    let many = |one: &dyn Fn(usize) -> String| (0..20_000).map(one).collect::<Vec<_>>().concat();
    let rule = |more: &str| {
        format!("{HEAD}http: [{{ name: r, from: [client], to: [api], paths: [{more}] }}]\n")
    };
    let started = std::time::Instant::now();
    PolicyDocument::parse("p.yaml", &rule(&many(&|i| format!("/{i},")))).unwrap();
    let twice = PolicyDocument::parse("p.yaml", &rule(&many(&|i| format!("/{},", i / 2))));
    let told = "1000 faults in p.yaml, and 9000 more faults";
    assert_eq!(twice.unwrap_err().to_string(), told);
    let workloads = many(&|i| format!("  client{i}: /{i}\n"));
    let rules = many(&|i| format!("  - {{ name: r{i}, from: [clietn{i}], to: [api{i}] }}\n"));
    let text = format!("version: 1\ntrust_domain: a\nworkloads:\n{workloads}http:\n{rules}");
    let faults = PolicyDocument::parse("p.yaml", &text).unwrap_err();
    assert_eq!(faults.to_string(), "1000 faults in p.yaml, and 39000 more faults");
    assert!(
        faults
            .iter()
            .all(|fault| fault.help.contains("did you mean `") == fault.message.contains("clietn"))
    );
    let rules =
        many(&|i| format!("  - {{ name: r{i}, from: [client], to: [api], db_role: x{i} }}\n"));
    let tied = PolicyDocument::parse("p.yaml", &format!("{HEAD}http:\n{rules}")).unwrap_err();
    assert_eq!(tied.to_string(), "1000 faults in p.yaml, and perhaps more");
    assert!(started.elapsed().as_secs() < 60, "hangs");
}

/// Half a file is told as such, or is a policy of what was read: never a panic.
#[test]
fn files_that_end_early_or_are_one_long_text() {
    let whole = include_str!("../../../../examples/policies/demo.yaml");
    for at in (0..whole.len()).step_by(41).filter(|at| whole.is_char_boundary(*at)) {
        let _ = PolicyDocument::parse("p.yaml", &whole[..at]);
    }
    let half = PolicyDocument::parse("p.yaml", "version: 1\ntrust_domain: \"exam").unwrap_err();
    let told = half.lines().next().unwrap();
    assert!(told.starts_with("p.yaml:2:15: the document is no YAML that can be read"), "{told}");
    let started = std::time::Instant::now();
    let long = format!("version: 1\ntrust_domain: {}\n", "x".repeat(10 * 1024 * 1024));
    let faults = PolicyDocument::parse("p.yaml", &long).unwrap_err();
    assert_eq!(faults.count(), 1);
    assert!(faults.iter().all(|fault| fault.message.len() < 1010));
    assert!(started.elapsed().as_secs() < 60, "hangs");
}
