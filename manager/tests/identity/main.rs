//! Users, their sessions and tokens, and the first setup, through HTTP.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
#[path = "../support/mod.rs"]
mod support;

mod setup;
mod sign_in;
mod tokens;
mod users;
