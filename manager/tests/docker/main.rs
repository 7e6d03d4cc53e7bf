//! The Docker driver on the real engine, as root (networks and firewall rules
//! are made). The network `openflow-test` stays for the next run.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says what went wrong by failing"
)]
mod away;
mod containers;
mod firewall;
mod hardening;
mod isolation;
mod network;
mod once;
mod rehearsal;
mod support;
mod watching;
