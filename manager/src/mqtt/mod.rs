//! The projects' MQTT: who may connect, the broker itself, and what people see
//! of it.
//!
//! Invariant: every answer to a broker with the hook secret is a 200 that says
//! allow with a tenant, or deny. A look-up that cannot be made denies.
mod broker;
mod console;
mod credentials;
pub mod hook;
mod model;
mod store;
pub mod traffic;

pub use broker::{
    Broker, BrokerError, BrokerKind, CONNECTIONS_MAX, Connection, Emqx, EmqxApi, EmqxSettings,
    Message, NoBroker, Protocol, Seen, SharedBroker, Watch,
};
pub use console::{console_may_connect, console_project};
pub use credentials::Credentials;
pub use model::{ConnectAttempt, Denial, Verdict};
