//! What the caller decides.
use std::{path::PathBuf, time::Duration};

#[derive(Debug, Clone)]
pub struct Settings {
    /// Each tenant has a folder of its id in here; nothing else may be in it.
    pub dir: PathBuf,
    pub limits: Limits,
}

/// Zero never means "no limit" here; take a large number for that.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections of a tenant at one time.
    pub connections: usize,
    /// Sessions of a tenant, those of connected clients included.
    pub sessions: usize,
    /// PUBLISH packets a second from all of a tenant's clients. Who sends more is read more slowly; nothing is lost.
    pub messages_per_second: u32,
    /// Payload bytes a second from all of a tenant's clients, as above.
    pub bytes_per_second: u64,
    /// The largest packet in bytes; a client that sends a larger one is cut. A CONNECT is bounded at 256 KiB besides.
    pub packet_bytes: usize,
    /// Retained messages of a tenant.
    pub retained_messages: usize,
    /// Payload bytes of one retained message.
    pub retained_bytes: usize,
    /// Messages that wait for one client; beyond it the oldest are dropped, and counted.
    pub queued_messages: usize,
    /// Bytes that wait for one client, as above.
    pub queued_bytes: usize,
    /// Subscriptions of one client.
    pub subscriptions: usize,
    /// Unacknowledged messages to one client.
    pub inflight: u16,
    /// The longest that a session outlives its connection.
    pub session_expiry: Duration,
    /// A tenant without connections leaves memory after so long; what is stored stays on disk.
    pub idle_timeout: Duration,
    /// From accept to a complete CONNECT, TLS and WebSocket handshakes included.
    pub connect_timeout: Duration,
    /// A client whose socket takes nothing for so long is cut.
    pub write_timeout: Duration,
    /// Connections that have not been authenticated yet, over all tenants; beyond it none is accepted for the while.
    pub pending: usize,
    /// Such connections of one address; beyond it they are closed.
    pub pending_per_address: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1_000,
            sessions: 2_000,
            messages_per_second: 10_000,
            bytes_per_second: 16 << 20,
            packet_bytes: 1 << 20,
            retained_messages: 5_000,
            retained_bytes: 64 << 10,
            queued_messages: 1_000,
            queued_bytes: 4 << 20,
            subscriptions: 200,
            inflight: 100,
            session_expiry: Duration::from_secs(2 * 3600),
            idle_timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(15),
            pending: 4_000,
            pending_per_address: 1_000,
        }
    }
}
