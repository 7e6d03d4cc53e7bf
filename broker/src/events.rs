//! What the broker tells its caller.
use std::{net::SocketAddr, time::SystemTime};

use bytes::Bytes;
use uuid::Uuid;

/// Called in the tasks of connections: an implementation must return at once.
pub trait Events: Send + Sync + 'static {
    /// After the CONNACK.
    fn connected(&self, _connection: &Connection) {}
    /// Once for each `connected`.
    fn disconnected(&self, _connection: &Connection, _reason: &str) {}
    /// `count` messages of the tenant were lost since the last call for this reason; at most one call a second.
    fn dropped(&self, _tenant: Uuid, _count: u64, _reason: DropReason) {}
    /// A complete CONNECT was turned away.
    fn refused(&self, _refused: &Refused<'_>) {}
}

/// For who does not want to know.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoEvents;

impl Events for NoEvents {}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Unique as long as the broker runs.
    pub id: u64,
    pub tenant: Uuid,
    pub username: String,
    /// As the client gave it, or as it was assigned.
    pub client_id: String,
    pub peer: SocketAddr,
    pub protocol: Protocol,
    pub connected_at: SystemTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    V311,
    V5,
}

impl Protocol {
    /// `3.1.1` or `5`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V311 => "3.1.1",
            Self::V5 => "5",
        }
    }
}

#[derive(Debug, Clone)]
pub struct Refused<'a> {
    /// Known once the credentials were good.
    pub tenant: Option<Uuid>,
    pub username: &'a str,
    pub client_id: &'a str,
    pub peer: SocketAddr,
    pub reason: RefusedReason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusedReason {
    BadCredentials,
    NotAuthorized,
    Busy,
    ProtocolVersion,
    TooManyConnections,
    TooManySessions,
    /// The tenant's storage cannot be opened or written; the log has the cause.
    Storage,
    ShuttingDown,
    /// By the protocol: a client id that cannot be used, a session of another user, an unknown authentication method.
    Protocol,
}

impl RefusedReason {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadCredentials => "bad user name or password",
            Self::NotAuthorized => "not authorized",
            Self::Busy => "busy",
            Self::ProtocolVersion => "unknown protocol version",
            Self::TooManyConnections => "too many connections",
            Self::TooManySessions => "too many sessions",
            Self::Storage => "storage is not available",
            Self::ShuttingDown => "shutting down",
            Self::Protocol => "refused by the protocol",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// A QoS 0 message for a client that does not keep up.
    Lane,
    /// The oldest of a client's waiting messages, to make room.
    Queue,
}

impl DropReason {
    pub const ALL: [Self; 2] = [Self::Lane, Self::Queue];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lane => "slow client",
            Self::Queue => "queue full",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub topic: String,
    pub payload: Bytes,
    pub qos: Qos,
    pub retain: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Qos {
    #[default]
    AtMostOnce,
    AtLeastOnce,
    ExactlyOnce,
}

impl Qos {
    #[must_use]
    pub fn as_u8(self) -> u8 {
        self as u8
    }
}

impl TryFrom<u8> for Qos {
    type Error = u8;

    fn try_from(value: u8) -> Result<Self, u8> {
        match value {
            0 => Ok(Self::AtMostOnce),
            1 => Ok(Self::AtLeastOnce),
            2 => Ok(Self::ExactlyOnce),
            other => Err(other),
        }
    }
}
