use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use openflow_broker::{
    self as broker,
    listen::{self, TlsSource},
};
use openflow_proxy::{Tls, TlsConfig};
use tokio::{
    net::TcpListener,
    runtime::{Handle, Runtime},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::{Settings, gateway::Door};
use crate::{
    config::Config,
    mqtt::{BuiltIn, Credentials, Foundation},
};

const STOP_TIMEOUT: Duration = Duration::from_secs(10);
const METRICS_PERIOD: Duration = Duration::from_secs(5);

/// The built-in broker with its listeners. It has threads of its own, so that a
/// flood of messages never makes the API wait.
pub(super) struct BuiltInBroker {
    pub(super) broker: BuiltIn,
    address: SocketAddr,
    threads: Threads,
    listeners: Listeners,
}

/// Dropping a runtime waits for its threads, which an async thread must not:
/// whatever fails after its start is to be said, and not to end in a panic.
struct Threads(Option<Runtime>);

impl Threads {
    fn start() -> std::io::Result<Self> {
        let threads = tokio::runtime::Builder::new_multi_thread()
            .thread_name("mqtt")
            .enable_all()
            .build()?;
        Ok(Self(Some(threads)))
    }

    /// # Errors
    /// Never before it is dropped.
    fn handle(&self) -> anyhow::Result<Handle> {
        let threads = self.0.as_ref().context("the broker's threads have ended")?;
        Ok(threads.handle().clone())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(threads) = self.0.take() {
            threads.shutdown_background();
        }
    }
}

impl BuiltInBroker {
    /// Begins to listen.
    ///
    /// # Errors
    /// When an address is taken, no certificate is usable, or the folder
    /// cannot be used.
    pub(super) async fn start(settings: &Settings, on: &Foundation) -> anyhow::Result<Self> {
        let config = &settings.config;
        let threads = Threads::start()?;
        let on_threads = threads.handle()?;
        let mqtt = &config.mqtt;
        let plain = bind(mqtt.listen, "--mqtt-listen").await?;
        let address = plain.local_addr()?;
        let websocket = bind(mqtt.listen_ws, "--mqtt-listen-ws").await?;
        let (opening, on) = (broker_settings(config), on.clone());
        let credentials = on.credentials.clone();
        let open = async move { BuiltIn::open(opening, &on).await };
        let broker = on_threads.spawn(open).await?;
        let broker = broker.with_context(|| {
            format!(
                "the MQTT broker cannot use {}",
                config.data.mqtt().display()
            )
        })?;
        let listeners = Listeners {
            broker: broker.core().clone(),
            credentials,
            stop: CancellationToken::new(),
            threads: on_threads.clone(),
        };
        on_threads.spawn(measure(broker.core().clone(), listeners.stop.clone()));
        listeners.serve(plain, Transport::Tcp);
        listeners.serve(websocket, Transport::WebSocket);
        if mqtt.listen_tls.is_some() || mqtt.listen_wss.is_some() {
            listeners.secure(config).await?;
        }
        Ok(Self {
            broker,
            address,
            threads,
            listeners,
        })
    }

    /// Instances look for it at the instance network's gateway.
    pub(super) fn door(&self, port: u16) -> Door {
        let listeners = self.listeners.clone();
        Door {
            purpose: "the instances' MQTT",
            address: self.address,
            port,
            serve: Box::new(move |listener| listeners.serve(listener, Transport::Tcp)),
        }
    }

    /// Says good-bye to clients and writes what is to be kept.
    pub(super) async fn stop(self) {
        self.listeners.stop.cancel();
        let core = self.broker.core().clone();
        let shutdown = self.listeners.threads.spawn(core.shutdown());
        if tokio::time::timeout(STOP_TIMEOUT, shutdown).await.is_err() {
            tracing::warn!("the MQTT broker did not end in time; clients connect again anyway");
        }
        drop(self.threads);
    }
}

#[derive(Clone)]
struct Listeners {
    broker: broker::Broker,
    credentials: Credentials,
    stop: CancellationToken,
    threads: Handle,
}

enum Transport {
    Tcp,
    WebSocket,
    Tls(TlsSource),
    SecureWebSocket(TlsSource),
}

impl Listeners {
    /// Clients wait at the door until we know who may come in.
    fn serve(&self, listener: TcpListener, transport: Transport) {
        let Self {
            broker,
            credentials,
            stop,
            threads,
        } = self.clone();
        threads.spawn(async move {
            credentials.loaded().await;
            match transport {
                Transport::Tcp => listen::tcp(listener, broker, stop).await,
                Transport::WebSocket => listen::websocket(listener, broker, stop).await,
                Transport::Tls(tls) => listen::tls(listener, tls, broker, stop).await,
                Transport::SecureWebSocket(tls) => {
                    listen::secure_websocket(listener, tls, broker, stop).await;
                }
            }
        });
    }

    async fn secure(&self, config: &Config) -> anyhow::Result<()> {
        let tls = Tls::load(&tls_config(config)).context("MQTT over TLS")?;
        if let Some(address) = config.mqtt.listen_tls {
            let source = source(&tls, &[b"mqtt"])?;
            let listener = bind(address, "--mqtt-listen-tls").await?;
            self.serve(listener, Transport::Tls(source));
        }
        if let Some(address) = config.mqtt.listen_wss {
            let source = source(&tls, &[b"http/1.1"])?;
            let listener = bind(address, "--mqtt-listen-wss").await?;
            self.serve(listener, Transport::SecureWebSocket(source));
        }
        self.threads.spawn(tls.follow_files());
        Ok(())
    }
}

/// The broker's own counts, as metrics.
async fn measure(broker: broker::Broker, stop: CancellationToken) {
    while stop
        .run_until_cancelled(sleep(METRICS_PERIOD))
        .await
        .is_some()
    {
        let stats = broker.stats();
        metrics::gauge!("openflow_mqtt_connections").set(stats.connections as f64);
        metrics::gauge!("openflow_mqtt_projects_in_memory").set(stats.tenants.len() as f64);
        metrics::counter!("openflow_mqtt_messages_total", "direction" => "in")
            .absolute(stats.messages_in);
        metrics::counter!("openflow_mqtt_messages_total", "direction" => "out")
            .absolute(stats.messages_out);
    }
}

async fn bind(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    let bound = TcpListener::bind(address).await;
    bound.with_context(|| format!("cannot listen on {address} for MQTT ({flag})"))
}

fn source(tls: &Tls, protocols: &[&[u8]]) -> anyhow::Result<TlsSource> {
    // Changed certificates are taken inside of it.
    let config = tls.acceptor(protocols)?.config().clone();
    Ok(Arc::new(move || config.clone()))
}

fn tls_config(config: &Config) -> TlsConfig {
    TlsConfig {
        dir: config.proxy.tls_dir.clone(),
        self_signed: config.proxy.tls_self_signed.clone(),
        domain: config.address.domain.clone(),
    }
}

fn broker_settings(config: &Config) -> broker::Settings {
    let mqtt = &config.mqtt;
    broker::Settings {
        dir: config.data.mqtt(),
        limits: broker::Limits {
            connections: mqtt.mqtt_max_connections as usize,
            messages_per_second: mqtt.mqtt_max_rate,
            packet_bytes: mqtt.mqtt_max_packet_kib as usize * 1024,
            retained_messages: mqtt.mqtt_max_retained as usize,
            queued_messages: mqtt.mqtt_max_queued as usize,
            ..broker::Limits::default()
        },
    }
}
