//! The running API with a real Postgres that has the examples' roles and rows.

mod api;
mod customers;
#[path = "../../../caller-role/tests/running/postgres.rs"]
mod postgres;
mod process;
mod round_trips;
