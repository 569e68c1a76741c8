//! Names that would mean something else if they were ever part of SQL's text.

use caller_role::{NoRole, Role, RoleConnections, Roles};
use tokio_postgres::NoTls;

use crate::postgres::Postgres;
use crate::{config, current_user, role};

#[tokio::test]
async fn a_name_is_never_part_of_the_text() {
    let postgres = Postgres::start().await;
    an_odd_name_is_that_role_and_no_other(&postgres).await;
    a_role_that_cannot_be_had_is_an_error_and_no_other_role(&postgres).await;
    none_would_be_the_login_itself(&postgres).await;
}

const ODD: [&str; 9] = [
    "Reader",
    "READER",
    "None",
    "read\"er",
    "reader'; reset role; --",
    "a; drop table customers; --",
    "läser",
    "$1",
    "customers_reader customers_writer",
];

async fn an_odd_name_is_that_role_and_no_other(postgres: &Postgres) {
    let administrator = postgres.connect("customers").await;
    for name in ODD {
        let quoted = format!("\"{}\"", name.replace('"', "\"\""));
        let sql = format!(
            "create role {quoted} login; grant {quoted} to api; grant connect on database customers to {quoted}"
        );
        administrator.batch_execute(&sql).await.unwrap();
    }
    let roles = Roles::new(ODD.map(role));
    let config = config(postgres);
    for (way, connections) in [
        ("shared", RoleConnections::shared(&config, &roles, 1)),
        ("per role", RoleConnections::per_role(&config, &roles, 1)),
    ] {
        for name in ODD {
            let transaction = connections.begin(&role(name)).await.unwrap();
            assert_eq!(current_user(&transaction).await, name, "{way}");
            transaction.commit().await.unwrap();
        }
    }
}

async fn a_role_that_cannot_be_had_is_an_error_and_no_other_role(postgres: &Postgres) {
    let administrator = postgres.connect("customers").await;
    administrator.batch_execute("create role stranger nologin").await.unwrap();
    let config = config(postgres);
    // On the API's list, and unknown to Postgres, or not granted to the login, or no login.
    let roles = Roles::new(["nobody_at_all", "stranger", "CUSTOMERS_READER"].map(role));
    let shared = RoleConnections::shared(&config, &roles, 1);
    let per_role = RoleConnections::per_role(&config, &roles, 1);
    for (connections, name, sqlstate) in [
        (&shared, "nobody_at_all", "22023"),
        (&shared, "CUSTOMERS_READER", "22023"),
        (&shared, "stranger", "42501"),
        (&per_role, "nobody_at_all", "28000"),
        (&per_role, "CUSTOMERS_READER", "28000"),
        (&per_role, "stranger", "28000"),
    ] {
        let refused = connections.begin(&role(name)).await.unwrap_err();
        assert_eq!(refused.sqlstate().unwrap().code(), sqlstate, "{name}: {refused}");
    }
    // And one that Postgres would give, but that is not on the list.
    for connections in [&shared, &per_role] {
        let refused = connections.begin(&role("customers_writer")).await.unwrap_err();
        assert_eq!(refused.to_string(), "the role \"customers_writer\" is not on the list");
    }
}

/// Why `none` is no role: it keeps the login's own rights, and Postgres calls that success.
async fn none_would_be_the_login_itself(postgres: &Postgres) {
    let refused: Result<Role, NoRole> = "none".parse();
    refused.unwrap_err();
    let (client, connection) = config(postgres).connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    let sql = "begin; select set_config('role', 'none', true)";
    client.batch_execute(sql).await.unwrap();
    let row = client.query_one("select current_user::text", &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), "api");
}
