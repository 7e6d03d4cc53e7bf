//! `openflow up`: everything on one host, in one process.
use anyhow::Error;
use tokio_util::sync::CancellationToken;

use super::{
    console::{Step, say},
    database::Database,
    lock::DataLock,
    ports,
    proxy::Proxy,
    signals,
};
use crate::{
    app::{App, Settings},
    config::{Config, MqttBroker},
    installation,
};

/// Runs until told to stop. What was started is stopped in reverse, also when
/// a later part fails to start.
pub(super) async fn run(mut config: Config) -> anyhow::Result<()> {
    let lock = DataLock::take(&config.data)?;
    installation::refuse_unfinished(&config.data)?;
    config.mqtt.default_broker(true);
    check_ports(&config)?;
    let stop = signals::stop_token()?;
    let settings = Settings::load(config)?;
    let database = Database::open(&settings.config, &lock).await?;
    let result = with_database(settings, &database, &stop).await;
    database.close().await;
    result
}

async fn with_database(
    settings: Settings,
    database: &Database,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    database.migrate().await?;
    let app = {
        let _step = Step::begin("Starting the manager");
        App::start(settings.clone(), database.db.clone()).await?
    };
    let result = with_manager(&settings, &app, stop).await;
    let _step = Step::begin("Stopping the manager");
    app.stop().await;
    result
}

async fn with_manager(
    settings: &Settings,
    app: &App,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let mut proxy = Proxy::start(settings, app.address).await?;
    say(format!("Openflow is up: {}", settings.config.public_url()));
    if let Some(url) = &app.setup_url {
        say(format!("Create the first administrator: {url}"));
    }
    tokio::select! {
        () = stop.cancelled() => {}
        error = proxy.failed() => return Err(error),
    }
    let _step = Step::begin("Finishing requests under way");
    proxy.drain().await
}

/// Before anything is started: a taken port is the commonest obstacle.
fn check_ports(config: &Config) -> anyhow::Result<()> {
    for (address, flag) in listeners(config) {
        ports::check(address, flag).map_err(Error::msg)?;
    }
    Ok(())
}

/// What `openflow up` listens on, and which setting says so.
pub(super) fn listeners(config: &Config) -> Vec<(std::net::SocketAddr, &'static str)> {
    let mut listeners = vec![
        (config.address.listen, "--listen (OPENFLOW_LISTEN)"),
        (
            config.proxy.listen,
            "--proxy-listen (OPENFLOW_PROXY_LISTEN)",
        ),
    ];
    if let Some(tls) = config.proxy.listen_tls {
        listeners.push((tls, "--proxy-listen-tls (OPENFLOW_PROXY_LISTEN_TLS)"));
    }
    let mqtt = &config.mqtt;
    if mqtt.broker == Some(MqttBroker::BuiltIn) {
        listeners.push((mqtt.listen, "--mqtt-listen (OPENFLOW_MQTT_LISTEN)"));
        listeners.push((mqtt.listen_ws, "--mqtt-listen-ws (OPENFLOW_MQTT_LISTEN_WS)"));
        let tls = mqtt.listen_tls.into_iter();
        listeners.extend(tls.map(|it| (it, "--mqtt-listen-tls (OPENFLOW_MQTT_LISTEN_TLS)")));
        let wss = mqtt.listen_wss.into_iter();
        listeners.extend(wss.map(|it| (it, "--mqtt-listen-wss (OPENFLOW_MQTT_LISTEN_WSS)")));
    }
    listeners
}
