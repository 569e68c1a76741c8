//! The check over a network: without TLS, or not at all.

use e2e::{PostgresFiles, PostgresVersion::V18};

use crate::ground::{Ground, POLICY};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_checked_over_the_network_without_tls_or_not_at_all() {
    let ground = Ground::bare(V18, POLICY, "listen_addresses = '$ADDRESS'\n").await;
    ground.sql("postgres", "create database customers");
    ground.sql("postgres", "create database archive");
    ground.apply();
    ground.sql("postgres", "create role checker superuser login password 'secret'");
    let right = ground.files(&[]);
    let over = async |kind: &str, options: &str| {
        let hba = format!("{}{kind} all checker all scram-sha-256\n", right.hba);
        ground.let_in(&PostgresFiles { hba, ..right.clone() }).await;
        let address = ground.stage.address;
        let url = format!("postgres://checker:secret@{address}/postgres{options}");
        ground.signet(&["--check", "--url", &url])
    };

    for options in ["", "?sslmode=prefer", "?sslmode=disable"] {
        let run = over("host", options).await;
        assert_eq!(run.code, Some(0), "{options}: {run:?}");
    }
    for (kind, options, told) in [
        ("hostssl", "", "has no way in for this user without TLS, which signet doesn't speak"),
        ("host", "?sslmode=require", "TLS is asked for, which signet doesn't speak"),
        ("host", "?sslmode=verify-full", "TLS is asked for, which signet doesn't speak"),
    ] {
        let run = over(kind, options).await;
        assert_eq!((run.code, run.out.as_str()), (Some(2), ""), "{kind} {options}: {run:?}");
        let err = run.err.replace('\n', " ");
        assert!(err.contains(told) && err.contains("through a tunnel"), "{kind} {options}: {err}");
        assert!(!err.contains("secret"), "{err}");
    }
}
