//! Snapshots through HTTP, on the fake engine and real data folders.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
#[path = "../support/mod.rs"]
mod support;

mod automatic;
mod diffs;
mod flows;
mod hostile;
mod killed;
mod pipelines;
mod restoring;
mod shim;
mod taking;
mod targets;
mod transfer;
