//! Each way in that `pg_hba.conf` and `pg_ident.conf` leave open or shut is told.

use e2e::{
    PostgresFiles,
    PostgresVersion::{self, V15, V18},
};

use crate::ground::{Ground, POLICY};

/// Lines before ours, lines behind them, and what is found then of which thing.
type Case = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const ALL: &str = r#"pg_hba.conf for "app", "reader", "writer""#;

const HBA: &[Case] = &[
    ("", "local all all trust\nhost all all 0.0.0.0/0 scram-sha-256\n", &[]),
    (
        "local archive all trust\n",
        "",
        &[
            (r#"Envoy as "reader" in database "archive""#, "line 2: local archive all trust"),
            (ALL, "line 2: local archive all trust"),
        ],
    ),
    (
        "host all app,reader 10.0.0.0/8 scram-sha-256\n",
        "",
        &[(
            r#"pg_hba.conf for "app", "reader""#,
            "line 2: host all app,reader 10.0.0.0/255.0.0.0 scram-sha-256",
        )],
    ),
    (
        "hostnossl all +reader all md5\nhostssl all all all cert\n",
        "",
        &[(r#"pg_hba.conf for "app", "reader""#, "line 2: hostnossl all +reader all md5")],
    ),
    (
        "local customers writer reject\n",
        "",
        &[(
            r#"Envoy as "writer" in database "customers""#,
            "line 2: local customers writer reject",
        )],
    ),
];

const IDENT: &[(&str, &[(&str, &str)])] = &[
    ("signet somebody app\n", &[(r#"pg_ident.conf for "app""#, "signet somebody app")]),
    ("signet /^(.*)$ \\1\n", &[(r#"pg_ident.conf for "\1""#, "signet /^(.*)$ \\1")]),
    ("signet ENVOY postgres\n", &[(r#"pg_ident.conf for "postgres""#, "ENVOY postgres")]),
    ("other somebody app\n", &[]),
];

async fn every_way_in_is_told(version: PostgresVersion) {
    let ground = Ground::applied(version, POLICY, &["customers", "archive"]).await;
    let right = ground.files(&[]);
    for (before, behind, expected) in HBA {
        let hba = format!("{before}{}{behind}", right.hba);
        ground.let_in(&PostgresFiles { hba, ..right.clone() }).await;
        let told = ground.check(&[]);
        let expected: Vec<_> =
            expected.iter().map(|(t, f)| ((*t).to_owned(), (*f).to_owned())).collect();
        assert_eq!(told.findings(), expected, "{before}{behind}{told:?}");
    }
    let envoy = &ground.stage.accounts.mesh.name;
    for (more, expected) in IDENT {
        let ident = format!("{}{}", right.ident, more.replace("ENVOY", envoy));
        ground.let_in(&PostgresFiles { ident, ..right.clone() }).await;
        let found = ground.check(&[]).findings();
        assert_eq!(found.len(), expected.len(), "{more}{found:?}");
        for ((thing, line), (expected, shown)) in found.iter().zip(*expected) {
            assert_eq!(thing, expected);
            assert!(line.contains(&shown.replace("ENVOY", envoy)), "{line}");
        }
    }

    // Nothing of ours: Envoy doesn't get in, and others do.
    let debian = "local all all peer\nhost all all 127.0.0.1/32 scram-sha-256\n".to_owned();
    ground.let_in(&PostgresFiles { hba: debian, ..PostgresFiles::default() }).await;
    let found = ground.check(&[]).findings();
    for expected in [
        (
            r#"Envoy as "app", "reader", "writer" in database "customers""#,
            "line 2: local all all peer",
        ),
        (r#"pg_ident.conf for "app", "reader", "writer""#, "no line"),
        (ALL, "line 2: local all all peer"),
        (ALL, "line 3: host all all 127.0.0.1/255.255.255.255 scram-sha-256"),
    ] {
        assert!(
            found.iter().any(|(t, f)| (t.as_str(), f.as_str()) == expected),
            "{expected:?} {found:?}"
        );
    }
    // While applications move, passwords are no fault, and what Envoy needs is.
    let keeping = ground.files(&["--keep-passwords"]);
    let hba = format!("{}host all all 127.0.0.1/32 scram-sha-256\n", keeping.hba);
    ground.let_in(&PostgresFiles { hba, ..keeping }).await;
    assert_eq!(ground.check(&["--keep-passwords"]).code, Some(0));
    assert_eq!(ground.check(&[]).findings().len(), 1);
    ground.let_in(&right).await;
    ground.is_clean("right again");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_in_is_told_on_15() {
    every_way_in_is_told(V15).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_in_is_told_on_18() {
    every_way_in_is_told(V18).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_belongs_to_a_login_role_could_be_envoy_s_too() {
    let ground = Ground::applied(V18, POLICY, &["customers", "archive"]).await;
    ground.sql("postgres", "create role dba login; grant app to dba with inherit false, set false");
    // Our own lines name roles, so nothing comes of it.
    ground.is_clean("a member of a member");
    let right = ground.files(&[]);
    let hba = format!("{}local all +signet_logins peer map=signet\n", right.hba);
    ground.let_in(&PostgresFiles { hba, ..right.clone() }).await;
    assert_eq!(
        ground.logs_in(&ground.stage.accounts.mesh, "dba", "postgres").as_deref(),
        Ok("dba")
    );
    let (thing, found) = ground.check(&[]).findings().remove(0);
    assert_eq!(thing, r#"pg_ident.conf for "dba""#);
    assert!(found.ends_with("+signet_logins"), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_and_unread_changes_are_told() {
    let ground = Ground::applied(V15, POLICY, &["customers", "archive"]).await;
    let hba = ground.postgres.directory().join("data/pg_hba.conf");
    let right = std::fs::read_to_string(&hba).unwrap();
    std::fs::write(&hba, format!("{right}local all all piers\n")).unwrap();
    let found = ground.check(&[]).findings();
    assert!(
        found.iter().any(|(_, found)| found.starts_with("Postgres can't read it: ")),
        "{found:?}"
    );

    std::fs::write(&hba, right).unwrap();
    let soon = std::time::SystemTime::now() + std::time::Duration::from_mins(1);
    std::fs::File::options().append(true).open(&hba).unwrap().set_modified(soon).unwrap();
    let run = ground.check(&[]);
    assert_eq!(run.findings()[0].1, "changed since Postgres read them");
    assert_eq!(run.json()["findings"][0]["repair"], "select pg_reload_conf();");
    let before = std::time::SystemTime::UNIX_EPOCH;
    std::fs::File::options().append(true).open(&hba).unwrap().set_modified(before).unwrap();
    ground.is_clean("nothing is unread");
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_files_that_are_included_are_told_with_their_file() {
    let ground = Ground::applied(V18, POLICY, &["customers", "archive"]).await;
    let right = ground.files(&[]);
    let included = ground.postgres.directory().join("data/more.conf");
    // On the second line of each file.
    std::fs::write(&included, "# more\nhost all app 10.0.0.0/8 md5\n").unwrap();
    let hba = format!("host all writer 10.0.0.0/8 md5\ninclude more.conf\n{}", right.hba);
    ground.let_in(&PostgresFiles { hba, ..right }).await;
    let file = included.display();
    let report = ground.check(&[]).json();
    let told = |key| report["findings"].as_array().unwrap().iter().map(move |it| it[key].clone());
    assert_eq!(
        told("found").collect::<Vec<_>>(),
        [
            "line 2: host all writer 10.0.0.0/255.0.0.0 md5".to_owned(),
            format!("line 2 of {file}: host all app 10.0.0.0/255.0.0.0 md5")
        ]
    );
    assert_eq!(
        told("repair").collect::<Vec<_>>(),
        [
            "pg_hba.conf, before line 2: host all,replication writer all reject".to_owned(),
            format!("{file}, before line 2: host all,replication app all reject")
        ]
    );

    let soon = std::time::SystemTime::now() + std::time::Duration::from_mins(1);
    std::fs::File::options().append(true).open(&included).unwrap().set_modified(soon).unwrap();
    let (_, found) = ground.check(&[]).findings().pop().unwrap();
    assert_eq!(found, "changed since Postgres read them");
}

/// A rule that lets replicate the whole server.
const COPIES: &str = "\
version: 1
trust_domain: example.org
postgres:
  - { name: copies, from: [/replica], to: [/db], databases: ['*'], login_role: copier, replication: true, allow_privileged: true }
";

async fn who_replicates_is_for_no_database(version: PostgresVersion) {
    let ground = Ground::applied(version, COPIES, &[]).await;
    ground.is_clean("all is applied");
    // Lines for `all` databases say nothing of replication.
    let right = ground.files(&[]);
    let hba = right.hba.replace("local   replication", "#").replace("all,replication", "all");
    let more = "local replication all trust\nhost replication all 127.0.0.1/32 scram-sha-256\n";
    ground.let_in(&PostgresFiles { hba: format!("{hba}{more}"), ..right.clone() }).await;
    let found = ground.check(&[]).findings();
    let expected = [
        (r#"Envoy as "copier" to replicate"#, "local replication all trust"),
        (r#"pg_hba.conf for "copier""#, "local replication all trust"),
        (r#"pg_hba.conf for "copier""#, "host replication all 127.0.0.1/255.255.255.255 scram"),
    ];
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for ((thing, line), (expected, shown)) in found.iter().zip(expected) {
        assert_eq!(thing, expected);
        assert!(line.contains(shown), "{line}");
    }
    // Shut by lines of their own.
    let shut = "local replication copier reject\nhost replication copier all reject\n";
    let hba = right.hba.replace("all,replication", "all");
    ground.let_in(&PostgresFiles { hba: format!("{hba}{shut}{more}"), ..right }).await;
    ground.is_clean("nobody else may replicate as copier");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_replicates_is_for_no_database_on_15() {
    who_replicates_is_for_no_database(V15).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_replicates_is_for_no_database_on_18() {
    who_replicates_is_for_no_database(V18).await;
}
