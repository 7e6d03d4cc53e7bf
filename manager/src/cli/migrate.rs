use super::{console::say, database::Database};
use crate::{config::Config, db::MIGRATOR, installation};

/// Also beside a running `openflow up`.
pub(super) async fn run(config: &Config) -> anyhow::Result<()> {
    installation::refuse_unfinished(&config.data)?;
    let database = Database::open_beside(config).await?;
    let result = database.migrate().await;
    database.close().await;
    result?;
    let newest = MIGRATOR
        .iter()
        .map(|it| it.version)
        .max()
        .unwrap_or_default();
    say(format!("The database is at version {newest}."));
    Ok(())
}
