//! Messages from the program itself.
use mqtt5::{QoS, packet::publish::PublishPacket, validate_topic_name};
use uuid::Uuid;

use crate::{
    broker::Broker,
    events::{Message, Qos},
    hooks::is_system,
    tenant::{SCOPE, Scope, Tenant},
};

#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error("a topic must not be empty, hold wildcards or begin with $SYS")]
    Topic,
    #[error("the message is of {bytes} bytes, {max} are allowed")]
    TooLarge { bytes: usize, max: usize },
    #[error("the tenant has as many retained messages as it may")]
    RetainedFull,
    #[error("the tenant's storage is not available: {0}")]
    Storage(#[from] std::io::Error),
}

impl Broker {
    /// Publishes into a tenant and returns when the message has been handed to its subscribers' lanes and queues.
    /// Waits for the tenant's readers like any publisher, but not for its rate.
    ///
    /// # Errors
    /// When the message cannot be published, and then nobody gets it.
    pub async fn publish(&self, tenant: Uuid, message: Message) -> Result<(), PublishError> {
        let limits = &self.0.settings.limits;
        if validate_topic_name(&message.topic).is_err() || is_system(&message.topic) {
            return Err(PublishError::Topic);
        }
        let bytes = message.payload.len();
        let max = if message.retain {
            limits.retained_bytes
        } else {
            limits.packet_bytes
        };
        if bytes > max {
            return Err(PublishError::TooLarge { bytes, max });
        }
        let lease = self.0.tenants.lease(tenant).await?;
        if message.retain
            && !message.payload.is_empty()
            && lease.router.retained_store_full(&message.topic).await
        {
            return Err(PublishError::RetainedFull);
        }
        lease.window.take(bytes + message.topic.len()).await;
        route(&lease, message).await;
        Ok(())
    }
}

async fn route(tenant: &std::sync::Arc<Tenant>, message: Message) {
    let qos = match message.qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
        Qos::ExactlyOnce => QoS::ExactlyOnce,
    };
    let mut packet = PublishPacket::new(message.topic, message.payload, qos);
    packet.retain = message.retain;
    let scope = Scope {
        tenant: std::sync::Arc::clone(tenant),
        conn: None,
    };
    SCOPE
        .scope(scope, tenant.router.route_message(&packet, None))
        .await;
}
