//! The projects' MQTT: the hook, credentials of devices, and what people see of
//! the broker, through HTTP on a broker that only remembers.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
#[path = "../support/mod.rs"]
mod support;

mod asking;
mod clients;
mod currency;
mod events;
mod hook;
mod overview;
