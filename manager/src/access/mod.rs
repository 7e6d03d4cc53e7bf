//! The way into an editor: access tokens (one use, one minute), the editor
//! sessions that they become, and the installation's own secrets.
//!
//! Invariant: an access token is redeemed at most once, and only by the person
//! and for the instance that it was minted for.
mod error;
pub mod http;
mod jobs;
mod model;
mod secrets;
mod service;
mod store;

pub use error::Error;
pub use jobs::Purge;
pub use model::{AccessToken, EditorSession, InstanceKeys, SealedInstanceKeys};
pub use secrets::{InstallationSecrets, SecretName, open_secret};
pub use service::Access;
