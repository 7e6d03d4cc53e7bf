use std::{net::SocketAddr, sync::Arc};

use axum::Router;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Settings, instance_side::InstanceSide, router, slices::Slices};
use crate::{
    access, backups,
    db::Db,
    identity::{self, Identity, SignInRates},
    instances::{Instances, Reconciler, restores},
    jobs::{self, Job, Wake},
    kernel::Clock,
    mqtt::{self, SharedBroker},
    runtime::Runtime,
    stacks::{CheckImages, Stacks},
};

/// What the manager stands on.
#[derive(Clone)]
pub struct System {
    pub db: Db,
    pub clock: Arc<dyn Clock>,
    pub runtime: Arc<dyn Runtime>,
    pub sign_in_rates: SignInRates,
    pub mqtt: mqtt::Foundation,
    /// Made on `mqtt`.
    pub broker: SharedBroker,
}

/// The manager without its sockets.
pub struct Core {
    /// All that it answers; wants `ConnectInfo<SocketAddr>` of the caller.
    pub router: Router,
    pub identity: Identity,
    pub stacks: Stacks,
    pub instances: Instances,
    pub instance_side: InstanceSide,
    system: System,
    slices: Slices,
    reconciler: Reconciler,
}

impl Core {
    /// The database has been migrated. `address` is where the proxy reaches
    /// this manager.
    pub async fn build(
        settings: &Settings,
        system: System,
        address: SocketAddr,
    ) -> anyhow::Result<Self> {
        let slices = Slices::make(settings, &system, address).await?;
        let instance_side = InstanceSide::default();
        let at_once = settings.config.limits.reconcile_concurrency as usize;
        Ok(Self {
            router: router::router(&settings.secrets, &system, &slices, &instance_side),
            identity: slices.identity.clone(),
            stacks: slices.stacks.clone(),
            instances: slices.instances.clone(),
            instance_side,
            reconciler: Reconciler::new(slices.instances.clone(), at_once),
            system,
            slices,
        })
    }

    /// Begins the background work; it ends with `stop`.
    pub fn spawn(&self, tracker: &TaskTracker, stop: &CancellationToken) {
        let it = &self.slices;
        let (db, changes) = (self.system.db.clone(), it.changes.clone());
        // Subscribers first: nothing that the follower tells is missed.
        tracker.spawn(it.feed.clone().run(changes.clone(), stop.clone()));
        it.mqtt.spawn(tracker, &changes, stop);
        self.reconciler.clone().spawn(tracker, stop.clone());
        backups::Runner::new(it.backups.clone()).spawn(tracker, stop.clone());
        let stop_following = stop.clone();
        tracker.spawn(async move { changes.follow(&db, stop_following).await });
        let check = CheckImages {
            stacks: it.stacks.clone(),
            runtime: self.system.runtime.clone(),
        };
        jobs::spawn(tracker, stop.clone(), it.check_images.clone(), check);
        let identity = it.identity.clone();
        by_period(tracker, stop, restores::CleanUp(it.instances.clone()));
        by_period(tracker, stop, backups::Measure(it.backups.clone()));
        by_period(tracker, stop, access::Purge(it.access.clone()));
        by_period(tracker, stop, identity::Purge { identity });
    }
}

/// A job that nobody wakes.
fn by_period(tracker: &TaskTracker, stop: &CancellationToken, job: impl Job) {
    jobs::spawn(tracker, stop.clone(), Wake::default(), job);
}
