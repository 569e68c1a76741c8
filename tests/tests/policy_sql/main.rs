//! What `signet policy sql` writes is applied to real servers, and what it checks is broken there.

mod applied;
mod book;
mod drifts;
mod files;
mod ground;
mod mesh;
mod names;
mod network;
mod replication;
mod traps;
