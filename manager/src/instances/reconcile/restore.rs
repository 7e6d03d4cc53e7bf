//! The reconciler's part of a restore: the exchange of the files while the
//! instance is stopped, and the judgement of the start that follows.
use std::io;

use serde_json::json;

use super::{Reconciler, pass::Look, queue::Next};
use crate::{
    audit,
    instances::{
        Error, Status,
        restores::{RestoreState, store},
        seen,
    },
    kernel::Actor,
};

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

    /// After a start that went well. Installs what the restored flows need;
    /// `false` when that fails and the restore is undone.
    pub(super) async fn prove_restore(
        &self,
        look: &mut Look,
        address: std::net::SocketAddr,
    ) -> Result<bool, Error> {
        let Some((_, plan)) = look.restore.clone() else {
            return Ok(true);
        };
        for module in &plan.modules {
            if let Err(why) = self.install(look, address, module).await {
                let why = format!("the module {} could not be installed ({why})", module.name);
                self.step_restore(look, RestoreState::Undoing, Some(&why))
                    .await?;
                return Ok(false);
            }
        }
        self.end_restore(look, RestoreState::Done).await?;
        Ok(true)
    }

    /// The start on trial did not go well: what was there before is to be put
    /// back. `false` when nothing is on trial.
    pub(super) async fn give_up_trial(&self, look: &mut Look, why: &str) -> Result<bool, Error> {
        if look.restore.is_some() {
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
        store::step(&mut tx, restore.id, end, None, now).await?;
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
