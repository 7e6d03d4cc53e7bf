//! `openflow-proxy`: the proxy as a program of its own.
use std::io::IsTerminal as _;

use anyhow::Context as _;
use clap::Parser;
use openflow_proxy::{Config, Proxy, check};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(
    name = "openflow-proxy",
    version,
    about = "Routes <name>.<domain> to its instance and <domain> to the dashboard",
    after_help = "Routes come from the manager (--manager, --secret) or from a file (--routes). \
                  Every flag can be given as the environment variable beside it."
)]
struct Cli {
    /// Ask the running proxy (--admin-listen) whether it has routes, and end: 0 if so, for health checks.
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    config: Config,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_env("OPENFLOW_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run(cli.check, cli.config))
}

async fn run(only_check: bool, config: Config) -> anyhow::Result<()> {
    if only_check {
        let address = config.admin_listen;
        return check(address.context("--check needs --admin-listen of the running proxy")?).await;
    }
    let proxy = Proxy::bind(config).await?;
    let shutdown = CancellationToken::new();
    let mut terminated = signal(SignalKind::terminate())?;
    let signalled = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        signalled.cancel();
    });
    proxy.serve(shutdown).await
}
