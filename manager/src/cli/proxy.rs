//! The proxy inside `openflow up`: the same one as `openflow-proxy`, on threads
//! of its own, following the manager over loopback.
use std::net::SocketAddr;

use anyhow::Context as _;
use openflow_proxy::{Config, Network, Secret, TlsConfig};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::app::Settings;

/// Kept in `<data-dir>`: the table that is served until the manager answers.
const TABLE_CACHE: &str = "routes.json";

/// The running proxy.
pub(super) struct Proxy {
    stop: CancellationToken,
    server: JoinHandle<anyhow::Result<()>>,
}

impl Proxy {
    /// Begins to serve; follows the feed of the manager at `manager`.
    pub(super) async fn start(settings: &Settings, manager: SocketAddr) -> anyhow::Result<Self> {
        let proxy = openflow_proxy::Proxy::bind(config(settings, manager)?).await?;
        let stop = CancellationToken::new();
        let server = tokio::spawn(proxy.serve(stop.clone()));
        Ok(Self { stop, server })
    }

    /// Takes no more connections and lets those under way finish.
    pub(super) async fn drain(self) {
        self.stop.cancel();
        match self.server.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!("the proxy ended with an error: {error:#}"),
            Err(error) => tracing::error!(%error, "the proxy panicked: {error}"),
        }
    }
}

fn config(settings: &Settings, manager: SocketAddr) -> anyhow::Result<Config> {
    let config = &settings.config;
    let networks = config.proxy.trusted_proxies.iter();
    let trusted: Result<Vec<Network>, String> = networks.map(|it| it.to_string().parse()).collect();
    Ok(Config {
        listen: config.proxy.listen,
        listen_tls: config.proxy.listen_tls,
        tls: TlsConfig {
            dir: config.proxy.tls_dir.clone(),
            self_signed: config.proxy.tls_self_signed.clone(),
            domain: config.address.domain.clone(),
        },
        manager: Url::parse(&format!("http://{manager}")).context("the manager's address")?,
        secret: Some(Secret::new(settings.secrets.proxy.expose())),
        table_cache: Some(config.data.path().join(TABLE_CACHE)),
        trusted_proxies: trusted.map_err(anyhow::Error::msg)?,
        redirect_https: config.proxy.redirect_https,
        ..Config::default()
    })
}
