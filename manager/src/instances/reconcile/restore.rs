//! The reconciler's part of a restore: the exchange of the files while the
//! instance is stopped, and the judgement of the start that follows.
use std::{io, net::SocketAddr, time::Duration};

use chrono::TimeDelta;
use serde_json::json;

use super::{Reconciler, pass::Look, queue::Next, up::admin};
use crate::{
    audit,
    engines::Refused,
    instances::{
        Error, Status,
        restores::{Entries, Restore, RestoreState, store},
        seen,
    },
    kernel::Actor,
};

/// It takes all or nothing, and did not say which.
fn unknown(why: &str) -> String {
    format!(
        "{why}. It may have been taken in as a whole: compare the instance with the snapshot from before the restore"
    )
}

const HAND_OVER_PAUSE: Duration = Duration::from_secs(2);
/// An engine that has not taken it by then will not.
const HAND_OVER_MAX: TimeDelta = TimeDelta::minutes(15);

impl Reconciler {
    /// The container does not run: puts in what is staged, or takes it out
    /// again.
    pub(super) async fn exchange(&self, mut look: Look) -> Result<Next, Error> {
        let Some((restore, plan)) = look.restore.clone() else {
            return Ok(Next::Again);
        };
        let undo = restore.state == RestoreState::Undoing;
        let swap = self.instances.swap(&restore);
        let entries = plan.entries.clone();
        let exchanged = tokio::task::spawn_blocking(move || match undo {
            true => swap.put_back(&entries),
            false => swap.put_in(&entries),
        })
        .await
        .map_err(io::Error::other)
        .flatten();
        look.seen.forgive();
        // Not starting yet: a container that starts and has ended would count
        // as crashed.
        look.seen.status = Status::Stopping;
        look.seen.upstream = None;
        match exchanged {
            Ok(()) if undo => {
                let now = match restore.takes_back {
                    true => "The instance is empty.",
                    false => "What was there before is there again.",
                };
                look.seen.notice = Some(format!(
                    "The restore of {} was undone: {}. {now}",
                    restore.source_name,
                    restore.detail.as_deref().unwrap_or("no reason is known"),
                ));
                self.end_restore(&mut look, RestoreState::Undone).await?;
            }
            Ok(()) => {
                self.step_restore(&mut look, RestoreState::Starting, None)
                    .await?;
            }
            // Nothing else may run on half of it.
            Err(error) if undo => return Err(Error::DataFolder(error.to_string())),
            Err(error) => {
                let why = format!("the files could not be exchanged ({error})");
                self.step_restore(&mut look, RestoreState::Undoing, Some(&why))
                    .await?;
            }
        }
        Ok(Next::Again)
    }

    /// After a start that went well, or on an engine that runs on. Installs
    /// what the restored flows need, and hands over what is to be handed over.
    /// How to go on when the restore is not at its end.
    pub(super) async fn prove_restore(
        &self,
        look: &mut Look,
        address: SocketAddr,
    ) -> Result<Option<Next>, Error> {
        let Some((restore, plan)) = look.restore.clone() else {
            return Ok(None);
        };
        for module in &plan.modules {
            if let Err(why) = self.install(look, address, module).await {
                let why = format!("the module {} could not be installed ({why})", module.name);
                if plan.entries == Entries::Handed {
                    let why = format!("{why}. What was there before is there still");
                    self.refuse_restore(look, &why).await?;
                    return Ok(None);
                }
                self.step_restore(look, RestoreState::Undoing, Some(&why))
                    .await?;
                return Ok(Some(Next::Again));
            }
        }
        if plan.entries == Entries::Handed {
            return self.hand_over(look, address, &restore).await;
        }
        self.end_restore(look, RestoreState::Done).await?;
        Ok(None)
    }

    /// The engine takes it in or leaves all as it was.
    async fn hand_over(
        &self,
        look: &mut Look,
        address: SocketAddr,
        restore: &Restore,
    ) -> Result<Option<Next>, Error> {
        let staged = self.instances.swap(restore).staging();
        let kind = look.row.engine.kind();
        match kind.hand_over(&admin(look, address), &staged).await {
            Ok(note) => {
                look.seen.notice = note;
                self.end_restore(look, RestoreState::Done).await?;
                Ok(None)
            }
            Err(Refused::Unknown(why)) if !self.is_overdue(restore) => {
                tracing::warn!("restore of {}: {why}; once more", restore.source_name);
                Ok(Some(Next::After(HAND_OVER_PAUSE)))
            }
            Err(Refused::Unknown(why)) => {
                self.refuse_restore(look, &unknown(&why)).await?;
                Ok(None)
            }
            Err(Refused::No(why)) => {
                let why = format!("{why}. What was there before is there still");
                self.refuse_restore(look, &why).await?;
                Ok(None)
            }
        }
    }

