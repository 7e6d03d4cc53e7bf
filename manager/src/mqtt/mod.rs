//! The broker's side door: it asks on every CONNECT who that is and gets the
//! project's mountpoint.
//!
//! Invariant: every answer to a caller with the hook secret is a 200 that says
//! allow with a tenant, or deny. A look-up that cannot be made denies.
mod credentials;
pub mod http;
mod model;
mod store;

pub use credentials::Credentials;
pub use model::{ConnectAttempt, Denial, Verdict};
