use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::store;
use crate::{
    backups::{Backup, Backups, Error},
    kernel::BackupId,
    offsite::{self, Offsite, Upload, UploadState, Watch},
};

/// A part that was not noted is sent again, a row that is written all the time
/// is dear.
const NOTED_EVERY: Duration = Duration::from_secs(2);

impl Backups {
    /// One turn of all that is to be done with the bucket, until nothing waits
    /// or `stop`. Only the leader calls it, and not twice at once.
    pub(in crate::backups) async fn turn_to_bucket(self, stop: CancellationToken) {
        let Some(offsite) = self.parts.offsite.clone() else {
            return;
        };
        let work = async {
            self.delete_leftovers(&offsite, &stop).await?;
            self.fetch_wanted(&offsite, &stop).await?;
            self.queue_copies().await?;
            while !stop.is_cancelled() && self.copy_next(&offsite, &stop).await? {}
            Ok::<_, Error>(())
        };
        if let Err(error) = work.await {
            tracing::warn!(%error, "backups: cannot look at what belongs into the bucket: {error}");
        }
    }

    /// Before anything is copied by a new leader.
    pub(in crate::backups) async fn release_copies(&self) -> Result<(), Error> {
        let mut tx = self.parts.db.begin_system().await?;
        store::release(&mut tx).await?;
        Ok(tx.commit().await?)
    }

    async fn queue_copies(&self) -> Result<(), Error> {
        let keep = self.parts.settings.offsite_keep;
        let mut tx = self.parts.db.begin_system().await?;
        store::queue(&mut tx, keep.map(|it| self.now() - it)).await?;
        Ok(tx.commit().await?)
    }

    /// Whether there was one.
    async fn copy_next(&self, offsite: &Offsite, stop: &CancellationToken) -> Result<bool, Error> {
        let mut tx = self.parts.db.begin_system().await?;
        let claimed = store::claim(&mut tx, self.now()).await?;
        tx.commit().await?;
        let Some((backup, before)) = claimed else {
            return Ok(false);
        };
        match self.copy(offsite, &backup, before, stop).await {
            Ok(bytes) => {
                tracing::info!(backup.id = %backup.id, "the backup {} was copied to {}: {bytes} bytes", backup.title(), offsite.name());
            }
            Err(Error::Offsite(offsite::Error::Stopped)) => self.release_copies().await?,
            Err(error) => {
                tracing::warn!(backup.id = %backup.id, %error, "the backup {} could not be copied to {}: {error}", backup.title(), offsite.name());
                let mut tx = self.parts.db.begin_system().await?;
                store::failed(&mut tx, backup.id, &error.to_string(), self.now()).await?;
                tx.commit().await?;
            }
        }
        Ok(true)
    }

    async fn copy(
        &self,
        offsite: &Offsite,
        backup: &Backup,
        before: Option<UploadState>,
        stop: &CancellationToken,
    ) -> Result<u64, Error> {
        drop(self.file_of(backup).await?); // it is there
        let name = backup.file_name.as_deref().ok_or(Error::NothingInIt)?;
        let key = offsite.key(&format!("{}/{name}", backup.instance));
        let mut tx = self.parts.db.begin_system().await?;
        let wanted = store::set_key(&mut tx, backup.id, &key).await?;
        tx.commit().await?;
        if !wanted {
            return Err(offsite::Error::Stopped.into());
        }
        if offsite.encrypts() {
            let bytes = backup.size_bytes.and_then(|it| u64::try_from(it).ok());
            self.need_space(bytes.unwrap_or(0)).await?;
        }
        let (file, spool) = (
            self.folder.path(backup.instance, name),
            self.folder.sealed(backup.id),
        );
        let upload = Upload {
            file: &file,
            spool: &spool,
            key: &key,
            before,
        };
        let mut noting = Noting {
            backups: self,
            id: backup.id,
            noted: None,
            skipped: None,
        };
        let put = tokio::select! {
            put = offsite.put(upload, &mut noting) => put,
            () = stop.cancelled() => Err(offsite::Error::Stopped),
        };
        if put.is_err()
            && let Some(state) = noting.skipped.take()
        {
            noting.note(&state).await?;
        }
        let bytes = put?;
        let mut tx = self.parts.db.begin_system().await?;
        let wanted = store::done(&mut tx, backup.id, self.now()).await?;
        tx.commit().await?;
        if !wanted {
            // Deleted meanwhile, when there was no object to delete yet.
            offsite.delete(&key).await?;
        }
        Ok(bytes)
    }
}

/// Notes in the row how far the upload is.
struct Noting<'a> {
    backups: &'a Backups,
    id: BackupId,
    noted: Option<Instant>,
    /// The last one that was not worth a row.
    skipped: Option<UploadState>,
}

impl Noting<'_> {
    /// Whether it is still wanted.
    async fn note(&self, state: &UploadState) -> sqlx::Result<bool> {
        let mut tx = self.backups.parts.db.begin_system().await?;
        let wanted = store::keep_state(&mut tx, self.id, state).await?;
        tx.commit().await?;
        Ok(wanted)
    }
}

#[async_trait]
impl Watch for Noting<'_> {
    async fn advanced(&mut self, state: &UploadState) -> Result<(), offsite::Error> {
        let is_fresh = self.noted.is_some_and(|it| it.elapsed() < NOTED_EVERY);
        // The very first one names the upload: without it, nobody could go on.
        if is_fresh && !state.parts.is_empty() {
            self.skipped = Some(state.clone());
            return Ok(());
        }
        let wanted = self.note(state).await;
        let wanted = wanted.map_err(|error| offsite::Error::Refused(error.to_string()))?;
        self.noted = Some(Instant::now());
        self.skipped = None;
        match wanted {
            true => Ok(()),
            false => Err(offsite::Error::Stopped),
        }
    }
}
