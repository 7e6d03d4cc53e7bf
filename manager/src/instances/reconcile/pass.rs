use std::time::Duration;

use super::{
    Reconciler,
    queue::{Attention, Next},
};
use crate::{
    instances::{
        Desired, Error, Instance, Status,
        decide::{self, Step, Wanted},
        inside,
        model::{Inside, Seen},
        restores::{self, Plan, Restore, RestoreState},
        seen, spec, store,
    },
    kernel::InstanceId,
    runtime::{self, ContainerSpec, Observed},
};

const ENGINE_AWAY_PAUSE: Duration = Duration::from_secs(3);
const DATABASE_AWAY_PAUSE: Duration = Duration::from_secs(3);
/// What is away, a disk or a server, is seldom back within seconds.
const PURGE_PAUSE: Duration = Duration::from_secs(15);
const RESTARTING_PAUSE: Duration = Duration::from_secs(1);
const AWAITS_DATA: &str = "It starts as soon as the data that it was made for are put back.";

/// One look: the row as it is now and all that the steps need.
pub(super) struct Look {
    pub(super) row: Instance,
    pub(super) inside: Inside,
    pub(super) stack_name: String,
    pub(super) spec: ContainerSpec,
    /// `row.seen` as it will be written.
    pub(super) seen: Seen,
    /// The row names another stack than the one that was last healthy.
    pub(super) upgrading: bool,
    /// What is to be carried out, or is on trial.
    pub(super) restore: Option<(Restore, Plan)>,
}

impl Reconciler {
    /// One look at one instance. Whatever goes wrong is written on the row or
    /// tried again; nothing gets lost.
    pub(super) async fn pass(&self, id: InstanceId, attention: &Attention) -> Next {
        match self.try_pass(id, attention).await {
            Ok(next) => next,
            Err(Error::Runtime(runtime::Error::Unavailable(why))) => {
                tracing::debug!("the container engine is away: {why}");
                Next::After(ENGINE_AWAY_PAUSE)
            }
            Err(error) => {
                tracing::warn!(%error, "instance {id} not reconciled: {error}");
                Next::After(DATABASE_AWAY_PAUSE)
            }
        }
    }

    async fn try_pass(&self, id: InstanceId, attention: &Attention) -> Result<Next, Error> {
        let Some(mut look) = self.load(id).await? else {
            return self.remove_orphan(id).await;
        };
        let observed = match self.instances.parts.runtime.observe(id).await {
            Err(runtime::Error::Unavailable(why)) => {
                self.note_engine_away(&mut look).await?;
                return Err(runtime::Error::Unavailable(why).into());
            }
            other => other?,
        };
        let spec_hash = look.spec.hash();
        let wanted = Wanted {
            desired: look.row.desired,
            restart_wanted: look.row.restart_wanted,
            spec_hash: &spec_hash,
            upgrading: look.upgrading,
            held_down: look.row.is_held_down(),
            awaits_data: look.row.awaits_data,
            frozen: self.is_frozen(&look.row),
            has_safe_mode: look.row.engine.facts().has_safe_mode,
        };
        if let Some(observed) = &observed
            && !decide::is_replaced(&wanted, &look.seen, observed)
            && let Some(next) = self
                .account_for_crashes(&wanted, &mut look, observed)
                .await?
        {
            return Ok(next);
        }
        let step = decide::next_step(&wanted, &look.seen, observed.as_ref(), self.instances.now());
        tracing::debug!(?step, "next step for {}: {step:?}", look.row.name);
        self.take(step, look, observed, attention).await
    }

    async fn load(&self, id: InstanceId) -> Result<Option<Look>, Error> {
        let parts = &self.instances.parts;
        let mut tx = parts.db.begin_system().await?;
        let Some(mut row) = store::get(&mut tx, id).await? else {
            return Ok(None);
        };
        if row.seen.restart_done < row.restart_wanted {
            row.seen.forgive();
        }
        let inside = inside::get(&mut tx, &parts.keys, id).await?;
        let (stack_name, image) = seen::stack_image(&mut tx, row.stack).await?;
        // Between the two queries it may have gone on: another look then.
        let restore = match row.restore {
            None | Some(RestoreState::Preparing) => None,
            state => restores::store::staged(&mut tx, id)
                .await?
                .filter(|(it, _)| Some(it.state) == state),
        };
        drop(tx);
        let spec = spec::container_spec(&self.instances, &row, &inside, &image);
        Ok(Some(Look {
            seen: row.seen.clone(),
            upgrading: row.seen.good_stack.is_some_and(|good| good != row.stack),
            row,
            inside,
            stack_name,
            spec,
            restore,
        }))
    }

    fn is_frozen(&self, row: &Instance) -> bool {
        row.frozen_until.is_some_and(|at| self.instances.now() < at)
    }

