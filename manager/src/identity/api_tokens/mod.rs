//! Personal access tokens, for programs.
pub(super) mod http;
mod model;
mod service;
pub(super) mod store;

pub(super) use model::{ApiToken, Grant, InUse, NewToken, Scope};
