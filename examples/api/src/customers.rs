//! The customers, over HTTP and in SQL.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use caller_role::Caller;
use serde::{Deserialize, Serialize};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::App;
use crate::database::{Parameter, Session, ask};
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
pub(crate) async fn list(State(app): State<App>, caller: Caller) -> Result<Json<Answer>, Problem> {
    let sql = "select id, name, email from customers order by id limit 1000";
    Ok(Json(answer(&app, caller, sql, &[]).await?))
}

/// `GET /customers/{id}`.
pub(crate) async fn find(
    State(app): State<App>,
    Path(id): Path<i64>,
    caller: Caller,
) -> Result<Json<Answer>, Problem> {
    let sql = "select id, name, email from customers where id = $1";
    answer(&app, caller, sql, &[(&id, Type::INT8)]).await?.of_one(id)
}

/// `POST /customers`.
pub(crate) async fn create(
    State(app): State<App>,
    caller: Caller,
    body: Result<Json<NewCustomer>, JsonRejection>,
) -> Result<(StatusCode, Json<Answer>), Problem> {
    let Json(NewCustomer { name, email }) = body?;
    let sql = "insert into customers (name, email) values ($1, $2) returning id, name, email";
    let parameters: [Parameter; 2] = [(&name, Type::TEXT), (&email, Type::TEXT)];
    Ok((StatusCode::CREATED, Json(answer(&app, caller, sql, &parameters).await?)))
}

/// `DELETE /customers/{id}`: answers with what was deleted.
pub(crate) async fn delete(
    State(app): State<App>,
    Path(id): Path<i64>,
    caller: Caller,
) -> Result<Json<Answer>, Problem> {
    let sql = "delete from customers where id = $1 returning id, name, email";
    answer(&app, caller, sql, &[(&id, Type::INT8)]).await?.of_one(id)
}

async fn answer(
    app: &App,
    caller: Caller,
    sql: &str,
    parameters: &[Parameter<'_>],
) -> Result<Answer, Problem> {
    let (rows, postgres) = ask(&app.database, &caller.role, sql, parameters).await?;
    Ok(Answer { customers: rows.iter().map(Customer::from).collect(), caller, postgres })
}

impl Answer {
    fn of_one(self, id: i64) -> Result<Json<Self>, Problem> {
        if self.customers.is_empty() { Err(Problem::NoCustomer(id)) } else { Ok(Json(self)) }
    }
}
