//! What the core asks and tells us, in the task of the connection that it is about.
use std::{
    future::{Future, ready},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use mqtt5::{
    QoS,
    broker::{
        auth::{AuthProvider, AuthResult},
        config::BrokerConfig,
        events::{
            BrokerEventHandler, ClientConnectEvent, ClientDisconnectEvent, ClientPublishEvent,
            MessageDeliveredEvent, PublishAction,
        },
    },
    packet::connect::ConnectPacket,
};

use crate::{
    connection::Conn,
    events::Events,
    settings::Limits,
    tenant::{SCOPE, Scope, Tenant},
};

type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A topic of 64 KiB for each alias of each connection is enough.
const TOPIC_ALIASES_MAX: u16 = 32;
/// Other senders get their turn while one waits.
const WAIT_STEP: Duration = Duration::from_millis(500);
/// Lanes are several windows long: subscriptions may overlap, and a slow reader holds up windows for some seconds.
const LANE_MESSAGES_MIN: usize = 8 * 1024;

/// The configuration of all cores.
pub(crate) fn config(limits: &Limits, events: Arc<dyn Events>) -> BrokerConfig {
    BrokerConfig {
        max_clients: usize::MAX,
        session_expiry_interval: limits.session_expiry,
        max_packet_size: limits.packet_bytes,
        topic_alias_maximum: TOPIC_ALIASES_MAX,
        max_subscriptions_per_client: limits.subscriptions,
        max_retained_messages: limits.retained_messages,
        max_retained_message_size: limits.retained_bytes,
        // A new subscription's retained messages are put into the lane at once.
        client_channel_capacity: LANE_MESSAGES_MIN.max(limits.retained_messages * 2),
        max_outbound_inflight: limits.inflight,
        // MQTT.js, and so Node-RED, does not heed one; `Conn::begin_exact` bounds what it would.
        server_receive_maximum: None,
        sys_topics_enabled: false,
        event_handler: Some(Arc::new(Hooks(events))),
        ..BrokerConfig::default()
    }
}

struct Hooks(Arc<dyn Events>);

fn scope() -> Option<(Arc<Tenant>, Arc<Conn>)> {
    let scope = SCOPE.try_with(Scope::clone).ok()?;
    Some((scope.tenant, scope.conn?))
}

impl BrokerEventHandler for Hooks {
    fn on_client_connect<'a>(&'a self, event: ClientConnectEvent) -> Answer<'a, ()> {
        if let Some((_, conn)) = scope()
            && let Some(connection) = conn.accept(&event.client_id)
        {
            self.0.connected(connection);
        }
        Box::pin(ready(()))
    }

    fn on_client_publish<'a>(&'a self, event: ClientPublishEvent) -> Answer<'a, PublishAction> {
        let Some((tenant, conn)) = scope() else {
            return Box::pin(ready(PublishAction::Continue));
        };
        if event.qos == QoS::ExactlyOnce
            && let Some(packet_id) = event.packet_id
            && !conn.begin_exact(packet_id, event.payload.len())
        {
            conn.end("too many unfinished QoS 2 messages", 0x93);
        }
        let bytes = event.payload.len() + event.topic.len();
        Box::pin(async move {
            hold_back(&tenant, &conn, bytes).await;
            PublishAction::Continue
        })
    }

    fn on_client_disconnect<'a>(&'a self, event: ClientDisconnectEvent) -> Answer<'a, ()> {
        if let Some((_, conn)) = scope()
            && !event.unexpected
        {
            conn.note_polite();
        }
        Box::pin(ready(()))
    }

    fn on_message_delivered<'a>(&'a self, _event: MessageDeliveredEvent) -> Answer<'a, ()> {
        SCOPE
            .try_with(|scope| {
                if let Some(conn) = &scope.conn {
                    conn.note_acknowledged();
                }
            })
            .ok();
        Box::pin(ready(()))
    }
}

/// Makes a publisher wait for its tenant's rate, and for the tenant's readers.
async fn hold_back(tenant: &Tenant, conn: &Conn, bytes: usize) {
    let mut wait = tenant.rate.take(bytes, Instant::now());
    while !wait.is_zero() && !conn.is_cut() {
        let step = wait.min(WAIT_STEP);
        tokio::time::sleep(step).await;
        wait -= step;
    }
    tenant.window.take(bytes).await;
    tenant.bound_memory();
}

/// What one connection may do. It has been authenticated before the core sees it.
pub(crate) struct Gate {
    pub(crate) conn: Arc<Conn>,
    pub(crate) tenant: Arc<Tenant>,
}

impl AuthProvider for Gate {
    fn authenticate<'a>(
        &'a self,
        _connect: &'a ConnectPacket,
        _peer: SocketAddr,
    ) -> Answer<'a, mqtt5::Result<AuthResult>> {
        // With a user, the core lets nobody else resume a session, its queue included.
        let result = if self.conn.username.is_empty() {
            AuthResult::success()
        } else {
            AuthResult::success_with_user(&self.conn.username)
        };
        Box::pin(ready(Ok(result)))
    }

    fn authorize_publish<'a>(
        &'a self,
        _client_id: &str,
        _user: Option<&'a str>,
        topic: &'a str,
    ) -> Answer<'a, bool> {
        let rules = self.conn.rules.as_ref();
        let allowed = !is_system(topic) && rules.is_none_or(|rules| rules.may_publish(topic));
        Box::pin(ready(allowed))
    }

    fn authorize_subscribe<'a>(
        &'a self,
        _client_id: &str,
        _user: Option<&'a str>,
        filter: &'a str,
    ) -> Answer<'a, bool> {
        let rules = self.conn.rules.as_ref();
        let allowed = rules.is_none_or(|rules| rules.may_subscribe(filter));
        let is_share = filter.starts_with("$share/");
        Box::pin(ready(
            allowed && (!is_share || self.tenant.note_share(filter)),
        ))
    }
}

/// The broker's own topics, of which there are none.
pub(crate) fn is_system(topic: &str) -> bool {
    topic == "$SYS" || topic.starts_with("$SYS/")
}
