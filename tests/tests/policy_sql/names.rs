//! Names that a server has, in what is told of them: whoever may make databases chooses theirs.

use e2e::PostgresVersion::V18;

use crate::ground::{Ground, POLICY};

/// A database's name, by whoever may make databases.
const HOSTILE: &str = "x\nalter role reader superuser; --\u{1b}[2J\\\"";

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_no_other_line_of_a_repair() {
    let ground = Ground::applied(V18, POLICY, &["customers", "archive"]).await;
    let quoted = HOSTILE.replace('"', "\"\"");
    ground.sql("postgres", &format!("create database \"{quoted}\" owner reader"));
    ground.sql(HOSTILE, "create table t (); alter table t owner to reader");
    ground.sql("postgres", &format!("grant connect on database \"{quoted}\" to app"));

    let words = ground.signet(&["--check", "--url", "user=postgres"]);
    let is_ours = |line: &str| {
        let starts = ["privileged: ", "superfluous: ", "    "];
        starts.iter().any(|it| line.starts_with(it)) || line.contains(" differences between ")
    };
    assert!(words.out.lines().all(|line| line.is_empty() || is_ours(line)), "{words:?}");
    assert!(!words.out.contains('\u{1b}'), "{words:?}");
    assert!(words.out.contains(r#"in database U&"x\000aalter role"#), "{words:?}");

    let report = ground.check(&[]).json();
    let repairs =
        report["findings"].as_array().unwrap().iter().map(|it| it["repair"].as_str().unwrap());
    for repair in repairs {
        ground.sql(HOSTILE, repair);
    }
    ground.is_clean("what was told repairs it, and nothing else is done");
}
