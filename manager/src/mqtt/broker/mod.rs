//! The broker behind the projects, whichever it is.
//!
//! Invariant: nobody outside this folder knows which one runs.
mod built_in;
mod emqx;

use std::{net::IpAddr, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::stream::BoxStream;
use uuid::Uuid;

use crate::kernel::{DomainError, Kind};

pub use built_in::BuiltIn;
pub use emqx::{Emqx, EmqxApi, EmqxSettings};

pub type SharedBroker = Arc<dyn Broker>;

/// What the manager asks of a broker. Topics are the project's own, without a
/// mountpoint.
#[async_trait]
pub trait Broker: Send + Sync + 'static {
    fn kind(&self) -> BrokerKind;

    /// Whether it takes connections.
    async fn ping(&self) -> Result<(), BrokerError>;

    /// Who is connected in a project, at most [`CONNECTIONS_MAX`].
    async fn connections(&self, project: Uuid) -> Result<Vec<Connection>, BrokerError>;

    /// Ends the live connections of these users; how many that were. Unknown
    /// users have none. EMQX forgets their stored sessions with it; in the
    /// built-in broker nobody else can resume them, and they expire.
    async fn kick(&self, usernames: &[String]) -> Result<usize, BrokerError>;

    /// Ends all connections of a project that is being deleted, and forgets
    /// its sessions and retained messages. May be done again.
    async fn purge(&self, project: Uuid) -> Result<(), BrokerError>;

    async fn publish(&self, project: Uuid, message: Message) -> Result<(), BrokerError>;

    /// All messages of a project as they come, the retained ones first. The
    /// stream ends when the broker does. Dropping it ends the watching.
    async fn watch(&self, project: Uuid) -> Result<Watch, BrokerError>;
}

/// Larger projects show the first ones.
pub const CONNECTIONS_MAX: usize = 1000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerKind {
    BuiltIn,
    Emqx,
    None,
}

/// One live connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    pub username: String,
    /// As the client chose it.
    pub client_id: String,
    pub address: Option<IpAddr>,
    pub protocol: Protocol,
    pub connected_at: DateTime<Utc>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    V3,
    V3_1_1,
    V5,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub topic: String,
    pub payload: Bytes,
    /// 0, 1 or 2
    pub qos: u8,
    pub retain: bool,
}

/// What a watcher sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Message(Message),
    /// So many messages came faster than they could be shown.
    Lost(u64),
}

pub type Watch = BoxStream<'static, Seen>;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    /// It does not answer now.
    #[error("the MQTT broker does not answer: {0}")]
    Unavailable(String),
    /// It cannot do that as it is set up; the text says what to change.
    #[error("{0}")]
    Unsupported(String),
    /// It refused, for example a topic that is none.
    #[error("the MQTT broker refused: {0}")]
    Refused(String),
}

impl DomainError for BrokerError {
    fn kind(&self) -> Kind {
        match self {
            Self::Unavailable(_) => Kind::Unavailable,
            // As the installation is set up; trying again does not help.
            Self::Unsupported(_) | Self::Refused(_) => Kind::Conflict,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "mqtt.unavailable",
            Self::Unsupported(_) => "mqtt.unsupported",
            Self::Refused(_) => "mqtt.refused",
        }
    }
}

/// Where there is no broker.
pub struct NoBroker;

const NO_BROKER: &str = "this installation has no MQTT broker (OPENFLOW_MQTT_BROKER)";

#[async_trait]
impl Broker for NoBroker {
    fn kind(&self) -> BrokerKind {
        BrokerKind::None
    }

    async fn ping(&self) -> Result<(), BrokerError> {
        Err(BrokerError::Unsupported(NO_BROKER.to_owned()))
    }

    async fn connections(&self, _: Uuid) -> Result<Vec<Connection>, BrokerError> {
        Ok(Vec::new())
    }

    async fn kick(&self, _: &[String]) -> Result<usize, BrokerError> {
        Ok(0)
    }

    async fn purge(&self, _: Uuid) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn publish(&self, _: Uuid, _: Message) -> Result<(), BrokerError> {
        Err(BrokerError::Unsupported(NO_BROKER.to_owned()))
    }

    async fn watch(&self, _: Uuid) -> Result<Watch, BrokerError> {
        Err(BrokerError::Unsupported(NO_BROKER.to_owned()))
    }
}
