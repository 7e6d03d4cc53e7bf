//! One manager of the cluster makes the backups: it writes down whose turn it
//! is, takes what waits, and keeps what is there in order. The others stand by.
use std::{collections::HashMap, time::Duration};

use tokio::task::{Id, JoinSet};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use super::{one::Making, store};
use crate::{
    backups::{
        Backup, Backups, Error, Term, Trigger, VerificationLevel,
        ending::{Ending, Made, Verified, What},
        policies,
        service::pending,
        store as backups,
    },
    db::{Change, ChangeReceiver, Lease, Topic},
    kernel::News,
};

const LEASE: &str = "backups.run";
const LEASE_CHECK: Duration = Duration::from_secs(5);
/// Before another try to lead.
const PAUSE: Duration = Duration::from_secs(2);
/// How often it is looked at without being told.
const PERIOD: Duration = Duration::from_secs(5);
/// What a killed manager left running is ended then, once it is old enough.
const SWEEP_PERIOD: Duration = Duration::from_secs(600);
const TIDY_PERIOD: Duration = Duration::from_secs(3600);
const BATCH: i64 = 200;
/// So often in all it is tried to note what came of something: for a day.
const NOTE_MAX: u32 = 17_280;
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
    /// Each ends with what is still to be noted of it.
    tasks: JoinSet<Option<Ending>>,
    doing: HashMap<Id, Doing>,
    bucket_is_due: bool,
    bucket_fell: bool,
    /// What the database does not know yet, and how often it was tried; it
    /// outlives the term, since the database may have been away.
    unnoted: Vec<(Ending, u32)>,
    /// By what is looked at.
    news: HashMap<&'static str, News>,
}

enum Doing {
    Making(Term, Box<Backup>),
    Verifying(Box<Backup>),
    /// What goes to and from the bucket.
    Bucket,
}

impl Runner {
    pub fn new(backups: Backups) -> Self {
        Self { backups }
    }

