//! The proxy inside `openflow up`.
use std::{net::SocketAddr, time::Duration};

use anyhow::Context as _;
use openflow_proxy::{Config, Secret, TlsConfig};
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::app::Settings;

const FIRST_TABLE_TIMEOUT: Duration = Duration::from_secs(15);

/// The running proxy. It has worker threads of its own and talks to the
/// manager through its address alone, as `openflow-proxy` does.
pub(super) struct Proxy {
    stop: CancellationToken,
    server: JoinHandle<anyhow::Result<()>>,
}

impl Proxy {
    /// Begins to serve, and knows the routes. `manager` is where the manager
    /// listens.
    pub(super) async fn start(settings: &Settings, manager: SocketAddr) -> anyhow::Result<Self> {
        let proxy = openflow_proxy::Proxy::bind(config(settings, manager)?).await?;
        let first_table = proxy.first_table();
        let stop = CancellationToken::new();
        let server = tokio::spawn(proxy.serve(stop.clone()));
        // "Up" means that the dashboard answers.
        if timeout(FIRST_TABLE_TIMEOUT, first_table).await.is_err() {
            tracing::warn!("the manager has not told the proxy the routes yet; it goes on asking");
        }
        Ok(Self { stop, server })
    }

    /// Until it ended by itself, which it never should.
    pub(super) async fn failed(&mut self) -> anyhow::Error {
        match (&mut self.server).await {
            Ok(Ok(())) => anyhow::anyhow!("the proxy ended by itself"),
            Ok(Err(error)) => error.context("the proxy failed"),
            Err(error) => anyhow::Error::from(error).context("the proxy failed"),
        }
    }

    /// Takes no more connections and lets those under way finish.
    pub(super) async fn drain(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.server.await?
    }
}

fn config(settings: &Settings, mut manager: SocketAddr) -> anyhow::Result<Config> {
    let (address, proxy) = (&settings.config.address, &settings.config.proxy);
    if manager.ip().is_unspecified() {
        manager.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    let url = format!("http://{manager}");
    Ok(Config {
        listen: proxy.listen,
        listen_tls: proxy.listen_tls,
        tls: TlsConfig {
            dir: proxy.tls_dir.clone(),
            self_signed: proxy.tls_self_signed.clone(),
            domain: address.domain.clone(),
        },
        manager: url.parse().context("the manager's address is no URL")?,
        secret: Some(Secret::new(settings.secrets.proxy.expose())),
        table_cache: Some(settings.config.data.proxy_table()),
        threads: proxy.threads,
        trusted_proxies: proxy.trusted_proxies.clone(),
        redirect_https: proxy.redirect_https,
        limits: proxy.limits.clone(),
        ..Config::default()
    })
}
