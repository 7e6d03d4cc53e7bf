use std::{io, path::PathBuf};

use serde_json::json;

use super::{NewRestore, Plan, Restore, RestoreState, store, swap::Swap};
use crate::{
    audit,
    identity::Role,
    instances::{Error, Instances},
    kernel::{Actor, InstanceId, Page, PageRequest, RestoreId},
};

impl Instances {
    /// A member begins to restore the instance; it runs on while the files are
    /// put beside. Fails with [`Error::RestoreUnderWay`] when another restore
    /// is, with [`Error::BackupRuns`] while the data is being copied. Show signs of life by [`Instances::restore_progress`].
    pub async fn begin_restore(
        &self,
        actor: &Actor,
        id: InstanceId,
        new: NewRestore,
    ) -> Result<Restore, Error> {
        let (mut tx, instance) = self.open_live(actor, id).await?;
        let requested_by = match actor {
            Actor::User(user) => user.name.clone(),
            Actor::Setup { .. } => "setup".to_owned(),
            Actor::System(name) => (*name).to_owned(),
        };
        // The row of the instance is locked, and a backup locks it to begin.
        if store::backup_runs(&mut tx, id).await? {
            return Err(Error::BackupRuns);
        }
        let now = self.now();
        let restore = store::insert(&mut tx, &instance, new, &requested_by, now).await?;
        let detail = json!({"restoreId": restore.id, "from": restore.source_kind,
            "sourceId": restore.source_id, "sourceName": restore.source_name});
        let event = instance.event("instance.restore", detail);
        audit::record(&mut tx, actor, now, event).await?;
        // First, so that the clean-up knows whose the folder is.
        tx.commit().await?;
        let swap = self.swap(&restore);
        let made = tokio::task::spawn_blocking(move || swap.make())
            .await
            .map_err(io::Error::other)
            .flatten();
        if let Err(error) = made {
            let why = error.to_string();
            self.restore_not_staged(&restore, &why).await?;
            return Err(Error::DataFolder(why));
        }
        Ok(restore)
    }

    /// Where the files of a restore that is being prepared are put: a folder
    /// that whoever stages makes, on the file system of the data folders. What
    /// is in it belongs to [`Instances::data_owner`].
    pub fn staging(&self, restore: &Restore) -> PathBuf {
        self.swap(restore).staging()
    }

    /// Numeric user and group of what is in data folders.
    pub fn data_owner(&self) -> (u32, u32) {
        self.folders.owner()
    }

    /// The instance's data folder. A tenant writes to it at will: what is
    /// below is opened through handles that follow no link.
    pub fn data_folder(&self, id: InstanceId) -> PathBuf {
        self.folders.path(id)
    }

    /// A sign of life, at least once a minute: bytes done and in all. `false`
    /// when the restore is no longer wanted.
    pub async fn restore_progress(
        &self,
        id: RestoreId,
        done: u64,
        total: u64,
    ) -> Result<bool, Error> {
        let bytes = |it| i64::try_from(it).unwrap_or(i64::MAX);
        let mut tx = self.parts.db.begin_system().await?;
        let progress = (bytes(done), bytes(total));
        let wanted = store::touch(&mut tx, id, progress, self.now()).await?;
        tx.commit().await?;
        Ok(wanted)
    }

    /// Says something of a restore that is being prepared which the person
    /// should know.
    pub async fn restore_note(&self, id: RestoreId, note: &str) -> Result<(), Error> {
        let mut tx = self.parts.db.begin_system().await?;
        store::note(&mut tx, id, note).await?;
        Ok(tx.commit().await?)
    }

    /// All files are staged: the reconciler takes over. Fails with
    /// [`Error::RestoreGivenUp`] when it was given up meanwhile.
    pub async fn restore_staged(&self, restore: &Restore, plan: &Plan) -> Result<Restore, Error> {
        let mut tx = self.parts.db.begin_system().await?;
        if !store::stage(&mut tx, restore.id, plan, self.now()).await? {
            drop(tx);
            self.remove_staged(restore).await;
            return Err(Error::RestoreGivenUp);
        }
        tx.commit().await?;
        Ok(Restore {
            state: RestoreState::Stopping,
            ..restore.clone()
        })
    }

    /// The files could not be staged: nothing was touched. `false`, and nothing
    /// is done, when it is under way all the same: an answer of the database
    /// can get lost.
    pub async fn restore_not_staged(&self, restore: &Restore, why: &str) -> Result<bool, Error> {
        let mut tx = self.parts.db.begin_system().await?;
        let failed = store::fail(&mut tx, restore.id, why, self.now()).await?;
        tx.commit().await?;
        if failed {
            self.remove_staged(restore).await;
        }
        Ok(failed)
    }

    /// To a stranger it does not exist.
    pub async fn restore(&self, actor: &Actor, id: RestoreId) -> Result<Restore, Error> {
        let mut tx = self.parts.db.begin_as(actor).await?;
        let restore = store::get(&mut tx, id)
            .await?
            .ok_or(Error::RestoreNotFound)?;
        drop(tx);
        match self.get(actor, restore.instance).await {
            Ok(_) => Ok(restore),
            Err(Error::NotFound) => Err(Error::RestoreNotFound),
            Err(error) => Err(error),
        }
    }

    /// An instance's restores, newest first.
    pub(super) async fn restores(
        &self,
        actor: &Actor,
        id: InstanceId,
        page: PageRequest,
    ) -> Result<Page<Restore>, Error> {
        let (mut tx, _) = self.open(actor, id, Role::Viewer).await?;
        let restores = store::list(&mut tx, id, page).await?;
        Ok(Page::cut(restores, page, |it| it.id.0))
    }

    pub(in crate::instances) fn swap(&self, restore: &Restore) -> Swap {
        Swap::new(&self.folders, restore.id, restore.instance)
    }

    /// What cannot be removed now, the clean-up removes.
    pub(in crate::instances) async fn remove_staged(&self, restore: &Restore) {
        let swap = self.swap(restore);
        let removed = tokio::task::spawn_blocking(move || swap.remove()).await;
        if let Ok(Err(error)) = removed {
            tracing::warn!(%error, "cannot remove the files of restore {}: {error}", restore.id);
        }
    }
}
