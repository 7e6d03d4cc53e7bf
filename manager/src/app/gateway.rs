use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::instance_side::InstanceSide;
use crate::{kernel::News, runtime::Runtime};

/// How often the instance network, its rules and our place in it are looked at.
const PERIOD: Duration = Duration::from_secs(30);
const RETRY: Duration = Duration::from_secs(3);

/// The side that instances see: the network's gateway address, where they find
/// us as `host.docker.internal`.
pub(super) struct Gateway {
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) instance_side: InstanceSide,
    pub(super) doors: Vec<Door>,
}

/// A listener of ours that instances may use.
pub(super) struct Door {
    /// For whom: completes "cannot listen … for".
    pub(super) purpose: &'static str,
    /// Where it listens already.
    pub(super) address: SocketAddr,
    /// The port at which instances look for it.
    pub(super) port: u16,
    pub(super) serve: Box<dyn Fn(TcpListener) + Send + Sync>,
}

impl Gateway {
    /// Keeps the network as it should be, and listens there, until `stop`.
    pub(super) async fn follow_network(self, stop: CancellationToken) {
        let mut bound = HashSet::new();
        let (mut network_news, mut door_news) = (News::default(), HashMap::new());
        loop {
            let pause = match self.runtime.ensure_network().await {
                Ok(network) => {
                    if network_news.over() {
                        tracing::info!("there is an instance network again");
                    }
                    self.instance_side.set_network(network.clone());
                    for gateway in network.gateways {
                        self.listen(gateway, &mut bound, &mut door_news).await;
                    }
                    PERIOD
                }
                Err(error) => {
                    if network_news.is(&error) {
                        tracing::warn!(%error, "no instance network: {error}");
                    }
                    RETRY
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn listen(
        &self,
        gateway: IpAddr,
        bound: &mut HashSet<SocketAddr>,
        news: &mut HashMap<SocketAddr, News>,
    ) {
        for door in &self.doors {
            let address = SocketAddr::new(gateway, door.port);
            // Listening on all addresses covers it; so does an earlier round.
            if door.covers(address) || bound.contains(&address) {
                continue;
            }
            match TcpListener::bind(address).await {
                Ok(listener) => {
                    bound.insert(address);
                    (door.serve)(listener);
                }
                Err(error) if news.entry(address).or_default().is(&error) => {
                    tracing::warn!("cannot listen on {address} for {}: {error}", door.purpose);
                }
                Err(_) => {}
            }
        }
    }
}

impl Door {
    fn covers(&self, address: SocketAddr) -> bool {
        self.address.port() == address.port()
            && (self.address.ip().is_unspecified() || self.address.ip() == address.ip())
    }
}
