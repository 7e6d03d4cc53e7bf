//! The reconciler: woken by changes of the intent, by the engine's events and
//! by a period, it takes one look at a time at each instance. One manager of
//! the cluster does it; the others stand by.
mod crash;
mod pass;
mod queue;
mod restore;
mod seed;
mod up;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::StreamExt as _;
use tokio::{sync::Semaphore, time::MissedTickBehavior};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Instances, store};
use crate::{
    db::{Change, Lease, Topic},
    kernel::{InstanceId, News},
    runtime::RuntimeEvent,
};
use queue::Queue;

const LEASE: &str = "instances.reconcile";
const LEASE_CHECK: Duration = Duration::from_secs(5);
/// How often everything is looked at without being told.
const PERIOD: Duration = Duration::from_secs(30);
/// Before another try to lead, or to follow the engine's events.
const PAUSE: Duration = Duration::from_secs(2);
const PAGE: i64 = 200;

/// Brings what runs to what should run.
#[derive(Clone)]
pub struct Reconciler {
    pub(super) instances: Instances,
    engine_slots: Arc<Semaphore>,
    /// Exit codes by instance, from the engine's events: once it has restarted
    /// a container by itself, the container no longer tells.
    exit_codes: Arc<Mutex<HashMap<InstanceId, i64>>>,
}

impl Reconciler {
    /// `at_once` instances are made, started or stopped at the same time; more
    /// would only slow each other down.
    pub fn new(instances: Instances, at_once: usize) -> Self {
        Self {
            instances,
            engine_slots: Arc::new(Semaphore::new(at_once)),
            exit_codes: Arc::default(),
        }
    }

    /// Leads whenever no other manager does, until `stop`.
    pub fn spawn(self, tracker: &TaskTracker, stop: CancellationToken) {
        tracker.spawn(async move {
            let mut news = News::default();
            while !stop.is_cancelled() {
                let taken = Lease::try_take(&self.instances.parts.db, LEASE).await;
                match taken {
                    Ok(lease) => {
                        news.over();
                        if let Some(lease) = lease {
                            self.lead(lease, &stop).await;
                        }
                    }
                    Err(error) if !news.is(&error) => {}
                    Err(error) => {
                        tracing::warn!(%error, "cannot take the reconciler's lease: {error}")
                    }
                }
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
        });
    }

    async fn lead(&self, mut lease: Lease, stop: &CancellationToken) {
        tracing::info!("this manager reconciles");
        let term = stop.child_token();
        let queue = Queue::new(self.clone(), term.clone());
        tokio::join!(
            self.follow_changes(&queue, &term),
            self.follow_engine(&queue, &term),
            self.look_at_everything(&queue, &term),
            async {
                keep(&mut lease, &term).await;
                term.cancel();
            },
        );
        queue.drained().await;
        lease.give_back().await;
    }

    async fn follow_changes(&self, queue: &Queue, term: &CancellationToken) {
        let mut changes = self.instances.parts.changes.subscribe();
        loop {
            let change = tokio::select! {
                () = term.cancelled() => return,
                change = changes.next() => change,
            };
            match change {
                Some(Change::Row {
                    topic: Topic::Intent,
                    id,
                }) => queue.look(InstanceId(id)),
                Some(Change::All) => self.queue_all(queue).await,
                Some(Change::Row { .. }) => {}
                None => return,
            }
        }
    }

    async fn follow_engine(&self, queue: &Queue, term: &CancellationToken) {
        while !term.is_cancelled() {
            tokio::select! {
                () = term.cancelled() => return,
                () = self.follow_engine_once(queue) => {}
            }
            tokio::select! {
                () = term.cancelled() => return,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    async fn follow_engine_once(&self, queue: &Queue) {
        let mut events = match self.instances.parts.runtime.events().await {
            Ok(events) => events,
            Err(error) => {
                tracing::debug!(%error, "no events from the container engine: {error}");
                return;
            }
        };
        while let Some(event) = events.next().await {
            match event {
                RuntimeEvent::Connected => self.queue_all(queue).await,
                RuntimeEvent::Instance(id) => queue.look(id),
                RuntimeEvent::Died {
                    instance,
                    exit_code,
                } => {
                    self.codes().insert(instance, exit_code);
                    queue.look(instance);
                }
            }
        }
    }

    fn codes(&self) -> MutexGuard<'_, HashMap<InstanceId, i64>> {
        self.exit_codes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn look_at_everything(&self, queue: &Queue, term: &CancellationToken) {
        let mut period = tokio::time::interval(PERIOD);
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = term.cancelled() => return,
                _ = period.tick() => self.queue_all(queue).await,
            }
        }
    }

    /// Every row, and every container: one without a row is an orphan.
    async fn queue_all(&self, queue: &Queue) {
        if let Err(error) = self.queue_rows(queue).await {
            tracing::warn!(%error, "cannot list the instances: {error}");
        }
        match self.instances.parts.runtime.list().await {
            Ok(containers) => containers.iter().for_each(|it| queue.look(it.instance)),
            Err(error) => tracing::debug!(%error, "cannot list the containers: {error}"),
        }
    }

    async fn queue_rows(&self, queue: &Queue) -> sqlx::Result<()> {
        let mut after = None;
        loop {
            let mut tx = self.instances.parts.db.begin_system().await?;
            let ids = store::ids(&mut tx, after, PAGE).await?;
            drop(tx);
            ids.iter().for_each(|id| queue.look(*id));
            let Some(last) = ids.last() else {
                return Ok(());
            };
            after = Some(*last);
        }
    }
}

/// Until the lease is lost or the term ends.
async fn keep(lease: &mut Lease, term: &CancellationToken) {
    loop {
        tokio::select! {
            () = term.cancelled() => return,
            () = tokio::time::sleep(LEASE_CHECK) => {}
        }
        if let Err(error) = lease.check().await {
            tracing::warn!(%error, "lost the reconciler's lease: {error}");
            return;
        }
    }
}
