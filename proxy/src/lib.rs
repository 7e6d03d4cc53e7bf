//! The Openflow proxy: routes each host to its instance, signs people in to
//! editors, and goes on serving when the manager is away.
//!
//! Always holds: a request is decided in memory. Only redeeming an access token
//! asks the manager.
mod access;
mod admin;
mod answer;
mod app;
mod clock;
mod config;
mod context;
mod forward;
mod listener;
mod metrics;
mod routes;

pub use admin::check;
pub use app::Proxy;
pub use config::{Config, Limits, Network, Secret, TlsConfig};
pub use listener::Tls;
