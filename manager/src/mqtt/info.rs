use serde::Serialize;
use utoipa::ToSchema;

/// Where and how devices use the broker; the same for all projects.
#[derive(Clone, Debug, Default)]
pub struct BrokerInfo {
    pub urls: Urls,
    /// `None` where the broker has its own.
    pub limits: Option<Limits>,
    /// What is worth knowing while it is up.
    pub note: Option<String>,
}

/// The broker's addresses as devices reach them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = MqttUrls)]
pub struct Urls {
    /// `mqtt://host:port`; `null` where there is no broker.
    pub mqtt: Option<String>,
    /// Over TLS.
    pub mqtts: Option<String>,
    /// Over WebSocket, with the path.
    pub websocket: Option<String>,
}

/// What one project may use at the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = MqttLimits)]
pub struct Limits {
    pub connections: u32,
    /// Published by the whole project.
    pub messages_per_second: u32,
    pub packet_bytes: u64,
    pub retained_messages: u32,
    /// That wait for one client.
    pub queued_messages: u32,
}
