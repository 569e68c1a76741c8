//! The meaning of a policy, case by case.

#![expect(clippy::needless_pass_by_value, reason = "`json!` literals read better without `&`")]

mod http;
mod postgres;
mod slice;
