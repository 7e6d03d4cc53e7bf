//! A multi-tenant MQTT broker (3.1.1 and 5) in which nothing is shared between tenants.
//!
//! A connection's CONNECT is read and authenticated first; the answer names the tenant, and the connection is then
//! served by that tenant's own core: its topics, client ids, sessions, retained messages, queues and share groups are
//! separate objects. No topic is ever rewritten, so there is no place where a rewriting could be forgotten.
//!
//! Reading order: [`Broker`] (`broker.rs`), `connect.rs` (the CONNECT), `tenant.rs` (a core's life), `driver.rs` and
//! `stream.rs` (one connection's task and socket), `window.rs` (back-pressure), `hooks.rs` (what the library asks us),
//! `drops.rs` (how losses are seen).
//!
//! The protocol itself is the `mqtt5` library's. It is named in `tenant.rs`, `hooks.rs`, `publish.rs`, `watch.rs`,
//! `drops.rs` and the end of `serve.rs` only, so that it can be replaced.
mod auth;
mod broker;
mod connect;
mod connection;
mod driver;
mod drops;
mod events;
mod frames;
mod hooks;
pub mod listen;
mod publish;
mod rate;
mod serve;
mod settings;
mod stats;
mod stream;
mod sweep;
mod tenant;
mod tenants;
mod watch;
mod window;

pub use auth::{Attempt, Authenticator, Grant, Refusal, TopicRules, covers};
pub use broker::Broker;
pub use drops::drop_layer;
pub use events::{
    Connection, DropReason, Events, Message, NoEvents, Protocol, Qos, Refused, RefusedReason,
};
pub use publish::PublishError;
pub use settings::{Limits, Settings};
pub use stats::{Stats, TenantStats};
pub use watch::Watch;

/// A lock of short sections that do not panic; what a panic elsewhere left behind is still whole.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
