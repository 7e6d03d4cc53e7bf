//! What is known of one connection, by its task and by those who look at it from outside.
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Wake as _, Waker},
    time::SystemTime,
};

use tokio::sync::broadcast;
use uuid::Uuid;

use crate::{
    auth::TopicRules,
    events::{Connection, Protocol},
    lock,
    window::{Meter, Window},
};

/// Of QoS 2 messages that one client has begun and not finished.
const UNFINISHED_BYTES_MAX: usize = 32 << 20;
/// What each of them takes besides its payload.
const UNFINISHED_OVERHEAD_BYTES: usize = 512;

pub(crate) struct Conn {
    pub(crate) id: u64,
    pub(crate) tenant: Uuid,
    pub(crate) username: String,
    /// Empty if the core is to assign one.
    pub(crate) client_id: String,
    pub(crate) peer: SocketAddr,
    pub(crate) protocol: Protocol,
    pub(crate) rules: Option<Arc<TopicRules>>,
    /// Unacknowledged messages that the core sends at most.
    pub(crate) receive_maximum: usize,
    pub(crate) meter: Arc<Meter>,
    /// Tells the core to end this connection in good order.
    pub(crate) stop: broadcast::Sender<()>,
    pub(crate) state: State,
}

#[derive(Default)]
pub(crate) struct State {
    /// Set after the CONNACK.
    accepted: OnceLock<Connection>,
    /// Why it ended, if it was our doing; the first reason counts.
    ended: OnceLock<&'static str>,
    /// The socket answers with errors from now on.
    cut: AtomicBool,
    /// The client said that it leaves.
    polite: AtomicBool,
    /// Of the core's CONNACK, when it refused.
    refused: AtomicU8,
    /// Of the core's last DISCONNECT.
    goodbye: AtomicU8,
    /// To be sent in place of the core's reason.
    code: AtomicU8,
    inflight: AtomicUsize,
    /// What the tenant had taken when this client had nothing waiting.
    caught_up: AtomicU64,
    unfinished: Mutex<Unfinished>,
}

#[derive(Default)]
struct Unfinished {
    messages: HashMap<u16, usize>,
    bytes: usize,
}

impl Conn {
    /// Ends the connection through the core, which says `code` to a client of MQTT 5.
    pub(crate) fn end(&self, reason: &'static str, code: u8) {
        if self.state.ended.set(reason).is_ok() {
            self.state.code.store(code, Ordering::Relaxed);
        }
        self.stop.send(()).ok(); // fails when it has just ended
    }

    /// Ends the connection without a word: whatever the core does with the socket fails.
    pub(crate) fn cut(&self, reason: &'static str) {
        self.state.ended.set(reason).ok();
        self.state.cut.store(true, Ordering::Release);
        self.meter.wake_by_ref();
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.state.cut.load(Ordering::Acquire)
    }

    pub(crate) fn accept(&self, core_id: &str) -> Option<&Connection> {
        let assigned = self.client_id.is_empty();
        let connection = Connection {
            id: self.id,
            tenant: self.tenant,
            username: self.username.clone(),
            client_id: if assigned { core_id } else { &self.client_id }.to_owned(),
            peer: self.peer,
            protocol: self.protocol,
            connected_at: SystemTime::now(),
        };
        self.state.accepted.set(connection).ok()?;
        self.state.accepted.get()
    }

    pub(crate) fn accepted(&self) -> Option<&Connection> {
        self.state.accepted.get()
    }

    pub(crate) fn note_polite(&self) {
        self.state.polite.store(true, Ordering::Relaxed);
    }

    /// The code of the core's CONNACK; zero unless it refused.
    pub(crate) fn refused(&self) -> u8 {
        self.state.refused.load(Ordering::Relaxed)
    }

    /// Why it ended: our doing, what the core told the client, or what the core says of it.
    pub(crate) fn reason(&self, result: &str) -> String {
        if let Some(reason) = self.state.ended.get() {
            return (*reason).to_owned();
        }
        match self.state.goodbye.load(Ordering::Relaxed) {
            0x8e => "taken over by a newer connection".to_owned(),
            _ if self.state.polite.load(Ordering::Relaxed) => {
                "disconnected by the client".to_owned()
            }
            _ => result.to_owned(),
        }
    }

    pub(crate) fn note_connack(&self, code: u8) {
        self.state.refused.store(code, Ordering::Relaxed);
    }

    /// Notes the core's reason to disconnect and returns the one to send.
    pub(crate) fn note_disconnect(&self, code: u8) -> u8 {
        self.state.goodbye.store(code, Ordering::Relaxed);
        match self.state.code.load(Ordering::Relaxed) {
            0 => code,
            ours => ours,
        }
    }

    pub(crate) fn note_sent(&self) {
        self.state.inflight.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_acknowledged(&self) {
        let less = |count: usize| Some(count.saturating_sub(1));
        self.state
            .inflight
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .ok();
    }

    /// A QoS 2 message has begun; false if the client has too much of them.
    pub(crate) fn begin_exact(&self, packet_id: u16, bytes: usize) -> bool {
        let mut unfinished = lock(&self.state.unfinished);
        let bytes = bytes + UNFINISHED_OVERHEAD_BYTES;
        let replaced = unfinished.messages.insert(packet_id, bytes);
        unfinished.bytes += bytes;
        unfinished.bytes -= replaced.unwrap_or_default();
        unfinished.bytes <= UNFINISHED_BYTES_MAX
    }

    pub(crate) fn finish_exact(&self, packet_id: u16) {
        let mut unfinished = lock(&self.state.unfinished);
        let bytes = unfinished.messages.remove(&packet_id);
        unfinished.bytes -= bytes.unwrap_or_default();
    }

    /// At the end of a poll in which the socket took all: nothing waits for this client, unless it does not acknowledge.
    pub(crate) fn note_idle(&self, window: &Window) {
        if self.state.inflight.load(Ordering::Relaxed) < self.receive_maximum {
            self.state
                .caught_up
                .store(window.taken(), Ordering::Relaxed);
        }
    }

    /// At most so many bytes wait for this client in memory.
    pub(crate) fn behind(&self, window: &Window) -> u64 {
        let caught_up = self.state.caught_up.load(Ordering::Relaxed);
        window.taken().saturating_sub(caught_up)
    }

    pub(crate) fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.meter))
    }
}
