//! The driver for one Docker Engine. It keeps nothing that matters: what is,
//! is asked from the engine by the labels of this installation.
mod containers;
mod create;
mod error;
mod firewall;
mod images;
mod iptables;
mod logs;
mod map;
mod network;
mod once;
mod rules;
mod stats;
mod uninstall;

use std::{
    future::Future,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bollard::{API_DEFAULT_VERSION, Docker, errors::Error as EngineError};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::stream::BoxStream;
use ipnet::IpNet;
use uuid::Uuid;

use super::{
    ContainerSpec, Ended, Error, Image, Isolation, NetworkInfo, Observed, Probe, Rehearsal,
    Runtime, RuntimeEvent, Stats, probe,
};
use crate::kernel::{InstanceId, drawn_before};

pub use uninstall::Uninstalled;

/// Goes behind every log filter: the engine's client logs the bodies of its
/// requests, and with them the instances' secrets, at finer levels.
pub const LOG_CAP: &str = "bollard=info";

/// The client's own limit; every call is bounded here, more tightly.
const CLIENT_TIMEOUT_S: u64 = 24 * 3600;

#[derive(Clone, Debug)]
pub struct DockerConfig {
    /// `unix:///path`, a path, or `tcp://host:port`.
    pub host: String,
    /// Marks what is ours on an engine that several managers share.
    pub installation: Uuid,
    /// The bridge network of all instances.
    pub network: String,
    /// Its subnet; `None` takes one of the engine's pools.
    pub subnet: Option<IpNet>,
    /// TCP ports that instances reach at `host.docker.internal`: the manager's
    /// and the broker's.
    pub host_ports: Vec<u16>,
    /// TCP ports that instances reach at every address of the host, as the
    /// rest of the world does: the proxy's, so that a flow can call a webhook
    /// by its public URL.
    pub public_ports: Vec<u16>,
    /// Private networks that instances may reach all the same.
    pub allowed_networks: Vec<IpNet>,
    /// Services (name or address, and TCP port) that instances may reach all
    /// the same, wherever they are.
    pub allowed_services: Vec<(String, u16)>,
    /// Off where somebody else keeps the host closed.
    pub manage_firewall: bool,
    /// Of one log file; there are [`DockerConfig::log_files`] per container.
    pub log_file_bytes: u64,
    pub log_files: u32,
    pub timeouts: Timeouts,
}

/// How long the engine may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// To answer a question.
    pub query: Duration,
    /// To make, start or remove something; a stop has the grace on top.
    pub change: Duration,
    pub pull: Duration,
}

impl DockerConfig {
    pub const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";
    pub const DEFAULT_NETWORK: &str = "openflow-network";

    /// The engine of this host, with the default names and limits and no port
    /// open.
    pub fn new(installation: Uuid) -> Self {
        Self {
            host: Self::DEFAULT_HOST.into(),
            installation,
            network: Self::DEFAULT_NETWORK.into(),
            subnet: None,
            host_ports: Vec::new(),
            public_ports: Vec::new(),
            allowed_networks: Vec::new(),
            allowed_services: Vec::new(),
            manage_firewall: true,
            log_file_bytes: 5 << 20,
            log_files: 3,
            timeouts: Timeouts {
                query: Duration::from_secs(15),
                change: Duration::from_secs(60),
                pull: Duration::from_secs(30 * 60),
            },
        }
    }
}

/// Connects at the first call and again whenever the engine was away.
pub struct DockerRuntime {
    config: DockerConfig,
    client: Mutex<Option<Docker>>,
    network: Mutex<Option<network::Network>>,
    isolation: Mutex<Isolation>,
    /// Where `allowed_services` were found last.
    services: Mutex<Vec<SocketAddr>>,
    samples: stats::Samples,
}

impl DockerRuntime {
    /// Does no I/O.
    pub fn connect(config: DockerConfig) -> Self {
        Self {
            config,
            client: Mutex::default(),
            network: Mutex::default(),
            isolation: Mutex::default(),
            services: Mutex::default(),
            samples: stats::Samples::default(),
        }
    }

    /// One request to the engine, at most `limit` long.
    async fn call<T, F>(
        &self,
        limit: Duration,
        request: impl FnOnce(Docker) -> F + Send,
    ) -> Result<T, EngineError>
    where
        F: Future<Output = Result<T, EngineError>> + Send,
    {
        let work = async { request(self.client().await?).await };
        let result = match tokio::time::timeout(limit, work).await {
            Ok(result) => result,
            Err(_) => Err(EngineError::RequestTimeoutError),
        };
        if let Err(error) = &result
            && error::status(error).is_none()
        {
            // Another engine, with another version, may come back.
            *lock(&self.client) = None;
        }
        result
    }

