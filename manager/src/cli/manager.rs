use anyhow::Context as _;

use super::{console::say, database::Database, ports, signals};
use crate::{
    app::{App, Settings},
    config::{Config, MqttBroker},
    installation,
};

/// The manager alone. Several of them may share a database.
pub(super) async fn run(mut config: Config) -> anyhow::Result<()> {
    let url = config.database.url.clone().context(
        "openflow manager needs DATABASE_URL. To run everything with a private PostgreSQL, use openflow up.",
    )?;
    installation::refuse_unfinished(&config.data)?;
    config.mqtt.default_broker(false);
    anyhow::ensure!(
        config.mqtt.broker != Some(MqttBroker::BuiltIn),
        "the built-in MQTT broker runs inside openflow up; give openflow manager --mqtt-broker emqx or none",
    );
    ports::check(config.address.listen, "--listen (OPENFLOW_LISTEN)")
        .map_err(anyhow::Error::msg)?;
    let stop = signals::stop_token()?;
    let database = Database::connect(&url).await?;
    database.migrate().await?;
    let app = App::start(Settings::load(config)?, database.db.clone()).await?;
    say(format!("The manager listens on {}.", app.address));
    if let Some(url) = &app.setup_url {
        say(format!("Create the first administrator: {url}"));
    }
    stop.cancelled().await;
    app.stop().await;
    database.close().await;
    Ok(())
}
