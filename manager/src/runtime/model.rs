use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, time::Duration};

use chrono::{DateTime, Utc};
use ipnet::IpNet;
use uuid::Uuid;

use crate::{
    crypto,
    kernel::{InstanceId, ProjectId, Secret},
};

/// All that decides how a container is made. Nothing in it becomes a mount, a
/// device, a capability or a network of the user's choice.
#[derive(Clone, Debug)]
pub struct ContainerSpec {
    pub instance: InstanceId,
    pub project: ProjectId,
    /// `node-red` or `n8n`.
    pub engine: &'static str,
    /// `nodered-<subdomain>`; also the host name and first network alias.
    pub name: String,
    pub image: String,
    pub env: BTreeMap<String, Secret>,
    pub memory_bytes: i64,
    pub cpus: f64,
    /// Until [`Runtime::limit_cpus`](super::Runtime::limit_cpus) says
    /// otherwise; a start is worth more than what follows.
    pub start_cpus: f64,
    pub pids_max: i64,
    pub tmp_bytes: i64,
    /// Mounted at `/data`; belongs to `user`.
    pub data_dir: PathBuf,
    /// Mounted read-only at `/run/openflow`; belongs to `user`.
    pub secrets_dir: Option<PathBuf>,
    /// Numeric user and group.
    pub user: (u32, u32),
    /// Further names in the network; not part of the hash unless the routing
    /// depends on them.
    pub network_aliases: Vec<String>,
    /// Whether `network_aliases` count for the hash.
    pub aliases_pinned: bool,
    pub stop_grace: Duration,
}

impl ContainerSpec {
    /// SHA-256 (hex) of what would need a new container to change: the label
    /// `openflow.spec`. The container's name is not in it: it can be changed
    /// on a running one.
    pub fn hash(&self) -> String {
        let mut text = format!(
            "v1\n{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}:{}\n",
            self.engine,
            self.image,
            self.memory_bytes,
            self.cpus,
            self.pids_max,
            self.tmp_bytes,
            self.data_dir.display(),
            self.stop_grace.as_secs(),
            self.user.0,
            self.user.1,
        );
        if let Some(secrets) = &self.secrets_dir {
            text.push_str(&format!("secrets {}\n", secrets.display()));
        }
        for (name, value) in &self.env {
            text.push_str(&format!("{name}={:?}\n", value.expose()));
        }
        if self.aliases_pinned {
            text.push_str(&self.network_aliases.join(","));
        }
        crypto::sha256_hex(&text)
    }
}

/// A program that is run once in a throwaway container, confined as an
/// instance is, and without network.
#[derive(Clone, Debug)]
pub struct Rehearsal {
    /// The label `openflow.rehearsal`: a UUIDv7, which tells its age.
    pub id: Uuid,
    pub image: String,
    /// The program and its arguments, in place of the image's own.
    pub command: Vec<String>,
    pub env: BTreeMap<String, Secret>,
    pub memory_bytes: i64,
    pub cpus: f64,
    pub pids_max: i64,
    pub tmp_bytes: i64,
    /// Mounted at `/data`; belongs to `user`.
    pub data_dir: PathBuf,
    /// Mounted read-only at `/run/openflow`; belongs to `user`.
    pub secrets_dir: Option<PathBuf>,
    /// Numeric user and group.
    pub user: (u32, u32),
    /// It is killed after that time.
    pub limit: Duration,
}

/// How a [`Rehearsal`] ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// `None` when it was killed for its time.
    pub exit_code: Option<i64>,
    pub oom_killed: bool,
    /// The last of what it printed, at most [`Ended::OUTPUT_BYTES_MAX`] each;
    /// what is no UTF-8 is replaced.
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    pub const OUTPUT_BYTES_MAX: usize = 64 << 10;
}

/// A container of this installation as the engine reports it.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    pub instance: InstanceId,
    pub name: String,
    /// The label `openflow.spec`.
    pub spec_hash: String,
    pub state: ContainerState,
    /// In `openflow-network`; only while it runs.
    pub address: Option<IpAddr>,
    /// Of the last run; only while it does not run (the engine forgets it at
    /// the next start, [`RuntimeEvent::Died`] tells it meanwhile).
    pub exit_code: Option<i64>,
    pub oom_killed: bool,
    /// How often the engine restarted it by itself since it was last started.
    pub restart_count: i64,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerState {
    Created,
    Running,
    Paused,
    /// Waiting for the engine's own restart after a crash.
    Restarting,
    Exited,
    /// Being removed, or half removed: only removal helps.
    Dead,
}

/// The answer to a health request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Nothing listens, no answer in time, or not a success.
    Down,
    /// It answers; `flows` tells whether the flows (and webhooks) are up.
    Up { flows: bool },
}

/// A sample of what an instance uses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stats {
    /// 100 is one core.
    pub cpu_percent: f64,
    /// Without the page cache that the kernel can take back.
    pub memory_bytes: u64,
    pub memory_limit_bytes: u64,
    pub network_rx_bytes: u64,
    pub network_tx_bytes: u64,
    pub pids: u64,
}

/// A local image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    pub id: String,
    pub labels: BTreeMap<String, String>,
}

/// Something happened; look again rather than believe it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuntimeEvent {
    /// The stream begins: what happened before was not seen.
    Connected,
    Instance(InstanceId),
    /// Its main process ended, of its own or by a signal. Out of memory is 137
    /// (the kernel's kill) or 134 (V8's own limit).
    Died {
        instance: InstanceId,
        exit_code: i64,
    },
}

impl RuntimeEvent {
    /// The instance to look at; `None` means all.
    pub fn instance(&self) -> Option<InstanceId> {
        match self {
            Self::Connected => None,
            Self::Instance(instance) | Self::Died { instance, .. } => Some(*instance),
        }
    }
}

/// The network that all containers are in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkInfo {
    pub subnets: Vec<IpNet>,
    /// The host's own addresses in it: what `host.docker.internal` resolves to
    /// inside, and where instance-facing listeners can bind.
    pub gateways: Vec<IpAddr>,
}

impl NetworkInfo {
    /// Whether a caller with this address may be a container (or the host by
    /// its gateway address, which answers no).
    pub fn is_instance(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        !self.gateways.contains(&address) && self.subnets.iter().any(|net| net.contains(&address))
    }
}

/// Whether the host is closed to what runs in containers, for health and
/// doctor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// The network was not made yet.
    #[default]
    Unknown,
    Enforced,
    /// The rules are not in place: containers reach host services that listen
    /// on all addresses. Why, and what to do.
    Open(String),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The engine is away or did not answer in time.
    #[error("The container engine does not answer ({0}). Is Docker running?")]
    Unavailable(String),
    #[error("The image {0} is not on this host. Build or pull it, then try again.")]
    ImageMissing(String),
    #[error("A container named {0} exists already and is not Openflow's. Remove or rename it.")]
    NameTaken(String),
    /// The network for instances is not fit for use; what to do.
    #[error("{0}")]
    Network(String),
    #[error("The instance has no container.")]
    NoContainer,
    /// The engine said no; its words.
    #[error("The container engine refused: {0}")]
    Refused(String),
}
