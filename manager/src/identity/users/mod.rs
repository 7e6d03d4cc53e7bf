//! People: administrators manage them, everyone manages their own account.
pub(super) mod http;
mod model;
mod service;
pub(super) mod store;

pub(super) use model::{Draft, NewUser, User, UserChange};
pub(super) use service::insert;
