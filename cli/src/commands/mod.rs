//! A file for each command.

pub(crate) mod check;
pub(crate) mod compile;
pub(crate) mod decide;
pub(crate) mod diff;
pub(crate) mod explain;
pub(crate) mod schema;
pub(crate) mod sql;
pub(crate) mod status;
pub(crate) mod test;
pub(crate) mod who;
