//! Databases of the instances' own, on a PostgreSQL server that the operator
//! names: one database and one role for each instance whose stack says so, and
//! for each rehearsal of its backups.
//!
//! Invariant: a role gets into its own database and into no other of ours.
mod error;
mod model;
mod relay;
mod service;
mod store;

pub use error::Error;
pub use model::{Login, SOCKET};
pub use relay::Relay;
pub use service::{Databases, Open};
