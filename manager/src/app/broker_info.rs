//! What devices are told of the broker.
use std::net::SocketAddr;

use crate::{
    config::{Config, THIS_HOST},
    mqtt::{BrokerInfo, BrokerKind, Limits, Urls},
};

pub(super) fn broker_info(config: &Config, kind: BrokerKind) -> BrokerInfo {
    match kind {
        BrokerKind::BuiltIn => built_in(config),
        BrokerKind::Emqx => emqx(config),
        BrokerKind::None => BrokerInfo::default(),
    }
}

fn built_in(config: &Config) -> BrokerInfo {
    let (mqtt, host) = (&config.mqtt, &config.address.domain);
    let url = |scheme: &str, at: SocketAddr, path: &str| {
        Some(format!("{scheme}://{host}:{}{path}", at.port()))
    };
    BrokerInfo {
        urls: Urls {
            mqtt: url("mqtt", mqtt.listen, ""),
            mqtts: mqtt.listen_tls.and_then(|it| url("mqtts", it, "")),
            // Pages on https may use only the secure one.
            websocket: match mqtt.listen_wss {
                Some(secure) => url("wss", secure, "/mqtt"),
                None => url("ws", mqtt.listen_ws, "/mqtt"),
            },
        },
        limits: Some(Limits {
            connections: mqtt.mqtt_max_connections,
            messages_per_second: mqtt.mqtt_max_rate,
            packet_bytes: u64::from(mqtt.mqtt_max_packet_kib) * 1024,
            retained_messages: mqtt.mqtt_max_retained,
            queued_messages: mqtt.mqtt_max_queued,
        }),
        note: mqtt.listen.ip().is_loopback().then(|| {
            let port = mqtt.listen.port();
            format!(
                "Only instances and programs on this host reach it; OPENFLOW_MQTT_LISTEN=0.0.0.0:{port} lets devices in."
            )
        }),
    }
}

/// We know but the address that instances are given. `host.docker.internal` is
/// this host to them.
fn emqx(config: &Config) -> BrokerInfo {
    let mut url = config.mqtt.url();
    if url.host_str() == Some(THIS_HOST) {
        // A domain that is no host cannot be the installation's.
        let _ = url.set_host(Some(&config.address.domain));
    }
    let text = Some(url.to_string());
    let urls = match url.scheme() {
        "mqtts" => Urls {
            mqtts: text,
            ..Urls::default()
        },
        "ws" | "wss" => Urls {
            websocket: text,
            ..Urls::default()
        },
        _ => Urls {
            mqtt: text,
            ..Urls::default()
        },
    };
    BrokerInfo {
        urls,
        limits: None,
        note: None,
    }
}
