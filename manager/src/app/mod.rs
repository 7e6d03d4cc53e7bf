//! Puts the parts together. Knows every slice; no slice knows it.
mod beside;
mod broker_info;
mod build;
mod built_in_broker;
mod dashboard;
mod gateway;
mod health;
mod instance_side;
mod metrics;
mod openapi;
mod router;
mod serve;
mod settings;
mod slices;

pub use beside::{engine_beside, instances_beside};
pub use build::{Core, System};
pub use openapi::document;
pub use serve::App;
pub use settings::{SECRET_KEYS_FILE, Secrets, Settings};
