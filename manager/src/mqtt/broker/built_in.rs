//! The built-in broker: the crate `openflow-broker`, asked in process.
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::{Stream, StreamExt as _, stream};
use openflow_broker as core;
use uuid::Uuid;

use super::{
    Broker, BrokerError, BrokerKind, CONNECTIONS_MAX, Connection, Message, Protocol, Seen, Watch,
};
use crate::mqtt::{
    ClientIds, ConnectAttempt, Credentials, Denial, EventSink, Foundation, Verdict, Who,
};

/// Cheap to clone.
#[derive(Clone)]
pub struct BuiltIn(core::Broker);

impl BuiltIn {
    /// Opens what is stored in the folder; connections are handed to
    /// [`BuiltIn::core`] by listeners.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub async fn open(settings: core::Settings, on: &Foundation) -> std::io::Result<Self> {
        let door = Arc::new(Door(on.credentials.clone()));
        let events = Arc::new(Told(on.events.clone()));
        core::Broker::open(settings, door, events).await.map(Self)
    }

    pub fn core(&self) -> &core::Broker {
        &self.0
    }
}

#[async_trait]
impl Broker for BuiltIn {
    fn kind(&self) -> BrokerKind {
        BrokerKind::BuiltIn
    }

    async fn ping(&self) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn connections(&self, project: Uuid) -> Result<Vec<Connection>, BrokerError> {
        let live = self.0.connections(project);
        Ok(live
            .into_iter()
            .take(CONNECTIONS_MAX)
            .map(|it| Connection {
                username: it.username,
                client_id: it.client_id,
                address: Some(it.peer.ip()),
                protocol: match it.protocol {
                    core::Protocol::V311 => Protocol::V3_1_1,
                    core::Protocol::V5 => Protocol::V5,
                },
                connected_at: DateTime::<Utc>::from(it.connected_at),
            })
            .collect())
    }

    async fn kick(&self, usernames: &[String]) -> Result<usize, BrokerError> {
        Ok(usernames.iter().map(|it| self.0.kick(it)).sum())
    }

    async fn purge(&self, project: Uuid) -> Result<(), BrokerError> {
        let purged = self.0.purge(project).await;
        purged.map_err(|error| BrokerError::Unavailable(error.to_string()))
    }

    async fn publish(&self, project: Uuid, message: Message) -> Result<(), BrokerError> {
        let qos = core::Qos::try_from(message.qos)
            .map_err(|it| BrokerError::Refused(format!("{it} is no quality of service")))?;
        let message = core::Message {
            topic: message.topic,
            payload: message.payload,
            qos,
            retain: message.retain,
        };
        let published = self.0.publish(project, message).await;
        published.map_err(|error| BrokerError::Refused(error.to_string()))
    }

    async fn watch(&self, project: Uuid) -> Result<Watch, BrokerError> {
        let watch = self.0.watch(project, "#").await;
        let watch = watch.map_err(|error| BrokerError::Unavailable(error.to_string()))?;
        Ok(with_losses(watch).boxed())
    }
}

/// What was lost is told before the message that came after it.
fn with_losses(watch: core::Watch) -> impl Stream<Item = Seen> + Send {
    let begin = (watch, 0, None);
    stream::unfold(begin, |(mut watch, told, held)| async move {
        let message = match held {
            Some(message) => message,
            None => watch.next().await?,
        };
        let lost = watch.lost();
        if told < lost {
            return Some((Seen::Lost(lost - told), (watch, lost, Some(message))));
        }
        let message = Message {
            topic: message.topic,
            payload: message.payload,
            qos: message.qos.as_u8(),
            retain: message.retain,
        };
        Some((Seen::Message(message), (watch, told, None)))
    })
}

/// Asks the manager's credentials who is at the door.
struct Door(Credentials);

impl core::Authenticator for Door {
    fn authenticate(&self, attempt: &core::Attempt<'_>) -> Result<core::Grant, core::Refusal> {
        let attempt = ConnectAttempt {
            username: attempt.username,
            // A password of ours is text; any other is wrong.
            password: std::str::from_utf8(attempt.password).unwrap_or_default(),
            client_id: attempt.client_id,
            address: Some(attempt.peer.ip()),
        };
        match self.0.authenticate(&attempt, ClientIds::PerProject) {
            Verdict::Allow { project, rules } => Ok(core::Grant {
                tenant: project,
                rules: rules.map(|it| {
                    Arc::new(core::TopicRules {
                        publish: it.publish.clone(),
                        subscribe: it.subscribe.clone(),
                    })
                }),
            }),
            Verdict::Deny(Denial::TooManyAttempts) => Err(core::Refusal::Busy),
            Verdict::Deny(_) => Err(core::Refusal::BadCredentials),
        }
    }
}

/// Puts what happens to connections among the project's events.
struct Told(EventSink);

impl core::Events for Told {
    fn connected(&self, connection: &core::Connection) {
        self.0.connected(who(connection));
    }

    fn disconnected(&self, connection: &core::Connection, reason: &str) {
        let own_wish = reason == "disconnected by the client";
        let reason = (!own_wish).then(|| sentence(reason));
        self.0.disconnected(who(connection), reason.as_deref());
    }

    fn dropped(&self, tenant: Uuid, count: u64, reason: core::DropReason) {
        metrics::counter!("openflow_mqtt_dropped_total", "reason" => reason.as_str())
            .increment(count);
        let nobody = Who {
            project: tenant,
            username: "",
            client_id: "",
            address: None,
        };
        let text = match reason {
            core::DropReason::Lane => "because a client did not keep up (QoS 0)",
            core::DropReason::Queue => "the oldest of those that waited for a client",
        };
        self.0
            .dropped(nobody, &format!("{count} messages dropped: {text}"));
    }

    fn refused(&self, refused: &core::Refused<'_>) {
        metrics::counter!("openflow_mqtt_refused_total", "reason" => refused.reason.as_str())
            .increment(1);
        // Bad credentials are told where they are judged.
        let judged = matches!(
            refused.reason,
            core::RefusedReason::BadCredentials
                | core::RefusedReason::NotAuthorized
                | core::RefusedReason::Busy
        );
        if let (Some(project), false) = (refused.tenant, judged) {
            let who = Who {
                project,
                username: refused.username,
                client_id: refused.client_id,
                address: Some(refused.peer.ip()),
            };
            self.0.denied(who, refused.reason.as_str());
        }
    }
}

fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    let first = letters.next().map(|it| it.to_ascii_uppercase());
    first.into_iter().chain(letters).chain(['.']).collect()
}

fn who(connection: &core::Connection) -> Who<'_> {
    Who {
        project: connection.tenant,
        username: &connection.username,
        client_id: &connection.client_id,
        address: Some(connection.peer.ip()),
    }
}
