//! Credentials of a project's devices.
pub(super) mod http;
mod model;
mod service;
mod store;

use model::Client;
pub(super) use model::PER_PROJECT_MAX;
