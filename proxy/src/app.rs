//! Puts the proxy together: binds, starts the workers, and drains at the end.
use std::{net::SocketAddr, sync::Arc, thread::JoinHandle, time::Duration};

use anyhow::Context as _;
use tokio::{net::TcpListener, task::JoinSet, time::timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admin::Admin,
    config::Config,
    context::Shared,
    forward::{clear_pool, sweep_pool},
    listener::{Acceptor, Listeners, Tls},
    metrics::Metrics,
    routes::{Manager, Tables, follow_feed, follow_file, load_cache, load_file},
};

/// Offered in TLS handshakes, the preferred first.
const HTTP: &[&[u8]] = &[b"h2", b"http/1.1"];
const SWEEP_PERIOD: Duration = Duration::from_secs(1);
const FIRST_TABLE_PAUSE: Duration = Duration::from_millis(10);
/// For a worker to end after its last connection did.
const WORKER_GRACE: Duration = Duration::from_secs(5);

/// A proxy whose addresses are bound; nothing is answered until [`Proxy::serve`].
pub struct Proxy {
    config: Config,
    shared: Arc<Shared>,
    plain: Listeners,
    secure: Option<Listeners>,
    tls: Option<Tls>,
    admin: Option<TcpListener>,
}

impl Proxy {
    /// Reads the certificates and the table, and binds every address. Port 0
    /// takes a free one; see [`Proxy::address`].
    ///
    /// # Errors
    /// When an address is in use, a certificate or the fixed table is missing or
    /// wrong, or the manager's URL cannot be used. The message says what to do.
    pub async fn bind(mut config: Config) -> anyhow::Result<Self> {
        if config.threads == 0 {
            config.threads = std::thread::available_parallelism().map_or(1, usize::from);
        }
        raise_open_files();
        let tables = Arc::new(Tables::new());
        let manager = match &config.routes {
            Some(path) => {
                tables.publish(load_file(path)?);
                None
            }
            None => {
                if let Some(cache) = &config.table_cache {
                    load_cache(&tables, cache);
                }
                Some(Arc::new(Manager::new(
                    &config.manager,
                    config.secret.clone(),
                )?))
            }
        };
        let plain = Listeners::bind(config.listen, config.threads)?;
        let (tls, secure) = match config.listen_tls {
            Some(address) => (
                Some(Tls::load(&config.tls)?),
                Some(Listeners::bind(address, config.threads)?),
            ),
            None => (None, None),
        };
        let admin = match config.admin_listen {
            Some(address) => {
                let bound = TcpListener::bind(address).await;
                Some(bound.with_context(|| {
                    format!("cannot listen on {address} for /ready and /metrics")
                })?)
            }
            None => None,
        };
        let mut shared = Shared::new(&config, tables, manager);
        if config.redirect_https {
            let port = secure.as_ref().map_or(443, |secure| secure.address.port());
            shared.redirect_to_port = Some(port);
        }
        Ok(Self {
            config,
            shared: Arc::new(shared),
            plain,
            secure,
            tls,
            admin,
        })
    }

    /// Where plain HTTP is answered.
    pub fn address(&self) -> SocketAddr {
        self.plain.address
    }

    /// Where TLS is answered.
    pub fn tls_address(&self) -> Option<SocketAddr> {
        self.secure.as_ref().map(|secure| secure.address)
    }