    async fn query<T, F>(&self, request: impl FnOnce(Docker) -> F + Send) -> Result<T, EngineError>
    where
        F: Future<Output = Result<T, EngineError>> + Send,
    {
        self.call(self.config.timeouts.query, request).await
    }

    async fn change<T, F>(&self, request: impl FnOnce(Docker) -> F + Send) -> Result<T, EngineError>
    where
        F: Future<Output = Result<T, EngineError>> + Send,
    {
        self.call(self.config.timeouts.change, request).await
    }

    async fn client(&self) -> Result<Docker, EngineError> {
        let known = lock(&self.client).clone();
        if let Some(client) = known {
            return Ok(client);
        }
        let host = self.config.host.as_str();
        let client = if host.starts_with("unix://") || host.starts_with('/') {
            Docker::connect_with_unix(host, CLIENT_TIMEOUT_S, API_DEFAULT_VERSION)?
        } else {
            Docker::connect_with_host(host)?.with_timeout(Duration::from_secs(CLIENT_TIMEOUT_S))
        };
        let client = client.negotiate_version().await?;
        *lock(&self.client) = Some(client.clone());
        Ok(client)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Runtime for DockerRuntime {
    async fn ping(&self) -> Result<String, Error> {
        let version = self.query(|docker| async move { docker.version().await });
        Ok(version.await?.version.unwrap_or_default())
    }

    async fn ensure_network(&self) -> Result<NetworkInfo, Error> {
        let network = self.make_network().await?;
        let isolation = self.close_host(&network).await;
        self.note_isolation(isolation);
        let info = network.info.clone();
        *lock(&self.network) = Some(network);
        Ok(info)
    }

    fn isolation(&self) -> Isolation {
        lock(&self.isolation).clone()
    }

    async fn list(&self) -> Result<Vec<Observed>, Error> {
        self.list_containers().await
    }

    async fn observe(&self, id: InstanceId) -> Result<Option<Observed>, Error> {
        self.observe_container(id).await
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<(), Error> {
        self.create_container(spec).await
    }

    async fn start(&self, id: InstanceId) -> Result<(), Error> {
        self.start_container(id).await
    }

    async fn stop(&self, id: InstanceId) -> Result<(), Error> {
        self.stop_container(id).await
    }

    async fn pause(&self, id: InstanceId) -> Result<(), Error> {
        self.pause_container(id).await
    }

    async fn unpause(&self, id: InstanceId) -> Result<(), Error> {
        self.unpause_container(id).await
    }

    async fn remove(&self, id: InstanceId) -> Result<(), Error> {
        self.remove_containers(id).await
    }

    async fn rename(&self, id: InstanceId, name: &str) -> Result<(), Error> {
        self.rename_container(id, name).await
    }

    async fn limit_cpus(&self, id: InstanceId, cpus: f64) -> Result<(), Error> {
        self.limit_container_cpus(id, cpus).await
    }

    async fn probe(&self, address: SocketAddr, path: &str) -> Probe {
        probe::probe(address, path).await
    }

    async fn logs(
        &self,
        id: InstanceId,
        tail: u32,
        follow: bool,
    ) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error> {
        self.container_logs(id, tail, follow).await
    }

    async fn stats(&self, id: InstanceId) -> Result<Stats, Error> {
        self.container_stats(id).await
    }

    async fn image(&self, reference: &str) -> Result<Option<Image>, Error> {
        self.local_image(reference).await
    }

    async fn pull(&self, reference: &str) -> Result<(), Error> {
        self.pull_image(reference).await
    }

    async fn run_once(&self, rehearsal: &Rehearsal) -> Result<Ended, Error> {
        self.run_container_once(rehearsal).await
    }

    async fn end_run(&self, id: Uuid) -> Result<(), Error> {
        self.remove_rehearsals(|it| it == id).await
    }

    async fn sweep_rehearsals(&self, at: DateTime<Utc>) -> Result<(), Error> {
        self.remove_rehearsals(|it| drawn_before(it, at)).await
    }

    async fn events(&self) -> Result<BoxStream<'static, RuntimeEvent>, Error> {
        self.container_events().await
    }
}
