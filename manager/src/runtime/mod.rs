//! Where instances run. One trait, one file per driver; `docker` is the only
//! place that names bollard.
mod docker;
mod fake;
mod model;
mod probe;

use std::net::SocketAddr;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::stream::BoxStream;
use uuid::Uuid;

pub use docker::{DockerConfig, DockerRuntime, LOG_CAP, Timeouts, Uninstalled};
pub use fake::{Call, FakeProbe, FakeRuntime, Moment, Op};
pub use model::{
    ContainerSpec, ContainerState, Ended, Error, Image, Isolation, NetworkInfo, Observed, Probe,
    Rehearsal, RuntimeEvent, Stats,
};

use crate::kernel::InstanceId;

/// What the manager needs of a container engine. Every call is idempotent
/// (asking twice is the same as asking once) and bounded in time; an engine
/// that does not answer is [`Error::Unavailable`]. Only containers that carry
/// this installation's labels are ever seen or touched.
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// Whether the engine answers; its version.
    async fn ping(&self) -> Result<String, Error>;

    /// Makes the network, and the rules that keep tenants apart and off the
    /// host, where absent. To be asked at the start, after every
    /// [`RuntimeEvent::Connected`] and now and then: a restarted engine or
    /// firewall forgets rules.
    async fn ensure_network(&self) -> Result<NetworkInfo, Error>;

    /// Whether the rules were in place at the last `ensure_network`.
    fn isolation(&self) -> Isolation;

    /// All containers of this installation, running or not.
    async fn list(&self) -> Result<Vec<Observed>, Error>;

    /// The instance's container; `None` when there is none.
    async fn observe(&self, id: InstanceId) -> Result<Option<Observed>, Error>;

    /// Makes the container, stopped. One of the same spec is kept, running or
    /// not; one of another spec is replaced.
    async fn create(&self, spec: &ContainerSpec) -> Result<(), Error>;

    /// Starts it, or unfreezes it when it is paused.
    async fn start(&self, id: InstanceId) -> Result<(), Error>;

    /// SIGTERM, then SIGKILL after the spec's grace; unfreezes a paused one.
    /// No container is stopped already.
    async fn stop(&self, id: InstanceId) -> Result<(), Error>;

    /// Freezes all its processes; only a running one.
    async fn pause(&self, id: InstanceId) -> Result<(), Error>;

    async fn unpause(&self, id: InstanceId) -> Result<(), Error>;

    /// Kills and removes the container. The data folder stays.
    async fn remove(&self, id: InstanceId) -> Result<(), Error>;

    /// Gives the container, running or not, another name. Network aliases stay
    /// as they were made.
    async fn rename(&self, id: InstanceId, name: &str) -> Result<(), Error>;

    /// Changes how many cores a container, running or not, may use.
    async fn limit_cpus(&self, id: InstanceId, cpus: f64) -> Result<(), Error>;

    /// One health request to `GET http://<address><path>`; connection refused
    /// and the like are `Probe::Down`, not errors.
    async fn probe(&self, address: SocketAddr, path: &str) -> Probe;

    /// The last `tail` lines of standard output and error, then, when
    /// `follow`, what comes. Ends with the container. Items are whole lines
    /// with their line feed, stderr and stdout mixed.
    async fn logs(
        &self,
        id: InstanceId,
        tail: u32,
        follow: bool,
    ) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error>;

    async fn stats(&self, id: InstanceId) -> Result<Stats, Error>;

    /// The local image; `None` when it is not there.
    async fn image(&self, reference: &str) -> Result<Option<Image>, Error>;

    /// Fetches the image from its registry.
    async fn pull(&self, reference: &str) -> Result<(), Error>;

    /// Runs a container without network until it ends or its time is over,
    /// and removes it. It is of no instance: nothing else here sees it. A
    /// container that could not be made or watched is an error; how it ended,
    /// and whatever it printed, is the answer.
    async fn run_once(&self, rehearsal: &Rehearsal) -> Result<Ended, Error>;

    /// Kills and removes the container of that run, which nobody waits for any
    /// more. None such is fine.
    async fn end_run(&self, id: Uuid) -> Result<(), Error>;

    /// Kills and removes what [`Runtime::run_once`] left behind when its
    /// manager was killed: runs whose ids, UUIDv7, were drawn before that time.
    /// Later ones may be another manager's, under way.
    async fn sweep_rehearsals(&self, drawn_before: DateTime<Utc>) -> Result<(), Error>;

    /// What happens to this installation's containers, until the engine hangs
    /// up. The first item is always [`RuntimeEvent::Connected`].
    async fn events(&self) -> Result<BoxStream<'static, RuntimeEvent>, Error>;
}
