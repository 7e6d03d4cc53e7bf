//! The first administrator, made once with a one-time token.
pub(super) mod http;
mod service;
mod store;
