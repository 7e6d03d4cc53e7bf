//! One manager of the cluster makes the backups: it writes down whose turn it
//! is, takes what waits, and keeps what is there in order. The others stand by.
use std::{collections::HashMap, time::Duration};

use tokio::task::{Id, JoinSet};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use super::{one::Making, store};
use crate::{
    backups::{
        Backups, Error, Term, Trigger, VerificationLevel, policies, service::pending,
        store as backups,
    },
    db::{Change, ChangeReceiver, Lease, Topic},
    kernel::BackupId,
};

const LEASE: &str = "backups.run";
const LEASE_CHECK: Duration = Duration::from_secs(5);
/// Before another try to lead.
const PAUSE: Duration = Duration::from_secs(2);
/// How often it is looked at without being told.
const PERIOD: Duration = Duration::from_secs(5);
const TIDY_PERIOD: Duration = Duration::from_secs(3600);
const BATCH: i64 = 200;
const FELL: &str = "Something went wrong on our side; the log of the manager has it.";
/// Reading back takes the same disks and cores.
const VERIFICATIONS_MAX: usize = 1;

/// Makes backups whenever no other manager does.
pub struct Runner {
    backups: Backups,
}

/// What is under way.
#[derive(Default)]
struct UnderWay {
    tasks: JoinSet<()>,
    made: HashMap<Id, BackupId>,
    read: usize,
    /// What goes to and from the bucket.
    bucket: Option<Id>,
    bucket_is_due: bool,
    /// Their task ended without a word.
    fallen: Vec<BackupId>,
}

impl Runner {
    pub fn new(backups: Backups) -> Self {
        Self { backups }
    }

