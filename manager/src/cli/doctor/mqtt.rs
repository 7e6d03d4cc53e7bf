//! The projects' MQTT broker: whichever it is.
use std::{fs, net::SocketAddr, sync::Arc};

use super::{Finding, checks, emqx};
use crate::{
    config::{Config, MqttBroker},
    kernel::{Secret, SystemClock},
    mqtt::{Broker as _, Emqx, EmqxApi, EmqxSettings},
};

const NO_KEY: &str = "Set OPENFLOW_EMQX_URL (such as http://127.0.0.1:18083) and OPENFLOW_EMQX_API_KEY (<key>:<secret>). \
                      A line <key>:<secret>:administrator in the file that api_key.bootstrap_file of emqx.conf names makes one.";

pub(super) async fn all(config: &Config) -> Vec<Finding> {
    let unset = match config.mqtt.emqx_url {
        Some(_) => MqttBroker::Emqx,
        None => MqttBroker::BuiltIn,
    };
    match config.mqtt.broker.unwrap_or(unset) {
        MqttBroker::BuiltIn => built_in(config),
        MqttBroker::Emqx => emqx(config).await,
        MqttBroker::None => vec![Finding::ok(
            "mqtt",
            "no broker is wanted (OPENFLOW_MQTT_BROKER)",
        )],
    }
}

fn built_in(config: &Config) -> Vec<Finding> {
    let mqtt = &config.mqtt;
    let listeners: [(Option<SocketAddr>, _); 3] = [
        (Some(mqtt.listen), "--mqtt-listen (OPENFLOW_MQTT_LISTEN)"),
        (
            mqtt.listen_tls,
            "--mqtt-listen-tls (OPENFLOW_MQTT_LISTEN_TLS)",
        ),
        (
            Some(mqtt.listen_ws),
            "--mqtt-listen-ws (OPENFLOW_MQTT_LISTEN_WS)",
        ),
    ];
    let mut findings: Vec<Finding> = listeners
        .into_iter()
        .filter_map(|(address, flag)| Some(checks::port("mqtt", address?, flag)))
        .collect();
    if mqtt.listen_tls.is_some() {
        findings.push(certificate(config));
    }
    findings
}

/// Whether there is one to serve; the proxy reads the same folder and says
/// what is wrong with a file.
fn certificate(config: &Config) -> Finding {
    let proxy = &config.proxy;
    if proxy.tls_self_signed.is_some() {
        return Finding::ok("mqtt", "a certificate of our own serves MQTT over TLS");
    }
    let Some(folder) = &proxy.tls_dir else {
        return Finding::fail(
            "mqtt",
            "MQTT over TLS has no certificate",
            "Give --tls-dir.",
        );
    };
    let name = folder.display();
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut certificates = entries.map(|it| it.path()).filter(|it| {
        it.extension().is_some_and(|it| it == "crt") && it.with_extension("key").exists()
    });
    match certificates.next() {
        Some(path) => Finding::ok("mqtt", format!("{} serves MQTT over TLS", path.display())),
        None => Finding::fail(
            "mqtt",
            format!(
                "{name} holds no <name>.crt with its <name>.key, so MQTT over TLS cannot start"
            ),
            format!("Put them into {name}, PEM, or unset OPENFLOW_MQTT_LISTEN_TLS."),
        ),
    }
}

async fn emqx(config: &Config) -> Vec<Finding> {
    let secret = hook_secret(config);
    let mut findings = vec![answers(config).await];
    let mqtt = &config.mqtt;
    let (Some(url), Some(key)) = (&mqtt.emqx_url, &mqtt.emqx_api_key) else {
        let detail = "its settings cannot be checked without an API key, nor can sessions of removed devices be ended at once";
        findings.push(Finding::warn("emqx", detail, NO_KEY));
        return findings;
    };
    match EmqxApi::new(url, key) {
        Ok(api) => {
            let expected = emqx::Expected {
                port: config.address.listen.port(),
                secret,
            };
            findings.extend(emqx::all(&api, &expected).await);
        }
        Err(error) => findings.push(Finding::fail("emqx", error.to_string(), "")),
    }
    findings
}

async fn answers(config: &Config) -> Finding {
    let url = config.mqtt.url();
    let settings = EmqxSettings {
        mqtt_url: url.clone(),
        api: None,
        hook_secret: Secret::new(""),
    };
    let found = match Emqx::new(settings, Arc::new(SystemClock)) {
        Ok(emqx) => emqx.ping().await,
        Err(error) => Err(error),
    };
    match found {
        Ok(()) => Finding::ok("mqtt", format!("a broker takes connections at {url}")),
        Err(error) => Finding::fail(
            "mqtt",
            error.to_string(),
            "Start it, or correct OPENFLOW_MQTT_URL.",
        ),
    }
}

/// As set or as made at the first start; never made here.
fn hook_secret(config: &Config) -> Option<Secret> {
    let made = || fs::read_to_string(config.data.key_file("hook.secret")).ok();
    let made = || made().map(|it| Secret::new(it.trim()));
    config.secrets.hook.clone().or_else(made)
}
