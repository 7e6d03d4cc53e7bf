//! Projects, the tenants.
pub(super) mod http;
mod model;
mod service;
pub(super) mod store;

pub(super) use model::Project;
pub(super) use service::insert;
