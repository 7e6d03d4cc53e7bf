use std::fs;

use anyhow::Context as _;
use clap::Subcommand;

use super::console::say;
use crate::{
    app::SECRET_KEYS_FILE,
    config::Config,
    crypto::{KeyRing, random_token},
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print a new key, for OPENFLOW_SECRET_KEYS
    New,
    /// Print the names of the keys in use, newest first
    ShowId,
}

pub(super) fn run(config: &Config, command: Command) -> anyhow::Result<()> {
    match command {
        Command::New => say(random_token()),
        Command::ShowId => {
            for id in ring(config)?.ids() {
                say(id);
            }
        }
    }
    Ok(())
}

/// Makes none: to look is not to change.
fn ring(config: &Config) -> anyhow::Result<KeyRing> {
    if let Some(keys) = &config.secrets.keys {
        return Ok(KeyRing::parse(keys.expose())?);
    }
    let file = config.data.key_file(SECRET_KEYS_FILE);
    let text = fs::read_to_string(&file).with_context(|| {
        format!(
            "no OPENFLOW_SECRET_KEYS is set, and {} cannot be read",
            file.display()
        )
    })?;
    Ok(KeyRing::parse(&text)?)
}
