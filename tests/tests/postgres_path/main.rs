//! The Postgres path through a real Envoy, with both ends of the supported range behind it: what the wire may say, who is
//! turned away and how, how sessions end, who may cancel, what a flood leaves behind, and what is told of a session.

mod audit;
mod cancels;
mod denials;
mod encryption;
mod endings;
mod floods;
mod overdue;
mod scene;
mod traps;
mod wire;
