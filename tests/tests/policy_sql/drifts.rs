//! Each drift of the catalogues is provoked, told, and repaired by the SQL that was told with it.

use e2e::PostgresVersion::{self, V15, V18};

use crate::ground::{Ground, POLICY};

/// What breaks the server, and what is then found of which thing.
struct Drift(&'static [&'static str], &'static [(&'static str, &'static str)]);

const DRIFTS: &[Drift] = &[
    Drift(
        &["revoke all on database customers from writer; revoke writer from app; drop role writer"],
        &[(r#"role "writer""#, "not there")],
    ),
    Drift(&["alter role reader nologin"], &[(r#"role "reader""#, "it can't log in")]),
    Drift(&["alter role app superuser"], &[(r#"role "app""#, "a superuser")]),
    Drift(&["alter role app createrole"], &[(r#"role "app""#, "it may create roles")]),
    Drift(&["alter role app createdb"], &[(r#"role "app""#, "it may create databases")]),
    Drift(
        &["alter role app replication"],
        &[(r#"role "app""#, "it may replicate, which reads everything")],
    ),
    Drift(&["alter role app bypassrls"], &[(r#"role "app""#, "it bypasses row level security")]),
    Drift(
        &["alter role app inherit"],
        &[(r#"role "app""#, "it inherits the rights of the roles that it may become")],
    ),
    Drift(&["alter role reader password 'secret'"], &[(r#"role "reader""#, "it has a password")]),
    Drift(
        &["grant pg_read_all_data to reader"],
        &[(r#""reader" as "pg_read_all_data""#, "a member of a role of Postgres itself")],
    ),
    Drift(
        &["create table t (); alter table t owner to writer"],
        &[(
            r#"role "writer""#,
            r#"it owns 1 object in database "customers", whose rights nobody can take from it"#,
        )],
    ),
    Drift(
        &["alter database archive owner to reader"],
        &[(
            r#"role "reader""#,
            "it owns 1 object of the whole server, whose rights nobody can take from it",
        )],
    ),
    Drift(&["revoke writer from app"], &[(r#""app" as "writer""#, "no grant")]),
    Drift(&["create role carrier; grant carrier to app"], &[(r#""app" as "carrier""#, "a member")]),
    Drift(
        &["create role intruder login inherit; grant writer to intruder"],
        &[(r#""intruder" as "writer""#, "a member that no rule names")],
    ),
    Drift(
        &["revoke connect on database customers from public, app"],
        &[(r#""app" in database "customers""#, "it can't connect")],
    ),
    Drift(
        &["grant connect on database archive to app"],
        &[(r#""app" in database "archive""#, "a grant of CONNECT")],
    ),
    Drift(&["drop database archive"], &[(r#"database "archive""#, "not there")]),
];

const SINCE_16: &[Drift] = &[
    Drift(
        &["grant reader to app with inherit true"],
        &[(r#""app" as "reader""#, r#"a grant by "postgres" with INHERIT"#)],
    ),
    Drift(
        &["grant reader to app with set false"],
        &[(r#""app" as "reader""#, "a grant without SET")],
    ),
    Drift(
        &["revoke signet_logins from reader"],
        &[(r#""reader" in "signet_logins""#, "no member")],
    ),
    Drift(
        &["drop role signet_logins"],
        &[
            (r#""app" in "signet_logins""#, "no member"),
            (r#""reader" in "signet_logins""#, "no member"),
            (r#""writer" in "signet_logins""#, "no member"),
        ],
    ),
    Drift(
        &["create role stranger login; grant signet_logins to stranger"],
        &[(r#""stranger" in "signet_logins""#, "a member")],
    ),
];

/// After the grants by hand of [`SINCE_16`], and on every version.
const ADMIN: Drift = Drift(
    &["grant reader to app with admin option"],
    &[(r#""app" as "reader""#, r#"a grant by "postgres" with ADMIN OPTION"#)],
);

fn is_told_and_repaired(ground: &Ground, Drift(provocation, expected): &Drift) {
    for sql in *provocation {
        ground.sql("customers", sql);
    }
    let told = ground.check(&[]);
    assert_eq!(told.code, Some(1), "{told:?}");
    let expected: Vec<(String, String)> =
        expected.iter().map(|(thing, found)| ((*thing).to_owned(), (*found).to_owned())).collect();
    assert_eq!(told.findings(), expected, "{provocation:?}");
    let words = ground.signet(&["--check", "--url", "user=postgres"]);
    assert_eq!(words.code, Some(1));
    assert!(words.out.contains(&expected[0].0) && words.out.contains(&expected[0].1), "{words:?}");

    // Some repairs make room for others.
    for _ in 0..4 {
        let report = ground.check(&[]).json();
        for finding in report["findings"].as_array().unwrap() {
            let repair = finding["repair"].as_str().unwrap();
            if !repair.starts_with("pg_") {
                ground.sql("customers", repair);
            }
        }
    }
    ground.is_clean(provocation[0]);
    // What PUBLIC may do anyway is granted by name again.
    ground.apply();
}

#[tokio::test(flavor = "multi_thread")]
async fn on_15() {
    every_drift_is_told(V15, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_18() {
    every_drift_is_told(V18, SINCE_16).await;
}

async fn every_drift_is_told(version: PostgresVersion, more: &[Drift]) {
    let ground = Ground::applied(version, POLICY, &["customers", "archive"]).await;
    ground.is_clean("all is applied");
    for drift in DRIFTS.iter().chain(more).chain([&ADMIN]) {
        is_told_and_repaired(&ground, drift);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_administrator_knows_is_no_drift() {
    let ground = Ground::applied(V18, POLICY, &["customers", "archive"]).await;
    ground.sql(
        "postgres",
        "create role carrier; grant carrier to app; create role human login; grant writer to human",
    );
    assert_eq!(ground.check(&[]).findings().len(), 2);
    let known = &["--known-role", "carrier", "--known-role", "human"];
    assert_eq!(ground.check(known).code, Some(0));
    // But not what is more than a workload should reach through them, or through the mark that gives nothing.
    for (provocation, thing, found, repair) in [
        (
            "grant pg_write_all_data to carrier",
            r#""carrier" as "pg_write_all_data""#,
            "a member of a role of Postgres itself",
            "revoke pg_write_all_data from carrier",
        ),
        (
            "alter role carrier createrole",
            r#""app" as "carrier""#,
            "a member of a role that may do more than a workload should: it may create roles",
            "alter role carrier nocreaterole",
        ),
        (
            "create role dba superuser; grant dba to carrier",
            r#""carrier" as "dba""#,
            "a member of a role that may do more than a workload should: a superuser",
            "drop role dba",
        ),
        (
            "grant pg_monitor to signet_logins; grant signet_logins to app with inherit true",
            r#""signet_logins" as "pg_monitor""#,
            "a member of a role of Postgres itself",
            "grant signet_logins to app with inherit false",
        ),
    ] {
        ground.sql("postgres", provocation);
        let expected = [(thing.to_owned(), found.to_owned())];
        assert_eq!(ground.check(known).findings(), expected, "{provocation}");
        ground.sql("postgres", repair);
        assert_eq!(ground.check(known).code, Some(0), "{repair}");
    }
    // Passwords may stay for a while.
    ground.sql("postgres", "alter role app password 'secret'");
    assert_eq!(ground.check(known).code, Some(1));
    assert_eq!(ground.check(&[known, &["--keep-passwords"][..]].concat()).code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_read_is_told() {
    let ground = Ground::applied(V18, POLICY, &["customers", "archive"]).await;
    // As Envoy would log in: an ordinary role.
    let arguments = ["--check", "--url", "user=reader dbname=customers", "-o", "json"];
    let run = ground.signet_as(&ground.stage.accounts.mesh, &arguments);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(run.json()["not_checked"].as_array().unwrap().len(), 4, "{run:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_connect_is_told_why() {
    let ground = Ground::bare(V15, POLICY, "").await;
    for (url, told) in [
        ("user=nobody_at_all", "cannot connect to Postgres at /"),
        ("host=/nowhere user=postgres", "cannot connect to Postgres at /nowhere/.s.PGSQL."),
        ("host=127.0.0.1 port=1 sslmode=require", "TLS is asked for"),
        ("hots=x", "--url is no way to a database: "),
    ] {
        let run = ground.signet(&["--check", "--url", url]);
        assert_eq!((run.code, run.out.as_str()), (Some(2), ""), "{run:?}");
        assert!(run.err.contains(told), "{run:?}");
        let run = ground.signet(&["--check", "--url", url, "-o", "json"]);
        assert_eq!(run.code, Some(2));
        assert!(run.json()["error"].as_str().unwrap().contains(told), "{run:?}");
    }
}
