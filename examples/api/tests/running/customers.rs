//! What callers get, by the role that the sidecar names.

use futures::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::api::{Api, READER, WRITER};
use crate::postgres::Postgres;

#[tokio::test]
async fn the_answer_shows_rows_caller_and_both_users() {
    let postgres = Postgres::start().await;
    let api = Api::start(&postgres.path(), &[]);

    let (status, answer) = api.get("/customers", READER).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["customers"][0]["name"], "Harbour Bakery");
    assert_eq!(
        answer["caller"],
        json!({ "spiffe_id": "spiffe://example.org/client", "rule": "reads", "db_role": "customers_reader" })
    );
    assert_eq!(
        answer["postgres"],
        json!({ "session_user": "api", "current_user": "customers_reader" })
    );

    let (status, answer) = api.get("/customers/2", READER).await;
    assert_eq!(
        (status, &answer["customers"][0]["name"]),
        (StatusCode::OK, &json!("Mill Street Books"))
    );
    let (status, answer) = api.get("/customers/99", READER).await;
    assert_eq!(
        (status, &answer["error"]),
        (StatusCode::NOT_FOUND, &json!("there is no customer 99"))
    );
}

#[tokio::test]
async fn each_role_may_do_what_postgres_lets_it() {
    let postgres = Postgres::start().await;
    let api = Api::start(&postgres.path(), &["--connections=1"]); // so that the roles share one connection
    let florist =
        || Some(json!({ "name": "Elm Lane Florist", "email": "roses@elm.customers.example" }));

    let (status, answer) = api.ask(Method::POST, "/customers", WRITER, florist()).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    assert_eq!(
        answer["postgres"],
        json!({ "session_user": "api", "current_user": "customers_writer" })
    );
    let id = answer["customers"][0]["id"].as_i64().unwrap();

    for (method, path, headers, body, expected, sqlstate) in [
        (
            Method::POST,
            "/customers".to_owned(),
            READER,
            florist(),
            StatusCode::FORBIDDEN,
            json!("42501"),
        ),
        (
            Method::DELETE,
            format!("/customers/{id}"),
            READER,
            None,
            StatusCode::FORBIDDEN,
            json!("42501"),
        ),
        (
            Method::POST,
            "/customers".to_owned(),
            WRITER,
            florist(),
            StatusCode::CONFLICT,
            json!("23505"),
        ),
        (
            Method::POST,
            "/customers".to_owned(),
            WRITER,
            Some(json!({ "name": "", "email": "nobody@customers.example" })),
            StatusCode::UNPROCESSABLE_ENTITY,
            json!("23514"),
        ),
        (
            Method::POST,
            "/customers".to_owned(),
            WRITER,
            Some(json!({ "name": "x", "email": "x@y", "id": 1 })),
            StatusCode::UNPROCESSABLE_ENTITY,
            json!(null),
        ),
        (Method::GET, format!("/customers/{id}"), READER, None, StatusCode::OK, json!(null)),
        (Method::DELETE, format!("/customers/{id}"), WRITER, None, StatusCode::OK, json!(null)),
        (Method::GET, format!("/customers/{id}"), READER, None, StatusCode::NOT_FOUND, json!(null)),
    ] {
        let (status, answer) = api.ask(method.clone(), &path, headers, body).await;
        assert_eq!(
            (status, &answer["sqlstate"]),
            (expected, &sqlstate),
            "{method} {path}: {answer}"
        );
    }
}

#[tokio::test]
async fn without_the_sidecars_word_nothing_is_done() {
    let postgres = Postgres::start().await;
    let api = Api::start(&postgres.path(), &[]);
    let [id, reader, rule] = [READER[0], READER[1], READER[2]];
    for (headers, expected) in [
        (vec![], "the header x-spiffe-id is missing"),
        (vec![id, rule], "the header x-db-role is missing"),
        (
            vec![id, rule, ("x-db-role", "none")],
            "the role \"none\" is not one that this API may take",
        ),
        (
            vec![id, rule, ("x-db-role", "api")],
            "the role \"api\" is not one that this API may take",
        ),
        (vec![id, rule, reader, WRITER[1]], "the header x-db-role comes more than once"),
        (vec![("x-spiffe-id", "client"), rule, reader], "the header x-spiffe-id is not what"),
    ] {
        let (status, answer) = api.get("/customers", &headers).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{headers:?}: {answer}");
        assert!(answer["error"].as_str().unwrap().contains(expected), "{headers:?}: {answer}");
    }
    let (_, seen) = api.get("/whoami", &[id, id]).await;
    let ids = seen.as_array().unwrap().iter().filter(|pair| pair[0] == id.0).count();
    assert_eq!(ids, 2, "{seen}");
}

#[tokio::test]
async fn with_a_connection_per_role_the_role_is_the_login() {
    let postgres = Postgres::start().await;
    let api = Api::start(&postgres.path(), &["--role-injection=connection"]);
    for (headers, role) in [(READER, "customers_reader"), (WRITER, "customers_writer")] {
        let (status, answer) = api.get("/customers", headers).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_eq!(answer["postgres"], json!({ "session_user": role, "current_user": role }));
    }
}

#[tokio::test]
async fn connections_that_ended_are_replaced_unseen() {
    let postgres = Postgres::start().await;
    let api = Api::start(&postgres.path(), &["--connections=4"]);
    let administrator = postgres.connect("customers").await;
    for round in 0..5 {
        let requests = (0..4).map(|_| api.get("/customers", READER));
        for (status, answer) in join_all(requests).await {
            assert_eq!(status, StatusCode::OK, "round {round}: {answer}");
        }
        let ended = administrator
            .query("select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = 'api'", &[])
            .await
            .unwrap();
        assert!(!ended.is_empty());
    }
}

#[tokio::test]
async fn a_caller_who_hangs_up_leaves_no_transaction_behind() {
    let postgres = Postgres::start().await;
    let api = Api::start(&postgres.path(), &["--connections=1"]);
    let administrator = postgres.connect("customers").await;
    administrator.batch_execute("begin; lock table customers").await.unwrap();
    {
        let request = api.get("/customers", READER);
        let waits = postgres.wait_for("usename = 'api' and wait_event_type = 'Lock'", 1);
        tokio::select! {
            answer = request => panic!("{answer:?}"),
            () = waits => {}
        }
    }
    // The statement, which the lock would hold for ever, is cancelled.
    postgres.wait_for("usename = 'api'", 0).await;
    administrator.batch_execute("rollback").await.unwrap();
    assert_eq!(api.get("/customers", READER).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_login_that_the_database_refuses_is_the_apis_fault() {
    let postgres = Postgres::start().await;
    let api =
        Api::start(&postgres.path(), &["--role-injection=connection", "--role=nobody_at_all"]);
    let headers = [READER[0], ("x-db-role", "nobody_at_all"), READER[2]];
    let (status, answer) = api.get("/customers", &headers).await;
    assert_eq!(
        (status, &answer["sqlstate"]),
        (StatusCode::INTERNAL_SERVER_ERROR, &json!("28000")),
        "{answer}"
    );

    let directory = tempfile::tempdir().unwrap();
    let api = Api::start(directory.path(), &[]);
    let (status, answer) = api.get("/customers", READER).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
}
