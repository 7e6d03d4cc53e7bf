//! Signed-in browsers of the dashboard.
pub(super) mod http;
mod limiter;
mod model;
mod service;
pub(super) mod store;

pub(super) use limiter::SignInLimiter;
pub(super) use model::{Origin, SESSION_LIFE, Session};
pub(super) use service::open;
