//! Credentials of a project's devices.
pub mod http;
mod model;
mod service;
mod store;

pub use model::Client;
pub(super) use model::PER_PROJECT_MAX;
pub use service::Clients;
