//! EMQX as the projects' broker: asked over its management API, and watched as
//! an MQTT client, since that API has no stream.
//!
//! Invariant: topics of a project stand below its mountpoint in EMQX; what the
//! API is asked carries it, what this module answers does not.
mod api;
mod clients;
mod inbox;
mod packets;
mod tls;
mod watch;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::json;
use tokio::net::TcpStream;
use url::Url;
use uuid::Uuid;

pub use self::api::EmqxApi;
use self::clients::Clients;
use super::{Broker, BrokerError, BrokerKind, Connection, Message, Watch};
use crate::{
    config::THIS_HOST,
    kernel::{Clock, Secret},
};

/// A broker that is slower is as good as away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Retained messages may be set while they are deleted.
const DELETES_MAX: usize = 10;
const NO_KEY: &str = "this needs EMQX's management API: set OPENFLOW_EMQX_URL (such as http://127.0.0.1:18083) and \
                      OPENFLOW_EMQX_API_KEY (<key>:<secret> of an API key with the role administrator)";

/// Where EMQX is.
#[derive(Clone)]
pub struct EmqxSettings {
    /// MQTT as instances reach it; their `host.docker.internal` is this host.
    pub mqtt_url: Url,
    /// Base URL of the management API and `<key>:<secret>`.
    pub api: Option<(Url, Secret)>,
    /// What EMQX shows the hook; it makes our own logins too.
    pub hook_secret: Secret,
}

pub struct Emqx {
    settings: EmqxSettings,
    api: Option<EmqxApi>,
    clients: Clients,
    clock: Arc<dyn Clock>,
}

impl Emqx {
    /// Connects to nothing yet.
    pub fn new(settings: EmqxSettings, clock: Arc<dyn Clock>) -> Result<Self, BrokerError> {
        let api = settings.api.as_ref();
        Ok(Self {
            api: api.map(|(url, key)| EmqxApi::new(url, key)).transpose()?,
            settings,
            clients: Clients::default(),
            clock,
        })
    }

    fn api(&self) -> Result<&EmqxApi, BrokerError> {
        let missing = || BrokerError::Unsupported(NO_KEY.to_owned());
        self.api.as_ref().ok_or_else(missing)
    }
}

/// What EMQX puts before every topic of a project.
fn mountpoint(project: Uuid) -> String {
    format!("ff/{project}/")
}

/// Host and port that this process connects to.
fn address(url: &Url) -> (String, u16) {
    let host = match url.host_str() {
        Some(THIS_HOST) | None => "127.0.0.1",
        // An IPv6 address stands in brackets there.
        Some(host) => host.trim_start_matches('[').trim_end_matches(']'),
    };
    let default = match url.scheme() {
        "mqtts" => 8883,
        "ws" => 80,
        "wss" => 443,
        _ => 1883,
    };
    (host.to_owned(), url.port().unwrap_or(default))
}

async fn connect(url: &Url) -> Result<TcpStream, BrokerError> {
    let (host, port) = address(url);
    let connect = TcpStream::connect((host.as_str(), port));
    let why = match tokio::time::timeout(CONNECT_TIMEOUT, connect).await {
        Ok(Ok(stream)) => return Ok(stream),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no connection in time".to_owned(),
    };
    Err(BrokerError::Unavailable(format!("{host}:{port}: {why}")))
}

#[async_trait]
impl Broker for Emqx {
    fn kind(&self) -> BrokerKind {
        BrokerKind::Emqx
    }

    /// Whether it takes connections, and the API answers where it is set:
    /// without it, nobody can be shut out at once.
    async fn ping(&self) -> Result<(), BrokerError> {
        connect(&self.settings.mqtt_url).await?;
        if let Some(api) = &self.api {
            api.get::<serde::de::IgnoredAny>("/nodes").await?;
        }
        Ok(())
    }

    async fn connections(&self, project: Uuid) -> Result<Vec<Connection>, BrokerError> {
        self.clients.connections(self.api()?, project).await
    }

    async fn kick(&self, usernames: &[String]) -> Result<usize, BrokerError> {
        clients::kick(self.api()?, usernames).await
    }

    async fn purge(&self, project: Uuid) -> Result<(), BrokerError> {
        let api = self.api()?;
        clients::kick_project(api, project).await?;
        // All below the mountpoint; EMQX takes a filter here.
        let path = format!("/mqtt/retainer/message/ff%2F{project}%2F%23");
        for _ in 0..DELETES_MAX {
            if api.delete(&path).await?.status == 404 {
                return Ok(());
            }
        }
        Err(BrokerError::Unavailable(
            "retained messages that were deleted are still there".to_owned(),
        ))
    }

    async fn publish(&self, project: Uuid, message: Message) -> Result<(), BrokerError> {
        let body = json!({
            "topic": format!("{}{}", mountpoint(project), message.topic),
            "payload": BASE64_STANDARD.encode(&message.payload),
            "payload_encoding": "base64",
            "qos": message.qos,
            "retain": message.retain,
        });
        // 202: nobody has subscribed, which is no fault.
        match self.api()?.post("/publish", &body).await?.status {
            404 => Err(BrokerError::Refused("its API has no /publish".to_owned())),
            _ => Ok(()),
        }
    }

    async fn watch(&self, project: Uuid) -> Result<Watch, BrokerError> {
        let settings = &self.settings;
        let login = crate::mqtt::console::mint(&settings.hook_secret, project, self.clock.now());
        watch::watch(&settings.mqtt_url, &login).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_the_one_that_this_host_reaches() {
        for (url, expected) in [
            ("mqtt://host.docker.internal:1883", ("127.0.0.1", 1883)),
            ("mqtt://broker.example.com", ("broker.example.com", 1883)),
            ("mqtts://broker.example.com", ("broker.example.com", 8883)),
            ("wss://broker.example.com/mqtt", ("broker.example.com", 443)),
            ("mqtt://[::1]:1884", ("::1", 1884)),
        ] {
            let (host, port) = address(&url.parse().unwrap());
            assert_eq!((host.as_str(), port), expected, "{url}");
        }
    }
}
