use std::{io, path::PathBuf, time::Duration};

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{NewRestore, Plan, Restore, RestoreState, store, swap::Swap};
use crate::{
    audit,
    db::Tx,
    identity::Role,
    instances::{self, Desired, Error, Instance, Instances, NewInstance, service::Choices},
    kernel::{Actor, InstanceId, Page, PageRequest, ProjectId, RestoreId, StackId},
};

const SIGN_OF_LIFE: Duration = Duration::from_secs(20);

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
        // The row of the instance is locked, and a backup locks it to begin.
        if store::backup_runs(&mut tx, id).await? {
            return Err(Error::BackupRuns);
        }
        let restore = self.drafted(actor, &instance, new);
        self.begin(tx, actor, &instance, restore).await
    }

    /// Like [`Instances::begin_restore`], into an instance with the defaults
    /// that is made for it, in one transaction. It is not started before the
    /// data are in place, and goes again when they do not come. Without a stack
    /// it gets the default one.
    pub async fn begin_restore_into_new(
        &self,
        actor: &Actor,
        project: ProjectId,
        (names, stack): (NewInstance, Option<StackId>),
        new: NewRestore,
    ) -> Result<Restore, Error> {
        let mut tx = self.parts.db.begin_as(actor).await?;
        let choices = Choices {
            stack,
            ..Choices::default()
        };
        let asked = (names, choices);
        let instance = self.create_in(&mut tx, actor, project, asked).await?;
        let restore = Restore {
            takes_back: true,
            ..self.drafted(actor, &instance, new)
        };
        self.begin(tx, actor, &instance, restore).await
    }

    fn drafted(&self, actor: &Actor, instance: &Instance, new: NewRestore) -> Restore {
        let requested_by = match actor {
            Actor::User(user) => user.name.clone(),
            Actor::Setup { .. } => "setup".to_owned(),
            Actor::System(name) => (*name).to_owned(),
        };
        Restore {
            id: RestoreId::new(),
            instance: instance.id,
            project: instance.project,
            source_kind: new.source_kind,
            source_id: new.source_id,
            source_name: new.source_name,
            takes_back: false,
            state: RestoreState::Preparing,
            detail: None,
            progress: None,
            requested_by,
            created_at: self.now(),
            finished_at: None,
        }
    }

    async fn begin(
        &self,
        mut tx: Tx,
        actor: &Actor,
        instance: &Instance,
        restore: Restore,
    ) -> Result<Restore, Error> {
        store::insert(&mut tx, &restore).await?;
        let detail = json!({"restoreId": restore.id, "from": restore.source_kind,
            "sourceId": restore.source_id, "sourceName": restore.source_name});
        let event = instance.event("instance.restore", detail);
        audit::record(&mut tx, actor, restore.created_at, event).await?;
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

    /// Does `work` for a restore that is being prepared, and shows signs of life
    /// meanwhile.
    pub async fn restore_alive<T>(&self, id: RestoreId, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        let mut period = tokio::time::interval(SIGN_OF_LIFE);
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = period.tick() => {
                    if let Err(error) = self.note_alive(id).await {
                        tracing::debug!(%error, "no sign of life of restore {id}: {error}");
                    }
                }
            }
        }
    }

    async fn note_alive(&self, id: RestoreId) -> Result<(), Error> {
        let mut tx = self.parts.db.begin_system().await?;
        store::alive(&mut tx, id, self.now()).await?;
        Ok(tx.commit().await?)
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

    /// The files could not be staged: nothing was touched, and an instance that
    /// was made for them is deleted. `false`, and nothing is done, when it is
    /// under way all the same: an answer of the database can get lost.
    pub async fn restore_not_staged(&self, restore: &Restore, why: &str) -> Result<bool, Error> {
        let mut tx = self.lock_for(restore).await?;
        let failed = store::fail(&mut tx, restore.id, why, self.now()).await?;
        if failed {
            self.take_back(&mut tx, restore, why).await?;
        }
        tx.commit().await?;
        if failed {
            self.remove_staged(restore).await;
        }
        Ok(failed)
    }

    /// Whoever prepared it died, unless there was a sign of life since `before`.
    pub(super) async fn give_up_restore(
        &self,
        restore: &Restore,
        before: DateTime<Utc>,
        why: &str,
    ) -> Result<(), Error> {
        let mut tx = self.lock_for(restore).await?;
        if store::give_up(&mut tx, restore.id, before, why, self.now()).await? {
            self.take_back(&mut tx, restore, why).await?;
        }
        Ok(tx.commit().await?)
    }

    /// The instance's row first and then the restore's, as everybody.
    async fn lock_for(&self, restore: &Restore) -> Result<Tx, Error> {
        let mut tx = self.parts.db.begin_system().await?;
        instances::store::lock(&mut tx, restore.instance).await?;
        Ok(tx)
    }

    /// Deletes the instance if it was made for the data that did not come.
    async fn take_back(&self, tx: &mut Tx, restore: &Restore, why: &str) -> Result<(), Error> {
        let found = instances::store::get(tx, restore.instance).await?;
        let Some(mut it) = found.filter(|it| restore.takes_back && it.desired != Desired::Absent)
        else {
            return Ok(());
        };
        it.desired = Desired::Absent;
        it.updated_at = self.now();
        instances::store::update(tx, &it).await?;
        let why = format!("the data that it was made for did not come: {why}");
        tracing::warn!("instance {} ({}) is deleted: {why}", it.name, it.id);
        let detail =
            json!({"restoreId": restore.id, "sourceName": restore.source_name, "why": why});
        let event = it.event("instance.delete", detail);
        let actor = Actor::System("restores");
        Ok(audit::record(tx, &actor, it.updated_at, event).await?)
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
