//! Copies of whole data folders, through HTTP on the fake engine.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
#[path = "../offsite/support.rs"]
#[expect(dead_code, reason = "no test uses all of it")]
mod s3;
#[path = "../support/mod.rs"]
mod support;

mod bench;
mod cluster;
mod engines;
mod full;
mod making;
mod offsite;
mod rehearsing;
mod restoring;
mod times;
mod trouble;
mod unnoted;
mod uploads;
