//! Who is who, and who may what in which project.
//!
//! Each sub-slice adds its use cases to [`Identity`]: `users` (people),
//! `sessions` (signed-in browsers), `api_tokens` (programs), `projects` (the
//! tenants), `members` (roles in them), `setup` (the first administrator).
mod api_tokens;
mod authenticate;
mod cookie;
mod error;
pub mod http;
mod jobs;
mod members;
mod model;
mod onlooker;
mod projects;
mod service;
mod sessions;
mod setup;
mod users;

pub use authenticate::authenticate;
pub use error::{Error, Invalid};
pub use jobs::Purge;
pub use model::Role;
pub use service::{Identity, SignInRates, require_admin};
