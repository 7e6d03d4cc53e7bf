//! Instances, their stacks, the ways into them and what proxy and broker are
//! told, through HTTP on the fake engine.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
#[path = "../support/mod.rs"]
mod support;

mod access;
mod chaos;
mod cluster;
mod crashes;
mod database;
mod disk;
mod engine;
mod feed;
mod killed;
mod lifecycle;
mod live;
mod made_for_restores;
mod once;
mod refusals;
mod restores;
mod secrecy;
mod settings;
mod stacks;
mod templates;
mod upgrades;
