//! The customers, over HTTP and in SQL.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::App;
use crate::caller::Caller;
use crate::database::Session;
use crate::problem::Problem;

/// One row.
#[derive(Debug, Serialize)]
pub(crate) struct Customer {
    id: i64,
    name: String,
    email: String,
}

/// What a POST brings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewCustomer {
    name: String,
    email: String,
}

/// The rows, who asked, and who Postgres took it for.
#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    customers: Vec<Customer>,
    caller: Caller,
    postgres: Session,
}

impl From<&Row> for Customer {
    fn from(row: &Row) -> Self {
        Self { id: row.get("id"), name: row.get("name"), email: row.get("email") }
    }
}

/// `GET /customers`: the first thousand.
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
) -> Result<Json<Answer>, Problem> {
    let transaction = app.database.begin(&caller.db_role).await?;
    let rows = transaction
        .query("select id, name, email from customers order by id limit 1000", &[])
        .await?;
    Ok(answer(&rows, caller, transaction.commit().await?))
}

/// `GET /customers/{id}`.
pub(crate) async fn find(
    State(app): State<Arc<App>>,
    Path(id): Path<i64>,
    caller: Caller,
) -> Result<Json<Answer>, Problem> {
    let transaction = app.database.begin(&caller.db_role).await?;
    let rows = transaction
        .query("select id, name, email from customers where id = $1", &[(&id, Type::INT8)])
        .await?;
    let session = transaction.commit().await?;
    if rows.is_empty() {
        return Err(Problem::NoCustomer(id));
    }
    Ok(answer(&rows, caller, session))
}

/// `POST /customers`.
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    body: Result<Json<NewCustomer>, JsonRejection>,
) -> Result<(StatusCode, Json<Answer>), Problem> {
    let Json(NewCustomer { name, email }) = body?;
    let transaction = app.database.begin(&caller.db_role).await?;
    let rows = transaction
        .query(
            "insert into customers (name, email) values ($1, $2) returning id, name, email",
            &[(&name, Type::TEXT), (&email, Type::TEXT)],
        )
        .await?;
    Ok((StatusCode::CREATED, answer(&rows, caller, transaction.commit().await?)))
}

/// `DELETE /customers/{id}`: answers with what was deleted.
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    Path(id): Path<i64>,
    caller: Caller,
) -> Result<Json<Answer>, Problem> {
    let transaction = app.database.begin(&caller.db_role).await?;
    let rows = transaction
        .query(
            "delete from customers where id = $1 returning id, name, email",
            &[(&id, Type::INT8)],
        )
        .await?;
    let session = transaction.commit().await?;
    if rows.is_empty() {
        return Err(Problem::NoCustomer(id));
    }
    Ok(answer(&rows, caller, session))
}

fn answer(rows: &[Row], caller: Caller, postgres: Session) -> Json<Answer> {
    Json(Answer { customers: rows.iter().map(Customer::from).collect(), caller, postgres })
}