    pub fn spawn(self, tracker: &TaskTracker, stop: CancellationToken) {
        tracker.spawn(async move {
            while !stop.is_cancelled() {
                match Lease::try_take(&self.backups.parts.db, LEASE).await {
                    Ok(Some(lease)) => self.lead(lease, &stop).await,
                    Ok(None) => {}
                    Err(error) => {
                        tracing::warn!(%error, "cannot take the lease of the backups: {error}");
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
        let token = stop.child_token();
        let changes = self.backups.parts.changes.subscribe();
        tokio::join!(self.work(changes, &token), async {
            keep(&mut lease, &token).await;
            token.cancel();
        });
        lease.give_back().await;
    }

    async fn work(&self, mut changes: ChangeReceiver, stop: &CancellationToken) {
        let term = Term(Uuid::now_v7());
        if let Err(error) = self.backups.recover(term).await {
            // Without it, nothing may be begun: another try with the next term.
            tracing::warn!(%error, "cannot take over the backups: {error}");
            stop.cancel();
            return;
        }
        tracing::info!("this manager makes the backups");
        let mut under_way = UnderWay::default();
        let mut look = tokio::time::interval(PERIOD);
        let mut tidy = tokio::time::interval(TIDY_PERIOD);
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => {}
                _ = look.tick() => {
                    under_way.bucket_is_due = true;
                    self.logged("whose turn it is", self.enqueue()).await;
                }
                _ = tidy.tick() => {
                    self.logged("the old backups", self.backups.tidy()).await;
                    self.logged("what is to be tried out", self.backups.plan_rehearsals()).await;
                    self.logged("the bucket", self.backups.tidy_bucket()).await;
                }
                () = told(&mut changes) => under_way.bucket_is_due = true,
                Some(ended) = under_way.tasks.join_next_with_id() => under_way.ended(ended),
            }
            if !stop.is_cancelled() {
                let begun = self.begin(&mut under_way, term, stop).await;
                self.logged("what waits", async { begun }).await;
            }
        }
        while let Some(ended) = under_way.tasks.join_next_with_id().await {
            under_way.ended(ended);
        }
    }

    async fn logged(&self, what: &str, work: impl Future<Output = Result<(), Error>>) {
        if let Err(error) = work.await {
            tracing::warn!(%error, "backups: cannot look at {what}: {error}");
        }
    }

    /// Writes down whose turn it is.
    async fn enqueue(&self) -> Result<(), Error> {
        let it = &self.backups;
        it.drop_deleted().await?;
        let mut after = None;
        loop {
            let mut tx = it.parts.db.begin_system().await?;
            let batch = policies::store::candidates(&mut tx, after, BATCH).await?;
            drop(tx);
            let Some(last) = batch.last() else {
                return Ok(());
            };
            after = Some(last.instance);
            for candidate in batch {
                let now = it.now();
                let turn = candidate.next_turn(&it.parts.settings);
                if turn.is_none_or(|at| now < at) {
                    continue;
                }
                let by = "schedule".to_owned();
                let backup = pending(&candidate, Trigger::Schedule, by, now);
                let mut tx = it.parts.db.begin_system().await?;
                let key = (candidate.instance, candidate.project);
                policies::store::set_turn(&mut tx, key, now).await?;
                match backups::insert(&mut tx, &backup).await {
                    Ok(()) => tx.commit().await?,
                    // Somebody was faster: that one is as good.
                    Err(Error::UnderWay) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }

    /// Takes what waits, as much as may run at the same time.
    async fn begin(
        &self,
        under_way: &mut UnderWay,
        term: Term,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        let it = &self.backups;
        while let Some(id) = under_way.fallen.pop() {
            let mut tx = it.parts.db.begin_system().await?;
            store::fail(&mut tx, id, term, FELL, it.now()).await?;
            tx.commit().await?;
        }
        while under_way.made.len() < it.parts.settings.concurrency {
            let mut tx = it.parts.db.begin_system().await?;
            let claimed = store::claim(&mut tx, term, it.now()).await?;
            tx.commit().await?;
            let Some(backup) = claimed else { break };
            let (backups, id) = (it.clone(), backup.id);
            let stop = stop.clone();
            let making = Making {
                backups,
                backup,
                term,
                stop,
            };
            let backups = it.clone();
            let task = under_way.tasks.spawn(async move {
                let instance = making.backup.instance;
                making.run().await;
                if let Err(error) = backups.thin_out(instance).await {
                    tracing::warn!(%error, "cannot remove old backups: {error}");
                }
            });
            under_way.made.insert(task.id(), id);
        }
        if under_way.bucket.is_none() && under_way.bucket_is_due {
            under_way.bucket_is_due = false;
            let turn = it.clone().turn_to_bucket(stop.clone());
            under_way.bucket = Some(under_way.tasks.spawn(turn).id());
        }
        while under_way.read < VERIFICATIONS_MAX {
            let mut tx = it.parts.db.begin_system().await?;
            let claimed = store::claim_verification(&mut tx).await?;
            tx.commit().await?;
            let Some(backup) = claimed else { break };
            under_way.read += 1;
            let stop = stop.clone();
            match backup.verification.wanted {
                Some(VerificationLevel::Rehearsed) => {
                    under_way.tasks.spawn(it.clone().rehearse(backup, stop));
                }
                _ => {
                    under_way.tasks.spawn(it.clone().read_back(backup, stop));
                }
            }
        }
        Ok(())
    }
}

impl UnderWay {
    fn ended(&mut self, ended: Result<(Id, ()), tokio::task::JoinError>) {
        let (id, fell) = match ended {
            Ok((id, ())) => (id, false),
            Err(error) => {
                tracing::error!("a backup's task panicked: {error}");
                (error.id(), true)
            }
        };
        if self.bucket == Some(id) {
            self.bucket = None;
            return;
        }
        match self.made.remove(&id) {
            Some(backup) if fell => self.fallen.push(backup),
            Some(_) => {}
            None => self.read = self.read.saturating_sub(1),
        }
    }
}

/// Until something about backups has changed.
async fn told(changes: &mut ChangeReceiver) {
    loop {
        match changes.next().await {
            Some(Change::Row {
                topic: Topic::Backup,
                ..
            })
            | Some(Change::All) => return,
            Some(Change::Row { .. }) => {}
            None => std::future::pending().await,
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
            tracing::warn!(%error, "lost the lease of the backups: {error}");
            return;
        }
    }
}