    /// An engine that runs and does not answer does not keep a restore open
    /// for ever.
    pub(super) async fn refuse_overdue(&self, look: &mut Look) -> Result<(), Error> {
        match &look.restore {
            Some((restore, plan))
                if plan.entries == Entries::Handed && self.is_overdue(restore) =>
            {
                let why = unknown("the engine has not answered since");
                self.refuse_restore(look, &why).await
            }
            _ => Ok(()),
        }
    }

    fn is_overdue(&self, restore: &Restore) -> bool {
        HAND_OVER_MAX < self.instances.now() - restore.created_at
    }

    /// Nothing was exchanged, so there is nothing to put back.
    async fn refuse_restore(&self, look: &mut Look, why: &str) -> Result<(), Error> {
        if let Some((restore, _)) = &mut look.restore {
            look.seen.notice = Some(format!("{} was not restored: {why}.", restore.source_name));
            restore.detail = Some(why.to_owned());
        }
        self.end_restore(look, RestoreState::Undone).await
    }

    /// It was stopped: there is nothing to prove, and nobody to hand over to.
    pub(super) async fn end_restore_of_stopped(&self, look: &mut Look) -> Result<(), Error> {
        match &look.restore {
            Some((_, plan)) if plan.entries == Entries::Handed => {
                let why = unknown("the instance was stopped before it said that it took it in");
                self.refuse_restore(look, &why).await
            }
            _ => self.end_restore(look, RestoreState::Done).await,
        }
    }

    /// The start on trial did not go well: what was there before is to be put
    /// back. `false` when nothing is on trial.
    pub(super) async fn give_up_trial(&self, look: &mut Look, why: &str) -> Result<bool, Error> {
        if let Some((_, plan)) = &look.restore
            && plan.entries == Entries::Handed
        {
            // Once more could end it once more.
            self.refuse_restore(look, &unknown(why)).await?;
        } else if look.restore.is_some() {
            self.step_restore(look, RestoreState::Undoing, Some(why))
                .await?;
            return Ok(true);
        }
        if look.upgrading {
            self.roll_back(look, why).await?;
            return Ok(true);
        }
        Ok(false)
    }

    /// A stopped instance has nothing to prove.
    pub(super) async fn end_restore(
        &self,
        look: &mut Look,
        end: RestoreState,
    ) -> Result<(), Error> {
        let Some((restore, _)) = look.restore.take() else {
            return Ok(());
        };
        let row = &look.row;
        let action = match end {
            RestoreState::Done => "instance.restored",
            _ => "instance.restore_undone",
        };
        let now = self.instances.now();
        let detail = json!({"restoreId": restore.id, "sourceId": restore.source_id,
            "sourceName": restore.source_name, "why": restore.detail});
        let mut tx = self.instances.parts.db.begin_system().await?;
        seen::write(&mut tx, row.id, &look.seen).await?;
        store::step(&mut tx, restore.id, end, restore.detail.as_deref(), now).await?;
        let actor = Actor::System("instances.reconcile");
        audit::record(&mut tx, &actor, now, row.event(action, detail)).await?;
        tx.commit().await?;
        tracing::info!(
            "restore of {} into {}: {}",
            restore.source_name,
            row.name,
            end.as_str()
        );
        look.row.seen = look.seen.clone();
        look.row.restore = None;
        self.instances.remove_staged(&restore).await;
        Ok(())
    }

    async fn step_restore(
        &self,
        look: &mut Look,
        to: RestoreState,
        why: Option<&str>,
    ) -> Result<(), Error> {
        let Some((restore, _)) = &look.restore else {
            return Ok(());
        };
        if let Some(why) = why {
            tracing::warn!(
                "restore of {} into {}: {why}",
                restore.source_name,
                look.row.name
            );
        }
        let now = self.instances.now();
        let mut tx = self.instances.parts.db.begin_system().await?;
        seen::write(&mut tx, look.row.id, &look.seen).await?;
        store::step(&mut tx, restore.id, to, why, now).await?;
        tx.commit().await?;
        look.row.seen = look.seen.clone();
        Ok(())
    }
}