    pub fn spawn(self, tracker: &TaskTracker, stop: CancellationToken) {
        tracker.spawn(async move {
            let mut under_way = UnderWay::default();
            while !stop.is_cancelled() {
                let taken = Lease::try_take(&self.backups.parts.db, LEASE).await;
                if let Some(Some(lease)) = under_way.logged("the lease", taken.map_err(Error::from))
                {
                    self.lead(lease, &mut under_way, &stop).await;
                }
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
        });
    }

    async fn lead(&self, mut lease: Lease, under_way: &mut UnderWay, stop: &CancellationToken) {
        let token = stop.child_token();
        let changes = self.backups.parts.changes.subscribe();
        tokio::join!(self.work(changes, under_way, &token), async {
            keep(&mut lease, &token).await;
            token.cancel();
        });
        lease.give_back().await;
    }

    async fn work(
        &self,
        mut changes: ChangeReceiver,
        under_way: &mut UnderWay,
        stop: &CancellationToken,
    ) {
        let term = Term(Uuid::now_v7());
        // Before those of earlier terms are taken for dead.
        self.note_again(under_way).await;
        if under_way.has_unnoted_claims() {
            stop.cancel();
            return;
        }
        let recovered = self.backups.recover(term).await;
        if under_way
            .logged("what the last leader left", recovered)
            .is_none()
        {
            // Without it, nothing may be begun: another try with the next term.
            stop.cancel();
            return;
        }
        tracing::info!("this manager makes the backups");
        let mut look = tokio::time::interval(PERIOD);
        let mut sweep = tokio::time::interval(SWEEP_PERIOD);
        let mut tidy = tokio::time::interval(TIDY_PERIOD);
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => {}
                _ = look.tick() => {
                    under_way.bucket_is_due = true;
                    if !self.note_again(under_way).await {
                        stop.cancel();
                    }
                    let enqueued = self.enqueue().await;
                    under_way.logged("whose turn it is", enqueued);
                }
                _ = sweep.tick() => {
                    let swept = self.backups.parts.instances.sweep_rehearsals().await;
                    under_way.logged("left-over rehearsals", swept.map_err(Error::from));
                }
                _ = tidy.tick() => {
                    under_way.logged("the old backups", self.backups.tidy().await);
                    let planned = self.backups.plan_rehearsals().await;
                    under_way.logged("what is to be tried out", planned);
                    under_way.logged("the bucket", self.backups.tidy_bucket().await);
                }
                () = told(&mut changes) => under_way.bucket_is_due = true,
                Some(ended) = under_way.tasks.join_next_with_id() => self.ended(under_way, ended),
            }
            if !stop.is_cancelled() {
                let begun = self.begin(under_way, term, stop).await;
                under_way.logged("what waits", begun);
            }
        }
        while let Some(ended) = under_way.tasks.join_next_with_id().await {
            self.ended(under_way, ended);
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
                policies::store::set_turn(&mut tx, key, now, true).await?;
                match backups::insert(&mut tx, &backup).await {
                    Ok(()) => tx.commit().await?,
                    // Somebody was faster: that one is as good.
                    Err(Error::UnderWay) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }

    /// Notes what the database did not take before. `false` when it is given up:
    /// the next leader finds it as of a manager that died.
    async fn note_again(&self, under_way: &mut UnderWay) -> bool {
        let mut given_up = false;
        for (ending, tries) in std::mem::take(&mut under_way.unnoted) {
            let title = ending.backup.title();
            match self.backups.note(&ending).await {
                Ok(()) => {
                    tracing::info!(backup.id = %ending.backup.id, "what came of the backup {title} is noted after all");
                }
                Err(_) if tries < NOTE_MAX => under_way.unnoted.push((ending, tries + 1)),
                Err(error) => {
                    tracing::error!(backup.id = %ending.backup.id, %error, "what came of the backup {title} is given up: {error}");
                    given_up = true;
                }
            }
        }
        !given_up
    }

    /// Takes what waits, as much as may run at the same time.
    async fn begin(
        &self,
        under_way: &mut UnderWay,
        term: Term,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        let it = &self.backups;
        while under_way.made() < it.parts.settings.concurrency {
            let mut tx = it.parts.db.begin_system().await?;
            let claimed = store::claim(&mut tx, term, it.now()).await?;
            tx.commit().await?;
            let Some(backup) = claimed else { break };
            let doing = Doing::Making(term, Box::new(backup.clone()));
            under_way.spawn(doing, make(it.clone(), backup, term, stop.clone()));
        }
        if under_way.bucket_fell {
            it.drop_copies(FELL).await?;
            under_way.bucket_fell = false;
        }
        if under_way.bucket_is_due && under_way.bucket_is_free() {
            under_way.bucket_is_due = false;
            let turn = it.clone().turn_to_bucket(stop.clone());
            under_way.spawn(Doing::Bucket, turn);
        }
        while under_way.verified() < VERIFICATIONS_MAX {
            let mut tx = it.parts.db.begin_system().await?;
            let claimed = store::claim_verification(&mut tx).await?;
            tx.commit().await?;
            let Some(backup) = claimed else { break };
            let (it, stop) = (it.clone(), stop.clone());
            let doing = Doing::Verifying(Box::new(backup.clone()));
            match backup.verification.wanted {
                Some(VerificationLevel::Rehearsed) => {
                    under_way.spawn(doing, it.rehearse(backup, stop));
                }
                _ => under_way.spawn(doing, it.read_back(backup, stop)),
            }
        }
        Ok(())
    }

    /// Of a task that ended; of one that panicked, that it came to nothing.
    fn ended(
        &self,
        under_way: &mut UnderWay,
        ended: Result<(Id, Option<Ending>), tokio::task::JoinError>,
    ) {
        let it = &self.backups;
        let unnoted = match ended {
            Ok((id, unnoted)) => {
                under_way.doing.remove(&id);
                unnoted
            }
            Err(error) => {
                tracing::error!("a backup's task panicked: {error}");
                let fell = FELL.to_owned();
                match under_way.doing.remove(&error.id()) {
                    Some(Doing::Making(term, backup)) => {
                        Some(it.ending(&backup, What::Made(term, Made::Failed(fell))))
                    }
                    Some(Doing::Verifying(backup)) => {
                        Some(it.ending(&backup, What::Verified(Verified::Unable(fell))))
                    }
                    Some(Doing::Bucket) => {
                        under_way.bucket_fell = true;
                        None
                    }
                    None => None,
                }
            }
        };
        under_way.unnoted.extend(unnoted.map(|it| (it, 1)));
    }
}

async fn make(
    backups: Backups,
    backup: Backup,
    term: Term,
    stop: CancellationToken,
) -> Option<Ending> {
    let instance = backup.instance;
    let making = Making {
        backups: backups.clone(),
        backup,
        term,
        stop,
    };
    let unnoted = making.run().await;
    if let Err(error) = backups.thin_out(instance).await {
        tracing::warn!(%error, "cannot remove old backups: {error}");
    }
    unnoted
}

impl UnderWay {
    fn spawn(&mut self, doing: Doing, work: impl Future<Output = Option<Ending>> + Send + 'static) {
        let task = self.tasks.spawn(work);
        self.doing.insert(task.id(), doing);
    }

    fn logged<T>(&mut self, what: &'static str, result: Result<T, Error>) -> Option<T> {
        let news = self.news.entry(what).or_default();
        match result {
            Ok(it) => {
                news.over();
                Some(it)
            }
            Err(error) => {
                if news.is(&error) {
                    tracing::warn!(%error, "backups: cannot look at {what}: {error}");
                }
                None
            }
        }
    }

    /// A new term would take what was made for what died with its manager. All
    /// else that is unnoted is at worst done again.
    fn has_unnoted_claims(&self) -> bool {
        let mut unnoted = self.unnoted.iter();
        unnoted.any(|(it, _)| matches!(it.what, What::Made(..)))
    }

    fn made(&self) -> usize {
        let made = |it: &&Doing| matches!(it, Doing::Making(..));
        self.doing.values().filter(made).count()
    }

    fn verified(&self) -> usize {
        let verified = |it: &&Doing| matches!(it, Doing::Verifying(_));
        self.doing.values().filter(verified).count()
    }

    /// Nothing goes there, and nothing that went there is still to be noted.
    fn bucket_is_free(&self) -> bool {
        let of_bucket = |what: &What| matches!(what, What::Copied(_) | What::Fetched(_));
        let busy = self.doing.values().any(|it| matches!(it, Doing::Bucket));
        !busy && !self.unnoted.iter().any(|(it, _)| of_bucket(&it.what))
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
