//! The installation as a whole: into one file and back, on real PostgreSQL and
//! the fake engine.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
#[path = "../support/mod.rs"]
mod support;

mod bench;
mod cut_short;
mod damaged;
mod database;
mod hostile;
mod keys;
mod round_trip;
