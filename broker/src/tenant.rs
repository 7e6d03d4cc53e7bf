//! A tenant's core: router, storage and counters of its own.
use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::FutureExt as _;
use mqtt5::broker::{
    resource_monitor::{ResourceLimits, ResourceMonitor},
    router::MessageRouter,
    storage::{DynamicStorage, FileBackend, QueueLimits, StorageBackend as _},
    sys_topics::BrokerStats,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    connection::Conn,
    drops::Dropped,
    events::RefusedReason,
    lock,
    rate::Rate,
    settings::{Limits, Settings},
    stats::TenantStats,
    watch::Lost,
    window::Window,
};

/// What waits in memory for a tenant's clients, altogether.
const BEHIND_BYTES_MAX: u64 = 128 << 20;
/// How often that is looked at, in bytes taken.
const BEHIND_PERIOD_BYTES: u64 = 4 << 20;
/// Share groups by filter; the core forgets one only when the tenant leaves memory.
const SHARES_MAX: usize = 10_000;

pub(crate) struct Tenant {
    pub(crate) id: Uuid,
    pub(crate) router: Arc<MessageRouter>,
    pub(crate) storage: Arc<DynamicStorage>,
    pub(crate) stats: Arc<BrokerStats>,
    pub(crate) monitor: Arc<ResourceMonitor>,
    pub(crate) window: Arc<Window>,
    pub(crate) rate: Rate,
    pub(crate) dropped: Dropped,
    /// The tenant is being removed: watches end, and nobody enters any more.
    pub(crate) closing: CancellationToken,
    pub(crate) watches: Mutex<HashMap<String, Arc<Lost>>>,
    conns: Mutex<HashMap<u64, Arc<Conn>>>,
    connections_max: usize,
    sessions_max: usize,
    queued_max: usize,
    /// As of the last sweep, and those begun since.
    sessions: AtomicUsize,
    shares: Mutex<HashSet<u64>>,
    /// Of the window, when it was last looked at who is behind.
    looked_at: AtomicU64,
    users: AtomicUsize,
    unused_since: Mutex<Instant>,
}

/// Says in which tenant a task routes messages; drops are counted by it.
#[derive(Clone)]
pub(crate) struct Scope {
    pub(crate) tenant: Arc<Tenant>,
    pub(crate) conn: Option<Arc<Conn>>,
}

tokio::task_local! {
    pub(crate) static SCOPE: Scope;
}

/// Keeps a tenant in memory.
pub(crate) struct Lease(Arc<Tenant>);

impl std::ops::Deref for Lease {
    type Target = Arc<Tenant>;

