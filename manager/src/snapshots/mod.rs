//! Snapshots: an instance's flows with sealed credentials, taken without
//! stopping it, told apart (`diff`), put back or promoted to another instance
//! (`plan`, `restore`), moved between installations (`transfer`).
//!
//! What flows are, the engine's module says (`engines`).
//!
//! Invariant: credentials are in the open in memory alone. They are stored
//! sealed with the key ring, put into a data folder encrypted with that
//! instance's own secret, and leave the installation only below a passphrase.
mod deploys;
mod diff;
mod error;
mod fit;
pub mod http;
mod model;
pub mod pipelines;
mod plan;
mod reading;
mod restore;
mod service;
pub mod shim;
mod store;
mod transfer;

pub use error::Error;
pub use model::{Snapshot, SnapshotKind};
pub use service::{Parts, Snapshots};
