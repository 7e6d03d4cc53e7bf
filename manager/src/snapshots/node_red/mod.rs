//! What is Node-RED's own in a snapshot: its files, its nodes, its modules.
mod files;
mod modules;
mod nodes;

pub(super) use files::{read, write};
pub(super) use nodes::{counts, is_tab, nodes};

/// The files that a restore exchanges.
pub(super) const FILES: [&str; 2] = [FLOWS, crate::crypto::node_red::FILE];

const FLOWS: &str = "flows.json";
pub(super) const FLOWS_BYTES_MAX: u64 = 32 << 20;