    /// A container with this installation's labels whose instance has no row:
    /// the row is written before the container and removed after it, so nobody
    /// will ever ask for it. Its data folder, if any, is left alone.
    async fn remove_orphan(&self, id: InstanceId) -> Result<Next, Error> {
        let runtime = &self.instances.parts.runtime;
        if let Some(orphan) = runtime.observe(id).await? {
            tracing::warn!(
                container = orphan.name,
                "removing the orphaned container {}",
                orphan.name
            );
            runtime.remove(id).await?;
        }
        Ok(Next::Done)
    }

    async fn take(
        &self,
        step: Step,
        mut look: Look,
        observed: Option<Observed>,
        attention: &Attention,
    ) -> Result<Next, Error> {
        let id = look.row.id;
        let runtime = &self.instances.parts.runtime;
        match step {
            Step::Remove => {
                let _slot = self.slot().await;
                runtime.remove(id).await?;
                Ok(Next::Again)
            }
            Step::Purge => self.purge(&look.row).await,
            Step::Stop => {
                look.seen.status = Status::Stopping;
                look.seen.upstream = None;
                self.write(&mut look).await?;
                let _slot = self.slot().await;
                runtime.stop(id).await?;
                Ok(Next::Again)
            }
            Step::NoteStopped => {
                if let Some(observed) = &observed {
                    self.rename(&look, observed).await;
                }
                self.note_stopped(look).await
            }
            Step::Exchange => self.exchange(look).await,
            Step::Unpause => {
                runtime.unpause(id).await?;
                Ok(Next::Again)
            }
            Step::Create => self.bring_up(look, None, attention).await,
            Step::Replace => self.bring_up(look, observed, attention).await,
            Step::Start => self.start_again(look, attention).await,
            Step::Check => match observed {
                Some(observed) => self.check(look, observed, attention).await,
                None => Ok(Next::Again),
            },
            Step::AwaitData => {
                look.seen.detail = Some(AWAITS_DATA.to_owned());
                self.write(&mut look).await?;
                // The restore's next step wakes us.
                Ok(Next::Done)
            }
            Step::Wait => {
                self.write(&mut look).await?;
                let now = self.instances.now();
                let due = look.row.frozen_until.max(look.seen.retry_at);
                let pause = due.and_then(|at| (at - now).to_std().ok());
                Ok(Next::After(pause.unwrap_or(RESTARTING_PAUSE)))
            }
        }
    }

    async fn purge(&self, row: &Instance) -> Result<Next, Error> {
        if let Err(error) = self.instances.remove_data(row).await {
            tracing::warn!(%error, "cannot remove the data of {}: {error}", row.id);
            return Ok(Next::After(PURGE_PAUSE));
        }
        let mut tx = self.instances.parts.db.begin_system().await?;
        seen::delete(&mut tx, row.id).await?;
        tx.commit().await?;
        self.codes().remove(&row.id);
        tracing::info!("instance {} ({}) is gone", row.name, row.id);
        Ok(Next::Done)
    }

    async fn note_stopped(&self, mut look: Look) -> Result<Next, Error> {
        let seen = &mut look.seen;
        seen.forgive();
        seen.status = Status::Stopped;
        seen.detail = None;
        seen.upstream = None;
        seen.restart_needed = false;
        seen.started_at = None;
        seen.restart_done = look.row.restart_wanted;
        self.end_restore_of_stopped(&mut look).await?;
        self.write(&mut look).await?;
        Ok(Next::Done)
    }

    /// Says on a new instance why nothing happens; one that ran is left as it
    /// was, since it probably still does.
    async fn note_engine_away(&self, look: &mut Look) -> Result<(), Error> {
        if look.seen.status == Status::Creating {
            look.seen.detail = Some(
                "Waiting for the container engine, which does not answer. Is Docker running?"
                    .to_owned(),
            );
            self.write(look).await?;
        }
        Ok(())
    }

    /// Writes what was seen, if it is news.
    pub(super) async fn write(&self, look: &mut Look) -> Result<(), Error> {
        if look.seen == look.row.seen {
            return Ok(());
        }
        let mut tx = self.instances.parts.db.begin_system().await?;
        seen::write(&mut tx, look.row.id, &look.seen).await?;
        tx.commit().await?;
        look.row.seen = look.seen.clone();
        Ok(())
    }

    pub(super) async fn slot(&self) -> Option<tokio::sync::SemaphorePermit<'_>> {
        self.engine_slots.acquire().await.ok()
    }

    /// Whether somebody no longer wants what is being waited for.
    pub(super) fn is_wanted(&self, look: &Look, attention: &Attention) -> bool {
        look.row.desired == Desired::Running && !attention.called()
    }
}
