use super::retention::doomed;
use crate::{
    backups::{Backup, Backups, Error, VerificationStatus, files::blocking, policies, store},
    kernel::InstanceId,
};

/// So many of deleted projects are removed in one pass.
const BATCH: i64 = 500;

impl Backups {
    /// Removes what no longer has to be kept, of all instances. Only the leader
    /// calls it.
    pub(in crate::backups) async fn tidy(&self) -> Result<(), Error> {
        let mut tx = self.parts.db.begin_system().await?;
        let ownerless = store::ownerless(&mut tx, BATCH).await?;
        let instances = store::instances(&mut tx).await?;
        drop(tx);
        for backup in ownerless {
            self.drop_backup(&backup).await?;
        }
        for instance in instances {
            self.thin_out(instance).await?;
        }
        let folder = self.folder.clone();
        blocking(move || folder.remove_stale_uploads()).await?;
        self.compare().await
    }

    /// Removes what no longer has to be kept of one instance. One that is gone
    /// follows the installation's settings.
    pub(in crate::backups) async fn thin_out(&self, instance: InstanceId) -> Result<(), Error> {
        let mut tx = self.parts.db.begin_system().await?;
        let finished = store::finished(&mut tx, instance).await?;
        let candidate = policies::store::candidate(&mut tx, instance).await?;
        drop(tx);
        let own = candidate.and_then(|it| it.policy?.keep);
        let keep = own.unwrap_or(self.parts.settings.keep);
        let doomed = doomed(&finished, keep, self.now());
        for backup in finished.iter().filter(|it| doomed.contains(&it.id)) {
            let is_used = matches!(
                backup.verification.status,
                VerificationStatus::Pending | VerificationStatus::Running
            );
            if !is_used {
                self.drop_backup(backup).await?;
            }
        }
        Ok(())
    }

    /// The file first: a row without one is found and put right, a file without
    /// a row takes space that nobody sees.
    async fn drop_backup(&self, backup: &Backup) -> Result<(), Error> {
        self.remove_file_of(backup).await?;
        let mut tx = self.parts.db.begin_system().await?;
        store::delete(&mut tx, backup.id).await?;
        tx.commit().await?;
        tracing::info!(backup.id = %backup.id, "the backup {} was removed: it no longer has to be kept", backup.title());
        Ok(())
    }
}
