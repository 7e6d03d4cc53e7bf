//! `openflow uninstall`: what Openflow has put on this host goes, but for the
//! data.
use clap::Args;

use super::{
    console::{Step, say},
    database::Database,
    lock::DataLock,
    ports,
};
use crate::{
    app::{self, Secrets, Settings},
    config::Config,
    installation::Keys,
};

pub(super) const ABOUT: &str = "\
Take this installation's containers, network and firewall rules off this host; its data stay

Stop Openflow first, and give this command the settings that it ran with. Instances are stopped as by hand and their containers
removed; then the network goes, and the rules of the firewall for it. Folders, database, backups and images stay: openflow up
makes the rest anew, and what ran runs again. docs/operations.md says how to remove what stays.";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Do it; without it, only what would be done is said
    #[arg(long)]
    yes: bool,
}

pub(super) async fn run(config: Config, arguments: &Arguments) -> anyhow::Result<()> {
    // Before anything is made: a wrong folder is the commonest mistake.
    let keys = Keys::in_use(&config)?;
    anyhow::ensure!(
        config.database.url.is_some() || config.data.postgres().exists(),
        "there is no installation in {} (--data-dir), and no DATABASE_URL is set",
        config.data.path().display(),
    );
    let lock = DataLock::take(&config.data)?;
    ports::check(config.address.listen, "--listen")
        .map_err(|why| anyhow::anyhow!("{why} If it is Openflow's manager, stop it first."))?;
    let settings = Settings {
        secrets: Secrets::of(&keys),
        config,
    };
    let database = Database::open(&settings.config, &lock).await?;
    let done = take_off(&settings, &database, arguments.yes).await;
    database.close().await;
    done
}

async fn take_off(settings: &Settings, database: &Database, yes: bool) -> anyhow::Result<()> {
    let engine = app::engine_beside(settings, &database.db).await?;
    let (network, data) = (
        &settings.config.instances.network,
        settings.config.data.path().display(),
    );
    if !yes {
        let containers = crate::runtime::Runtime::list(&engine).await?;
        for it in &containers {
            say(format!("container {}", it.name));
        }
        say(format!(
            "Would be stopped and removed: {} of instances, then the network {network} and the rules of the firewall for it. \
             The data in {data} stay. To do it: openflow uninstall --yes",
            counted(containers.len())
        ));
        return Ok(());
    }
    let step = Step::begin("Stopping and removing the instances' containers");
    let done = engine.uninstall().await?;
    drop(step);
    say(format!("Removed: {}.", counted(done.containers)));
    if let Some(why) = done.network_stays {
        anyhow::bail!("not all could be removed: {why}");
    }
    say(format!(
        "The network {network} and the rules of the firewall for it are gone. The data in {data} are as they were."
    ));
    Ok(())
}

fn counted(containers: usize) -> String {
    match containers {
        1 => "1 container".to_owned(),
        n => format!("{n} containers"),
    }
}
