//! What a new leader finds: backups that died with the one before, files that
//! are not whole, rows whose file is gone.
use std::collections::HashSet;

use super::store;
use crate::{
    audit,
    backups::{Backup, Backups, Error, Term, Trigger, files::blocking, store as backups},
    kernel::{Actor, BackupId, InstanceId},
};

const ACTOR: Actor = Actor::System("backups.run");
const DIED: &str = "The manager was stopped while it made this backup.";
const GONE: &str = "The file is gone from the folder of backups.";
const DELETED: &str = "The instance was deleted before its backup was made.";
/// A scheduled backup is begun so often in all when its manager dies each time.
const ATTEMPTS_MAX: i32 = 3;
const BATCH: i64 = 500;

impl Backups {
    /// Only the leader may call it, before anything is made.
    pub(super) async fn recover(&self, term: Term) -> Result<(), Error> {
        let mut tx = self.parts.db.begin_system().await?;
        let orphans = store::orphans(&mut tx, term).await?;
        store::release_verifications(&mut tx, None).await?;
        tx.commit().await?;
        for (id, term) in orphans {
            self.bury(id, term).await?;
        }
        self.release_copies().await?;
        let folder = self.folder.clone();
        if let Err(error) = blocking(move || folder.remove_unfinished()).await {
            // One folder that cannot be removed keeps no backup from being made.
            tracing::warn!(%error, "cannot remove what an ended manager left: {error}");
        }
        self.compare().await
    }

    /// Makes up for one that died with its manager, unless somebody asked for
    /// it and sees that it has failed.
    async fn bury(&self, id: BackupId, term: Option<Term>) -> Result<(), Error> {
        let now = self.now();
        let mut tx = self.parts.db.begin_system().await?;
        let Some(backup) = backups::get(&mut tx, id).await? else {
            return Ok(());
        };
        // First: whoever noted a good end meanwhile keeps the file.
        if !store::fail(&mut tx, id, term, DIED, now).await? {
            return Ok(());
        }
        // It may have got its name a moment before.
        self.remove_file_of(&backup).await?;
        let detail = serde_json::json!({"instanceId": backup.instance, "why": DIED});
        let event = backup.event("backup.failed").with(detail);
        audit::record(&mut tx, &ACTOR, now, event).await?;
        if backup.trigger == Trigger::Schedule
            && backup.attempt < ATTEMPTS_MAX
            && backup.instance_exists
        {
            let again = Backup {
                id: BackupId::new(),
                attempt: backup.attempt + 1,
                status: crate::backups::BackupStatus::Pending,
                progress: None,
                file_name: None,
                created_at: now,
                started_at: None,
                ..backup
            };
            backups::insert(&mut tx, &again).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Says of rows whose file is gone that they have failed, and warns of files
    /// that no row knows: they are somebody's data, so they stay.
    pub(in crate::backups) async fn compare(&self) -> Result<(), Error> {
        let folder = self.folder.clone();
        let (files, bare) = blocking(move || Ok((folder.archives()?, folder.is_bare()?))).await?;
        let mut unknown: HashSet<(InstanceId, String)> = files.into_iter().collect();
        let mut after = None;
        loop {
            let mut tx = self.parts.db.begin_system().await?;
            let batch = backups::batch(&mut tx, after, BATCH).await?;
            drop(tx);
            let Some(last) = batch.last() else { break };
            after = Some(last.id);
            for backup in batch {
                let Some(name) = &backup.file_name else {
                    continue;
                };
                let known = unknown.remove(&(backup.instance, name.clone()));
                if !known && backup.is_restorable() && bare {
                    tracing::error!(
                        "{} holds no backup at all, and the database knows of some: is its disk mounted? Nothing is said of them until it is.",
                        self.folder.root().display()
                    );
                    return Ok(());
                }
                if !known && backup.is_restorable() {
                    self.lost(&backup, name).await?;
                }
            }
        }
        for (instance, name) in unknown {
            tracing::warn!(
                instance.id = %instance,
                "no backup is known for {}: move it away, or upload it to an instance to use it",
                self.folder.path(instance, &name).display(),
            );
        }
        Ok(())
    }

    async fn lost(&self, backup: &Backup, name: &str) -> Result<(), Error> {
        let (folder, instance, file) = (self.folder.clone(), backup.instance, name.to_owned());
        // It may have come after the files were listed.
        if blocking(move || folder.has(instance, &file)).await? {
            return Ok(());
        }
        tracing::warn!(backup.id = %backup.id, "the file {name} of a backup of {} is gone", backup.instance_name);
        let mut tx = self.parts.db.begin_system().await?;
        store::lose_file(&mut tx, backup.id, GONE).await?;
        Ok(tx.commit().await?)
    }

    /// Those that wait for an instance that is gone.
    pub(super) async fn drop_deleted(&self) -> Result<(), Error> {
        let mut tx = self.parts.db.begin_system().await?;
        store::fail_of_deleted(&mut tx, DELETED, self.now()).await?;
        Ok(tx.commit().await?)
    }
}
