//! When instances have their turn, and how many backups are kept of them: the
//! installation's settings, and where an instance differs.
pub(super) mod http;
mod model;
mod service;
pub(super) mod store;

pub(super) use model::{Candidate, NewPolicy, PolicyInForce};
