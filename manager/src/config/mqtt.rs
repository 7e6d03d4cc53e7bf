use std::net::SocketAddr;

use clap::{Args, ValueEnum, value_parser};
use url::Url;

use super::parse;
use crate::kernel::Secret;

/// The projects' MQTT broker.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "MQTT")]
pub struct MqttConfig {
    /// Which broker the projects use [default: built-in with `openflow up` unless OPENFLOW_EMQX_URL is set, else emqx]
    #[arg(
        id = "mqtt_broker",
        long = "mqtt-broker",
        env = "OPENFLOW_MQTT_BROKER",
        value_enum
    )]
    pub broker: Option<MqttBroker>,
    /// The MQTT broker as instances reach it; on this host with the port of --mqtt-listen unless it has one
    #[arg(id = "mqtt_url", long = "mqtt-url", env = "OPENFLOW_MQTT_URL", default_value = "mqtt://host.docker.internal", value_name = "URL", value_parser = parse::mqtt_url)]
    pub instances_url: Url,
    /// Built-in broker: address for MQTT; 0.0.0.0:1883 lets devices of the network in
    #[arg(
        id = "mqtt_listen",
        long = "mqtt-listen",
        env = "OPENFLOW_MQTT_LISTEN",
        default_value = "127.0.0.1:1883",
        value_name = "ADDRESS"
    )]
    pub listen: SocketAddr,
    /// Built-in broker: address for MQTT over TLS, such as 0.0.0.0:8883, with the certificates of --tls-dir or --tls-self-signed; none when unset
    #[arg(
        id = "mqtt_listen_tls",
        long = "mqtt-listen-tls",
        env = "OPENFLOW_MQTT_LISTEN_TLS",
        value_name = "ADDRESS"
    )]
    pub listen_tls: Option<SocketAddr>,
    /// Built-in broker: address for MQTT over WebSocket, path /mqtt
    #[arg(
        id = "mqtt_listen_ws",
        long = "mqtt-listen-ws",
        env = "OPENFLOW_MQTT_LISTEN_WS",
        default_value = "127.0.0.1:8083",
        value_name = "ADDRESS"
    )]
    pub listen_ws: SocketAddr,
    /// Built-in broker: address for MQTT over WebSocket with TLS; none when unset
    #[arg(
        id = "mqtt_listen_wss",
        long = "mqtt-listen-wss",
        env = "OPENFLOW_MQTT_LISTEN_WSS",
        value_name = "ADDRESS"
    )]
    pub listen_wss: Option<SocketAddr>,
    /// EMQX: its management API, such as http://127.0.0.1:18083
    #[arg(id = "emqx_url", long = "emqx-url", env = "OPENFLOW_EMQX_URL", value_name = "URL", value_parser = parse::public_url)]
    pub emqx_url: Option<Url>,
    /// EMQX: API key and secret as <key>:<secret>, to end sessions, list connections and check its settings
    #[arg(id = "emqx_api_key", long = "emqx-api-key", env = "OPENFLOW_EMQX_API_KEY", value_name = "KEY:SECRET", value_parser = api_key, hide_env_values = true)]
    pub emqx_api_key: Option<Secret>,
    /// Built-in broker: most connections of one project
    #[arg(long, env = "OPENFLOW_MQTT_MAX_CONNECTIONS", default_value_t = 1000, value_name = "NUMBER", value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub mqtt_max_connections: u32,
    /// Built-in broker: most messages that one project may publish in a second; publishers beyond it wait
    #[arg(long, env = "OPENFLOW_MQTT_MAX_RATE", default_value_t = 5000, value_name = "NUMBER", value_parser = value_parser!(u32).range(1..=10_000_000))]
    pub mqtt_max_rate: u32,
    /// Built-in broker: largest packet, in KiB
    #[arg(long, env = "OPENFLOW_MQTT_MAX_PACKET_KIB", default_value_t = 1024, value_name = "KIB", value_parser = value_parser!(u32).range(1..=16_384))]
    pub mqtt_max_packet_kib: u32,
    /// Built-in broker: most retained messages of one project
    #[arg(long, env = "OPENFLOW_MQTT_MAX_RETAINED", default_value_t = 10_000, value_name = "NUMBER", value_parser = value_parser!(u32).range(1..=10_000_000))]
    pub mqtt_max_retained: u32,
    /// Built-in broker: most messages that wait for one client that is away or slow; the oldest go first
    #[arg(long, env = "OPENFLOW_MQTT_MAX_QUEUED", default_value_t = 1000, value_name = "NUMBER", value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub mqtt_max_queued: u32,
}

/// `OPENFLOW_MQTT_BROKER`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MqttBroker {
    /// Runs inside `openflow up`: each project has a broker core to itself
    BuiltIn,
    /// EMQX, which asks the manager on every connect
    Emqx,
    /// No broker
    None,
}

/// This host, as instances name it.
pub const THIS_HOST: &str = "host.docker.internal";

impl MqttConfig {
    /// What a command takes when the setting does not say.
    pub fn default_broker(&mut self, in_process: bool) {
        let default = match in_process && self.emqx_url.is_none() {
            true => MqttBroker::BuiltIn,
            false => MqttBroker::Emqx,
        };
        self.broker.get_or_insert(default);
    }

    /// The broker as instances reach it, with its port.
    pub fn url(&self) -> Url {
        let mut url = self.instances_url.clone();
        if url.port_or_known_default().is_none() {
            let port = match url.host_str() {
                Some(THIS_HOST) if url.scheme() == "mqtt" => self.listen.port(),
                _ if url.scheme() == "mqtts" => 8883,
                _ => 1883,
            };
            // Fails only without a host, which the parser refused.
            let _ = url.set_port(Some(port));
        }
        url
    }

    /// The port on this host at which instances look for it; `None` when it is
    /// elsewhere.
    pub fn host_port(&self) -> Option<u16> {
        let url = self.url();
        let here = url.host_str() == Some(THIS_HOST);
        url.port_or_known_default().filter(|_| here)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if self.emqx_api_key.is_some() && self.emqx_url.is_none() {
            return Err("--emqx-api-key needs --emqx-url (OPENFLOW_EMQX_URL)".to_owned());
        }
        Ok(())
    }
}

fn api_key(text: &str) -> Result<Secret, String> {
    match text.split_once(':') {
        Some((key, secret)) if !key.is_empty() && !secret.is_empty() => Ok(Secret::new(text)),
        _ => Err("give key and secret as <key>:<secret>".to_owned()),
    }
}
