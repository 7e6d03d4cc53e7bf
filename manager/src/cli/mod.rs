//! The command line of the binary `openflow`: one file per command.
mod backup;
mod console;
mod database;
mod doctor;
mod environment;
mod health;
mod keys;
mod lock;
mod manager;
mod migrate;
mod ports;
mod progress;
mod proxy;
mod restore;
mod signals;
mod uninstall;
mod up;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::{config::Config, installation::Given};

/// Low-code automation for teams: Node-RED and n8n instances on one Docker host
#[derive(Debug, Parser)]
#[command(
    name = "openflow",
    version,
    max_term_width = 120,
    arg_required_else_help = true,
    after_help = "Every setting is a flag of every command and an environment variable; the flag wins."
)]
struct Cli {
    #[command(flatten)]
    config: Config,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything on this host: PostgreSQL, manager, proxy
    Up,
    /// Run the manager alone, on the PostgreSQL of DATABASE_URL
    Manager,
    /// Bring the database to this version's schema
    Migrate,
    /// The keys that seal secrets at rest
    Keys {
        #[command(subcommand)]
        command: keys::Command,
    },
    /// Make one file of the whole installation: database, data folders, settings
    #[command(long_about = backup::ABOUT)]
    Backup(backup::Arguments),
    /// Bring a whole installation back from the file that `openflow backup --all` made
    #[command(long_about = restore::ABOUT)]
    Restore(restore::Arguments),
    /// Take this installation's containers, network and firewall rules off this host; its data stay
    #[command(long_about = uninstall::ABOUT)]
    Uninstall(uninstall::Arguments),
    /// Ask the running manager whether it serves requests; for health checks
    Health,
    /// Check this host and say what to do about what is wrong
    Doctor {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// The command line as clap knows it. Settings are accepted before and after
/// the command, and the help never shows a value of the environment.
pub fn command() -> clap::Command {
    Cli::command().mut_args(|it| match it.get_env() {
        Some(_) => it.global(true).hide_env_values(true),
        None => it,
    })
}

/// Runs the program: 0 for success, 1 for a failure, 2 for a wrong command
/// line.
pub fn main() -> ExitCode {
    let parsed = command()
        .try_get_matches()
        .and_then(|it| Ok((backup::given(&it), Cli::from_arg_matches(&it)?)));
    let (given, cli) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => error.exit(),
    };
    if let Err(message) = cli.config.check() {
        command()
            .error(clap::error::ErrorKind::ValueValidation, message)
            .exit();
    }
    // A dependency brings a second TLS provider; whoever names none gets ours.
    // Fails when it was set before, which serves as well.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    console::start_log(&cli.config.log);
    environment::warn_of_unknown();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return console::failed(&error.into()),
    };
    match runtime.block_on(run(cli, given)) {
        Ok(code) => code,
        Err(error) => console::failed(&error),
    }
}

async fn run(cli: Cli, given: Vec<Given>) -> anyhow::Result<ExitCode> {
    let config = cli.config;
    match cli.command {
        Command::Up => up::run(config).await?,
        Command::Manager => manager::run(config).await?,
        Command::Migrate => migrate::run(&config).await?,
        Command::Keys { command } => keys::run(&config, command)?,
        Command::Backup(arguments) => return backup::run(config, arguments, given).await,
        Command::Restore(arguments) => restore::run(config, arguments).await?,
        Command::Uninstall(arguments) => uninstall::run(config, &arguments).await?,
        Command::Health => return health::run(&config).await,
        Command::Doctor { json } => return doctor::run(&config, json).await,
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        command().debug_assert();
    }

    #[test]
    fn settings_stand_before_or_after_the_command() {
        for args in [
            ["openflow", "--domain=example.com", "up"],
            ["openflow", "up", "--domain=example.com"],
        ] {
            let matches = command().try_get_matches_from(args).unwrap();
            let cli = Cli::from_arg_matches(&matches).unwrap();
            assert_eq!(cli.config.address.domain, "example.com", "{args:?}");
        }
    }
}
