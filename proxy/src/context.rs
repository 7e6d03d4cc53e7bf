//! What requests share: of the whole program, and of one client connection.
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::{Config, Limits, Network},
    metrics::Metrics,
    routes::{Manager, Tables},
};

/// One per program.
pub(crate) struct Shared {
    pub(crate) tables: Arc<Tables>,
    /// `None` with a fixed table.
    pub(crate) manager: Option<Arc<Manager>>,
    pub(crate) limits: Limits,
    trusted_proxies: Vec<Network>,
    /// The TLS port to redirect plain requests to.
    pub(crate) redirect_to_port: Option<u16>,
    /// Cancelled when the program begins to stop.
    pub(crate) stopping: CancellationToken,
    connections: Connections,
}

impl Shared {
    pub(crate) fn new(config: &Config, tables: Arc<Tables>, manager: Option<Arc<Manager>>) -> Self {
        Self {
            tables,
            manager,
            limits: config.limits.clone(),
            trusted_proxies: config.trusted_proxies.clone(),
            redirect_to_port: None,
            stopping: CancellationToken::new(),
            connections: Connections::default(),
        }
    }

    pub(crate) fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted_proxies
            .iter()
            .any(|network| network.contains(peer))
    }
}

/// One per client connection.
pub(crate) struct Client {
    pub(crate) shared: Arc<Shared>,
    pub(crate) metrics: Arc<Metrics>,
    /// Tunnels of this worker, to be awaited at the end.
    pub(crate) tasks: TaskTracker,
    /// The peer's address as text, for `X-Forwarded-For`.
    pub(crate) peer: String,
    pub(crate) is_tls: bool,
    /// The peer's `X-Forwarded-*` are believed.
    pub(crate) is_trusted: bool,
    _permit: Permit,
}

impl Client {
    /// `None` when there are too many connections.
    pub(crate) fn admit(
        shared: &Arc<Shared>,
        metrics: &Arc<Metrics>,
        tasks: &TaskTracker,
        peer: IpAddr,
        is_tls: bool,
    ) -> Option<Self> {
        let peer = peer.to_canonical();
        let is_trusted = shared.trusts(peer);
        let permit = Permit::take(shared, (!is_trusted).then_some(peer))?;
        metrics.connection_opened();
        Some(Self {
            shared: Arc::clone(shared),
            metrics: Arc::clone(metrics),
            tasks: tasks.clone(),
            peer: peer.to_string(),
            is_tls,
            is_trusted,
            _permit: permit,
        })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.metrics.connection_closed();
    }
}

#[derive(Default)]
struct Connections {
    open: AtomicUsize,
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

/// A place among the open connections; given back when dropped.
struct Permit {
    shared: Arc<Shared>,
    address: Option<IpAddr>,
}

impl Permit {
    fn take(shared: &Arc<Shared>, address: Option<IpAddr>) -> Option<Self> {
        let connections = &shared.connections;
        if shared.limits.max_connections <= connections.open.fetch_add(1, Ordering::Relaxed) {
            connections.open.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let mut permit = Self {
            shared: Arc::clone(shared),
            address: None,
        };
        if let Some(address) = address {
            let mut counts = connections
                .by_address
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let count = counts.entry(address).or_default();
            if shared.limits.max_connections_per_address <= *count {
                return None;
            }
            *count += 1;
            permit.address = Some(address);
        }
        Some(permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let connections = &self.shared.connections;
        connections.open.fetch_sub(1, Ordering::Relaxed);
        let Some(address) = self.address else { return };
        let mut counts = connections
            .by_address
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&address);
            }
        }
    }
}