    fn deref(&self) -> &Arc<Tenant> {
        &self.0
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        *lock(&self.0.unused_since) = Instant::now();
        self.0.users.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Tenant {
    /// Opens the storage, brings back stored sessions and retained messages.
    pub(crate) async fn open(id: Uuid, settings: &Settings) -> io::Result<Arc<Self>> {
        let limits = &settings.limits;
        let folder = settings.dir.join(id.to_string());
        let storage = open_storage(&folder, limits).await.map_err(io_error)?;
        let storage = Arc::new(storage);
        let router = MessageRouter::with_storage(Arc::clone(&storage))
            .with_retained_limits(limits.retained_messages, limits.retained_bytes);
        let expiry = u32::try_from(limits.session_expiry.as_secs()).unwrap_or(u32::MAX);
        router.recover_sessions(expiry).await.map_err(io_error)?;
        router.initialize().await.map_err(io_error)?;
        let tenant = Self {
            id,
            router: Arc::new(router),
            storage,
            stats: Arc::new(BrokerStats::new()),
            monitor: Arc::new(ResourceMonitor::new(unlimited())),
            window: Arc::new(Window::new()),
            rate: Rate::new(limits),
            dropped: Dropped::default(),
            closing: CancellationToken::new(),
            watches: Mutex::default(),
            conns: Mutex::default(),
            connections_max: limits.connections,
            sessions_max: limits.sessions,
            queued_max: limits.queued_messages,
            sessions: AtomicUsize::new(0),
            shares: Mutex::default(),
            looked_at: AtomicU64::new(0),
            users: AtomicUsize::new(0),
            unused_since: Mutex::new(Instant::now()),
        };
        tenant.count_sessions().await;
        Ok(Arc::new(tenant))
    }

    pub(crate) fn lease(self: &Arc<Self>) -> Lease {
        self.users.fetch_add(1, Ordering::SeqCst);
        Lease(Arc::clone(self))
    }

    /// Nobody uses it, and no task of the core does, such as a delayed will.
    pub(crate) fn is_unused(&self, since: Duration) -> bool {
        self.users.load(Ordering::SeqCst) == 0
            && lock(&self.unused_since).elapsed() >= since
            && Arc::strong_count(&self.router) == 1
    }

    /// # Errors
    /// When the tenant has as many connections as it may.
    pub(crate) fn add(&self, conn: &Arc<Conn>) -> Result<(), RefusedReason> {
        let mut conns = lock(&self.conns);
        if conns.len() >= self.connections_max {
            return Err(RefusedReason::TooManyConnections);
        }
        conns.insert(conn.id, Arc::clone(conn));
        self.window.fit(conns.len());
        Ok(())
    }

    pub(crate) fn remove(&self, id: u64) {
        let mut conns = lock(&self.conns);
        conns.remove(&id);
        self.window.fit(conns.len());
    }

    pub(crate) fn conns(&self) -> Vec<Arc<Conn>> {
        lock(&self.conns).values().cloned().collect()
    }

    /// # Errors
    /// When the tenant has as many sessions as it may, and this client would begin one more.
    pub(crate) async fn begin_session(&self, core_id: &str) -> Result<(), RefusedReason> {
        match self.storage.get_session(core_id).await {
            Ok(Some(_)) => return Ok(()),
            Ok(None) => {}
            Err(_) => return Err(RefusedReason::Storage),
        }
        if self.sessions.fetch_add(1, Ordering::Relaxed) < self.sessions_max {
            return Ok(());
        }
        self.count_sessions().await;
        Err(RefusedReason::TooManySessions)
    }

    async fn count_sessions(&self) {
        if let Ok(ids) = self.storage.session_client_ids().await {
            self.sessions.store(ids.len(), Ordering::Relaxed);
        }
    }

    /// Notes a `$share` subscription; false when there are too many different ones.
    pub(crate) fn note_share(&self, filter: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        filter.hash(&mut hasher);
        let (mut shares, share) = (lock(&self.shares), hasher.finish());
        if shares.len() < SHARES_MAX {
            shares.insert(share);
        }
        shares.contains(&share)
    }

    /// Bounds what waits in memory: cuts those who are most behind.
    pub(crate) fn bound_memory(&self) {
        let taken = self.window.taken();
        let looked_at = self.looked_at.load(Ordering::Relaxed);
        if taken.saturating_sub(looked_at) < BEHIND_PERIOD_BYTES {
            return;
        }
        self.looked_at.store(taken, Ordering::Relaxed);
        let mut behind: Vec<_> = self
            .conns()
            .into_iter()
            .map(|conn| (conn.behind(&self.window), conn))
            .filter(|(bytes, _)| *bytes > BEHIND_PERIOD_BYTES)
            .collect();
        behind.sort_by_key(|(bytes, _)| *bytes);
        let mut sum: u64 = behind.iter().map(|(bytes, _)| bytes).sum();
        while sum > BEHIND_BYTES_MAX
            && let Some((bytes, conn)) = behind.pop()
        {
            sum -= bytes;
            conn.cut("the client does not keep up");
        }
    }

    /// Messages that go back to a client's queue when it leaves, and the newest of which do not fit.
    pub(crate) fn note_requeued(&self, core_id: &str, count: usize) {
        let queued = self.router.queue_handle(core_id).count();
        let lost = (queued + count).saturating_sub(self.queued_max);
        self.dropped
            .add(crate::events::DropReason::Queue, lost as u64);
    }

    /// Ends sessions whose time is over.
    pub(crate) async fn sweep(&self) {
        self.router.sweep_sessions().await;
        self.count_sessions().await;
    }

    /// Removes what is stored for a user.
    ///
    /// # Errors
    /// When the storage cannot be read or written.
    pub(crate) async fn forget_sessions(&self, username: &str) -> io::Result<()> {
        let ids = self.storage.session_client_ids().await.map_err(io_error)?;
        for id in ids {
            let session = self.storage.get_session(&id).await.map_err(io_error)?;
            let user = session.and_then(|session| session.user_id);
            if user.as_deref().unwrap_or_default() != username {
                continue;
            }
            let slot = self.router.lock_session(&id).await;
            self.router.cancel_pending_will(&id);
            self.storage.remove_session(&id).await.map_err(io_error)?;
            drop(slot);
        }
        self.sweep().await; // takes away what belonged to them
        Ok(())
    }

    /// Delayed wills would be published into a tenant that is no more.
    pub(crate) async fn forget_wills(&self) {
        for id in self.storage.session_client_ids().await.unwrap_or_default() {
            self.router.cancel_pending_will(&id);
        }
    }

    /// Removes what has expired from the disk.
    pub(crate) async fn clean(&self) {
        if let Err(error) = self.storage.cleanup_expired().await {
            tracing::warn!(tenant = %self.id, %error, "expired messages could not be removed");
        }
    }

    /// Writes out what waits to be written.
    pub(crate) async fn flush(&self) {
        if let Err(error) = self.storage.shutdown().await {
            tracing::warn!(tenant = %self.id, %error, "the storage could not be flushed");
        }
    }

    pub(crate) fn stats(&self) -> TenantStats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        TenantStats {
            connections: lock(&self.conns).len(),
            messages_in: load(&self.stats.publish_received),
            messages_out: load(&self.stats.publish_sent),
            dropped: self.dropped.counts(),
            retained: self.router.retained_count().now_or_never(),
            sessions: self.sessions.load(Ordering::Relaxed),
        }
    }
}

async fn open_storage(folder: &Path, limits: &Limits) -> mqtt5::Result<DynamicStorage> {
    let queue = QueueLimits {
        max_messages: limits.queued_messages,
        max_bytes: limits.queued_bytes,
    };
    let files = FileBackend::with_queue_limits(folder, queue).await?;
    Ok(DynamicStorage::File(files))
}

fn io_error(error: mqtt5::MqttError) -> io::Error {
    io::Error::other(error)
}

/// Our own limits hold back instead of dropping.
fn unlimited() -> ResourceLimits {
    ResourceLimits {
        max_connections: usize::MAX,
        max_connections_per_ip: usize::MAX,
        max_message_rate_per_client: 0,
        max_bandwidth_per_client: 0,
        max_connection_rate: u32::MAX,
        rate_limit_window: Duration::from_secs(1),
    }
}