    /// Where `/ready` and `/metrics` are answered.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref()?.local_addr().ok()
    }

    /// Resolves once the manager has answered with a table: from then on the
    /// hosts of this moment are known. Wait for it beside [`Proxy::serve`].
    pub fn first_table(&self) -> impl Future<Output = ()> + Send + use<> {
        let shared = Arc::clone(&self.shared);
        async move {
            while shared.tables.age().is_none() {
                tokio::time::sleep(FIRST_TABLE_PAUSE).await;
            }
        }
    }

    /// Serves until `shutdown`, then drains: no new connections, idle ones and
    /// tunnels closed, requests under way finished within the drain timeout.
    ///
    /// # Errors
    /// When a worker cannot be started, or one fails.
    pub async fn serve(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let Self {
            config,
            shared,
            plain,
            secure,
            tls,
            admin,
        } = self;
        tracing::info!(address = %plain.address, threads = config.threads, "the proxy listens");
        // The workers stop when this future is dropped, too.
        let _stop = shared.stopping.clone().drop_guard();
        let acceptor = tls.as_ref().map(|it| it.acceptor(HTTP)).transpose()?;
        let metrics: Vec<_> = (0..config.threads)
            .map(|_| Arc::new(Metrics::default()))
            .collect();
        let mut background = JoinSet::new();
        follow_routes(&mut background, &config, &shared);
        if let Some(tls) = tls {
            background.spawn(tls.follow_files());
        }
        if let Some(listener) = admin {
            let admin = Arc::new(Admin {
                tables: Arc::clone(&shared.tables),
                workers: metrics.clone(),
            });
            background.spawn(admin.run(listener));
        }
        let mut secure = secure.map(|secure| secure.sockets.into_iter());
        let mut workers = JoinSet::new();
        for (number, (socket, metrics)) in plain.sockets.into_iter().zip(metrics).enumerate() {
            let worker = Worker {
                shared: Arc::clone(&shared),
                metrics,
                plain: socket,
                secure: secure
                    .as_mut()
                    .and_then(Iterator::next)
                    .zip(acceptor.clone()),
            };
            let thread = worker.start(number)?;
            workers.spawn_blocking(move || thread.join());
        }
        let early = tokio::select! {
            () = shutdown.cancelled() => None,
            ended = workers.join_next() => ended,
        };
        tracing::info!("the proxy stops; requests under way are finished");
        shared.stopping.cancel();
        if let Some(ended) = early {
            check(ended)?;
        }
        while let Some(ended) = workers.join_next().await {
            check(ended)?;
        }
        Ok(())
    }
}

type Ended = Result<std::thread::Result<anyhow::Result<()>>, tokio::task::JoinError>;

fn check(ended: Ended) -> anyhow::Result<()> {
    ended?.map_err(|_| anyhow::anyhow!("a worker thread panicked"))?
}

fn follow_routes(background: &mut JoinSet<()>, config: &Config, shared: &Shared) {
    let tables = Arc::clone(&shared.tables);
    match (&config.routes, &shared.manager) {
        (Some(path), _) => background.spawn(follow_file(tables, path.clone())),
        (None, Some(manager)) => {
            let cache = config.table_cache.clone();
            background.spawn(follow_feed(tables, Arc::clone(manager), cache))
        }
        (None, None) => return,
    };
}

/// One thread with its own reactor, sockets and connection pool.
struct Worker {
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
    plain: std::net::TcpListener,
    secure: Option<(std::net::TcpListener, TlsAcceptor)>,
}

impl Worker {
    fn start(self, number: usize) -> anyhow::Result<JoinHandle<anyhow::Result<()>>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = std::thread::Builder::new().name(format!("proxy-{number}"));
        let started = thread.spawn(move || {
            let ended = runtime.block_on(self.run());
            clear_pool();
            runtime.shutdown_background();
            ended
        });
        started.context("starting a worker thread")
    }

    async fn run(self) -> anyhow::Result<()> {
        let tasks = TaskTracker::new();
        let acceptor = |tls| Acceptor {
            shared: Arc::clone(&self.shared),
            metrics: Arc::clone(&self.metrics),
            tasks: tasks.clone(),
            tls,
        };
        let mut accepting = JoinSet::new();
        accepting.spawn(acceptor(None).run(TcpListener::from_std(self.plain)?));
        if let Some((socket, tls)) = self.secure {
            accepting.spawn(acceptor(Some(tls)).run(TcpListener::from_std(socket)?));
        }
        let stopping = &self.shared.stopping;
        while !stopping.is_cancelled() {
            timeout(SWEEP_PERIOD, stopping.cancelled()).await.ok();
            sweep_pool();
        }
        accepting.join_all().await;
        tasks.close();
        let patience = self.shared.limits.drain_timeout + WORKER_GRACE;
        timeout(patience, tasks.wait()).await.ok();
        Ok(())
    }
}

/// Each request under way needs two descriptors; the usual soft limit is 1024.
fn raise_open_files() {
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
}
