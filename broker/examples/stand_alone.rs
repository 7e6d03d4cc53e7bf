//! The broker alone, for interoperability tests and measurements.
//!
//! `cargo run -p openflow-broker --example stand_alone -- --tcp 127.0.0.1:1883 --users users.txt`
//! where each line of the file is `username password tenant-uuid`, and two more words if the user may not do
//! everything: what may be published and subscribed to, as filters with commas between, `*` for everything.
use std::{collections::HashMap, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use clap::Parser;
use openflow_broker::{
    Attempt, Authenticator, Broker, Connection, DropReason, Events, Grant, Limits, Refusal,
    Refused, Settings, TopicRules, drop_layer, listen,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::{
    EnvFilter, Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};
use uuid::Uuid;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Parser)]
struct Options {
    #[arg(long)]
    tcp: Option<SocketAddr>,
    #[arg(long)]
    websocket: Option<SocketAddr>,
    /// With --cert and --key.
    #[arg(long, requires_all = ["cert", "key"])]
    tls: Option<SocketAddr>,
    /// With --cert and --key.
    #[arg(long, requires_all = ["cert", "key"])]
    secure_websocket: Option<SocketAddr>,
    #[arg(long)]
    cert: Option<PathBuf>,
    #[arg(long)]
    key: Option<PathBuf>,
    /// A line for each: username password tenant-uuid [publish subscribe]
    #[arg(long)]
    users: Option<PathBuf>,
    /// The tenant of clients that give no user name.
    #[arg(long)]
    anonymous_tenant: Option<Uuid>,
    #[arg(long, default_value = "mqtt-data")]
    dir: PathBuf,
    /// Connections, rates, queues and inflight as large as they get, for measurements.
    #[arg(long)]
    unlimited: bool,
    #[arg(long)]
    threads: Option<usize>,
    /// Prints statistics every so many seconds.
    #[arg(long)]
    stats: Option<u64>,
}

struct Users {
    known: HashMap<String, (String, Grant)>,
    anonymous: Option<Uuid>,
}

impl Authenticator for Users {
    fn authenticate(&self, attempt: &Attempt<'_>) -> Result<Grant, Refusal> {
        let grant = match self.known.get(attempt.username) {
            Some((password, grant)) if password.as_bytes() == attempt.password => {
                Some(grant.clone())
            }
            None if attempt.username.is_empty() => self.anonymous.map(|tenant| Grant {
                tenant,
                rules: None,
            }),
            _ => None,
        };
        grant.ok_or(Refusal::BadCredentials)
    }
}

fn filters(word: &str) -> Option<Vec<String>> {
    (word != "*").then(|| word.split(',').map(str::to_owned).collect())
}

impl Users {
    fn read(options: &Options) -> Result<Self, Failure> {
        let mut known = HashMap::new();
        if let Some(path) = &options.users {
            for line in std::fs::read_to_string(path)?.lines() {
                let words: Vec<_> = line.split_whitespace().collect();
                let (user, password, tenant, rules) = match words[..] {
                    [] => continue,
                    [user, password, tenant] => (user, password, tenant, None),
                    [user, password, tenant, publish, subscribe] => {
                        let rules = TopicRules {
                            publish: filters(publish),
                            subscribe: filters(subscribe),
                        };
                        (user, password, tenant, Some(Arc::new(rules)))
                    }
                    _ => return Err(format!("not 'username password tenant': {line}").into()),
                };
                let tenant = tenant.parse()?;
                let entry = (password.to_owned(), Grant { tenant, rules });
                known.insert(user.to_owned(), entry);
            }
        }
        Ok(Self {
            known,
            anonymous: options.anonymous_tenant,
        })
    }
}

struct Log;

impl Events for Log {
    fn connected(&self, connection: &Connection) {
        tracing::debug!(?connection, "connected");
    }

    fn disconnected(&self, connection: &Connection, reason: &str) {
        tracing::debug!(connection.id, connection.client_id, reason, "disconnected");
    }

    fn dropped(&self, tenant: Uuid, count: u64, reason: DropReason) {
        tracing::warn!(%tenant, count, reason = reason.as_str(), "dropped");
    }

    fn refused(&self, refused: &Refused<'_>) {
        tracing::info!(?refused, "refused");
    }
}

fn main() -> Result<(), Failure> {
    let options = Options::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| "info,mqtt5=error".into());
    tracing_subscriber::registry()
        .with(drop_layer())
        .with(
            tracing_subscriber::fmt::layer()
                .with_writer(std::io::stderr)
                .with_filter(filter),
        )
        .init();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = options.threads {
        runtime.worker_threads(threads);
    }
    runtime.enable_all().build()?.block_on(run(options))
}

async fn run(options: Options) -> Result<(), Failure> {
    let users = Arc::new(Users::read(&options)?);
    let settings = Settings {
        dir: options.dir.clone(),
        limits: limits(options.unlimited),
    };
    let broker = Broker::open(settings, users, Arc::new(Log)).await?;
    let stop = CancellationToken::new();
    if let Some(address) = options.tcp {
        let listener = TcpListener::bind(address).await?;
        tokio::spawn(listen::tcp(listener, broker.clone(), stop.clone()));
    }
    if let Some(address) = options.websocket {
        let listener = TcpListener::bind(address).await?;
        tokio::spawn(listen::websocket(listener, broker.clone(), stop.clone()));
    }
    if let (Some(cert), Some(key)) = (&options.cert, &options.key) {
        let tls = tls(cert, key)?;
        if let Some(address) = options.tls {
            let listener = TcpListener::bind(address).await?;
            let tls = Arc::clone(&tls);
            tokio::spawn(listen::tls(listener, tls, broker.clone(), stop.clone()));
        }
        if let Some(address) = options.secure_websocket {
            let listener = TcpListener::bind(address).await?;
            let listening = listen::secure_websocket(listener, tls, broker.clone(), stop.clone());
            tokio::spawn(listening);
        }
    }
    if let Some(seconds) = options.stats {
        let broker = broker.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                tracing::info!(stats = ?broker.stats());
            }
        });
    }
    tracing::info!("ready");
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    stop.cancel();
    broker.shutdown().await;
    Ok(())
}

fn limits(unlimited: bool) -> Limits {
    if !unlimited {
        return Limits::default();
    }
    Limits {
        connections: usize::MAX,
        sessions: usize::MAX,
        messages_per_second: u32::MAX,
        bytes_per_second: u64::MAX,
        queued_messages: 100_000,
        queued_bytes: 64 << 20,
        pending: 20_000,
        pending_per_address: 20_000,
        ..Limits::default()
    }
}

fn tls(cert: &PathBuf, key: &PathBuf) -> Result<listen::TlsSource, Failure> {
    let chain = CertificateDer::pem_file_iter(cert)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    let config = Arc::new(config);
    Ok(Arc::new(move || Arc::clone(&config)))
}
