//! The projects' MQTT: who may connect, the broker itself, and what people see
//! of it.
//!
//! Reading order: `model` (the whole decision), `credentials` (all of them in
//! memory), `hook` (EMQX asks), `kicks` (who has to go), `broker/` (whichever
//! it is), then `clients/`, `events/` and `http` for people.
//!
//! Invariant: every answer to a broker with the hook secret is a 200 that says
//! allow with a tenant, or deny. A look-up that cannot be made denies.
//!
//! Invariant: connections of a credential that was deleted, replaced, disabled
//! or restricted end, and only after it does not let anybody in any more.
mod acl;
mod broker;
mod clients;
mod console;
mod credentials;
mod error;
mod events;
pub mod hook;
pub mod http;
mod info;
mod jobs;
mod kicks;
mod model;
mod service;
mod store;
mod throttle;
pub mod traffic;

pub use broker::{
    Broker, BrokerError, BrokerKind, BuiltIn, CONNECTIONS_MAX, Connection, Emqx, EmqxApi,
    EmqxSettings, Message, NoBroker, Protocol, Seen, SharedBroker, Watch,
};
pub use console::{console_may_connect, console_project};
pub use credentials::Credentials;
pub use error::Error;
pub use events::{EventSink, Who};
pub use info::{BrokerInfo, Limits, Urls};
pub use model::{ClientIds, ConnectAttempt, Denial, Rules, Verdict};
pub use service::{Foundation, Mqtt, Parts};
