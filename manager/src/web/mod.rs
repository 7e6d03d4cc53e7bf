//! The HTTP kit. Knows axum, knows no slice.
mod auth;
mod csrf;
mod extract;
mod finish;
mod page;
mod problem;

pub use auth::{Auth, PeerAddr};
pub use csrf::refuse_cross_site;
pub use extract::{Json, Path, Query};
pub use finish::{RequestId, finish, finish_refusal, method_not_allowed, not_found, panicked};
pub use page::{PageQuery, PageView};
pub use problem::Problem;
