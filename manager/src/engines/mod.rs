//! What differs between the programs that instances run. Each engine has one
//! module that implements [`Kind`]; the rest of the manager names no engine.
//! `docs/engines/README.md` says how a third one is added.
//!
//! Invariant: credentials are in the open in memory alone.
mod admin;
mod kind;
mod model;
pub mod n8n;
pub mod node_red;

pub use admin::Admin;
pub use kind::{FirstFile, HandedOver, Kind, OneShot, Refused, Site, Staged, Surroundings};
pub use model::{
    Credentials, CredentialsError, Engine, FLOWS_BYTES_MAX, Facts, FirstTemplate, Installed,
    Module, Postgres, ReadError, Sealed, Storage, is_tab,
};
