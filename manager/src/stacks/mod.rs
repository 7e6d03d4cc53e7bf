//! What instances start from: stacks (an engine at a version, as an image) and
//! templates (a named starting point on top of a stack).
mod env;
mod error;
pub mod http;
mod jobs;
mod model;
mod seed;
mod service;
mod store;
pub mod templates;

pub use env::{Env, EnvVar};
pub use error::Error;
pub use jobs::CheckImages;
pub use model::{NewStack, Stack, StackStatus};
pub use service::{Pick, Stacks, find, pick_ready};
