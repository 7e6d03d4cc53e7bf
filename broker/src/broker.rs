//! The broker as its caller sees it.
use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use mqtt5::broker::config::BrokerConfig;
use tokio::{
    runtime::Handle,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    auth::Authenticator,
    connection::Conn,
    drops,
    events::{Connection, Events, RefusedReason},
    hooks,
    listen::Gatekeeper,
    lock,
    settings::Settings,
    stats::Stats,
    sweep,
    tenants::{Tenants, empty_trash},
};

/// For the core to say good-bye before the socket is taken away.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(2);
/// For connections to end, after that.
const END_TIMEOUT: Duration = Duration::from_secs(5);
const POLL_PERIOD: Duration = Duration::from_millis(20);

/// A handle; all clones are the same broker.
#[derive(Clone)]
pub struct Broker(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) settings: Arc<Settings>,
    pub(crate) authenticator: Arc<dyn Authenticator>,
    pub(crate) events: Arc<dyn Events>,
    pub(crate) tenants: Tenants,
    pub(crate) gatekeeper: Gatekeeper,
    pub(crate) config: Arc<BrokerConfig>,
    pub(crate) stopping: CancellationToken,
    next_id: AtomicU64,
    /// Counted, so that a connection that was let in meanwhile asks again.
    kicks: AtomicU64,
    refused: Mutex<HashMap<RefusedReason, u64>>,
    runtime: Handle,
}

impl Broker {
    /// Opens the broker in the runtime of the caller, which serves the connections too. Tenants come into memory when
    /// they are needed.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub async fn open(
        settings: Settings,
        authenticator: Arc<dyn Authenticator>,
        events: Arc<dyn Events>,
    ) -> io::Result<Self> {
        tokio::fs::create_dir_all(&settings.dir).await?;
        empty_trash(&settings.dir).await?;
        let (settings, runtime) = (Arc::new(settings), Handle::current());
        let config = hooks::config(&settings.limits, Arc::clone(&events));
        let broker = Self(Arc::new(Inner {
            config: Arc::new(config),
            authenticator,
            tenants: Tenants::new(Arc::clone(&settings), runtime.clone()),
            gatekeeper: Gatekeeper::new(&settings.limits),
            stopping: CancellationToken::new(),
            next_id: AtomicU64::new(1),
            kicks: AtomicU64::new(0),
            refused: Mutex::default(),
            runtime,
            settings,
            events,
        }));
        tokio::spawn(sweep::run(Arc::downgrade(&broker.0)));
        Ok(broker)
    }

    /// The tenant's live connections, oldest first.
    #[must_use]
    pub fn connections(&self, tenant: Uuid) -> Vec<Connection> {
        let conns = self.0.tenants.get(tenant).map(|tenant| tenant.conns());
        let conns = conns.unwrap_or_default();
        let mut accepted: Vec<_> = conns
            .iter()
            .filter_map(|conn| conn.accepted().cloned())
            .collect();
        accepted.sort_by_key(|connection| connection.id);
        accepted
    }

    /// Ends the live connections of a user name, in whatever tenant; a client of MQTT 5 is told 0x98, administrative
    /// action. Wills are published. Stored sessions stay: see [`Broker::forget`]. Returns how many it ends.
    pub fn kick(&self, username: &str) -> usize {
        self.0.kicks.fetch_add(1, Ordering::SeqCst);
        let tenants = self.0.tenants.open();
        let conns = tenants.iter().flat_map(|tenant| tenant.conns());
        let conns: Vec<_> = conns.filter(|conn| conn.username == username).collect();
        self.end(&conns, "kicked", 0x98);
        conns.len()
    }

    /// [`Broker::kick`], and removes what is stored for the user name in a tenant: sessions with their subscriptions
    /// and waiting messages. For credentials that do not come back.
    ///
    /// # Errors
    /// When the tenant's storage cannot be opened or written.
    pub async fn forget(&self, tenant: Uuid, username: &str) -> io::Result<()> {
        self.kick(username);
        let tenant = self.0.tenants.lease(tenant).await?;
        let live = || {
            let mut conns = tenant.conns().into_iter();
            conns.any(|conn| conn.username == username)
        };
        wait_until(|| !live()).await;
        tenant.forget_sessions(username).await
    }

    /// Ends the tenant's connections and removes all that is stored for it. The caller sees to it that none connects
    /// anew.
    ///
    /// # Errors
    /// When the files cannot be removed.
    pub async fn purge(&self, tenant: Uuid) -> io::Result<()> {
        if let Some(core) = self.0.tenants.get(tenant) {
            core.closing.cancel();
            self.end(&core.conns(), "the tenant is removed", 0x98);
            wait_until(|| core.conns().is_empty()).await;
        }
        let inner = Arc::clone(&self.0);
        let removing = self
            .0
            .runtime
            .spawn(async move { inner.tenants.remove(tenant).await });
        removing.await.map_err(io::Error::other)?
    }

    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = self.0.tenants.past();
        for tenant in self.0.tenants.open() {
            let counted = tenant.stats();
            stats.add(&counted);
            stats.connections += counted.connections;
            stats.tenants.insert(tenant.id, counted);
        }
        stats.pending = self.0.gatekeeper.pending();
        stats.dropped_elsewhere = drops::elsewhere();
        stats.refused = lock(&self.0.refused).clone();
        stats
    }

    /// Refuses new connections, ends the live ones, and writes out what waits to be written. Takes some seconds at
    /// most.
    pub async fn shutdown(self) {
        self.0.stopping.cancel();
        let tenants = self.0.tenants.open();
        for tenant in &tenants {
            self.end(&tenant.conns(), "the broker stops", 0x8b);
        }
        wait_until(|| tenants.iter().all(|tenant| tenant.conns().is_empty())).await;
        for tenant in tenants {
            if timeout(END_TIMEOUT, tenant.flush()).await.is_err() {
                tracing::warn!(tenant = %tenant.id, "the storage was not flushed in time");
            }
        }
    }

    fn end(&self, conns: &[Arc<Conn>], reason: &'static str, code: u8) {
        for conn in conns {
            conn.end(reason, code);
        }
        let conns = conns.to_vec();
        self.0.runtime.spawn(async move {
            sleep(GOODBYE_TIMEOUT).await;
            for conn in conns {
                conn.cut(reason);
            }
        });
    }
}

impl Inner {
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    pub(crate) fn kicks(&self) -> u64 {
        self.kicks.load(Ordering::SeqCst)
    }

    pub(crate) fn count_refusal(&self, reason: RefusedReason) {
        *lock(&self.refused).entry(reason).or_default() += 1;
    }
}

/// Waits for connections to end, which takes a moment or [`GOODBYE_TIMEOUT`].
async fn wait_until(done: impl Fn() -> bool) {
    let deadline = Instant::now() + END_TIMEOUT;
    while !done() && Instant::now() < deadline {
        sleep(POLL_PERIOD).await;
    }
}
