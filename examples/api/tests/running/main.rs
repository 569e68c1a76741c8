//! The running API with a real Postgres that has the examples' roles and rows.

mod api;
mod customers;
mod postgres;
mod process;
