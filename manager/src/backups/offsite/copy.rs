use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::store;
use crate::{
    backups::{
        Backup, Backups, Error,
        ending::{Copied, Ending, What},
        store as backups,
    },
    kernel::BackupId,
    offsite::{self, Offsite, Upload, UploadState, Watch},
};

/// A part that was not noted is sent again, a row that is written all the time
/// is dear.
const NOTED_EVERY: Duration = Duration::from_secs(2);

impl Backups {
    /// One turn of all that is to be done with the bucket, until nothing waits,
    /// `stop`, or something that could not be noted, which it gives back. Only
    /// the leader calls it, not twice at once, and not before that is noted.
    pub(in crate::backups) async fn turn_to_bucket(
        self,
        stop: CancellationToken,
    ) -> Option<Ending> {
        let offsite = self.parts.offsite.clone()?;
        let turn = self.take_turn(&offsite, &stop).await;
        turn.unwrap_or_else(|error| {
            tracing::warn!(%error, "backups: cannot look at what belongs into the bucket: {error}");
            None
        })
    }

    async fn take_turn(
        &self,
        offsite: &Offsite,
        stop: &CancellationToken,
    ) -> Result<Option<Ending>, Error> {
        self.delete_leftovers(offsite, stop).await?;
        let unnoted = self.fetch_wanted(offsite, stop).await?;
        if unnoted.is_some() {
            return Ok(unnoted);
        }
        self.queue_copies().await?;
        while !stop.is_cancelled() {
            let mut tx = self.parts.db.begin_system().await?;
            let claimed = store::claim(&mut tx, self.now()).await?;
            tx.commit().await?;
            let Some((backup, before)) = claimed else {
                break;
            };
            let copied = self.copy(offsite, &backup, before, stop).await;
            let copied = copied.unwrap_or_else(|error| match error {
                Error::Offsite(offsite::Error::Stopped) => Copied::Released,
                error => {
                    tracing::warn!(backup.id = %backup.id, %error, "the backup {} could not be copied to {}: {error}", backup.title(), offsite.name());
                    Copied::Failed(error.to_string())
                }
            });
            let unnoted = self.noted(self.ending(&backup, What::Copied(copied))).await;
            if unnoted.is_some() {
                return Ok(unnoted);
            }
        }
        Ok(None)
    }

    /// After a turn that fell over: what it was copying is tried again later.
    pub(in crate::backups) async fn drop_copies(&self, why: &str) -> Result<(), Error> {
        let mut tx = self.parts.db.begin_system().await?;
        store::failed(&mut tx, None, why, self.now()).await?;
        Ok(tx.commit().await?)
    }

    /// Before anything is copied by a new leader.
    pub(in crate::backups) async fn release_copies(&self) -> Result<(), Error> {
        let mut tx = self.parts.db.begin_system().await?;
        store::release(&mut tx, None).await?;
        if self.parts.offsite.is_none() {
            store::drop_fetches(&mut tx).await?;
        }
        Ok(tx.commit().await?)
    }

    async fn queue_copies(&self) -> Result<(), Error> {
        let keep = self.parts.settings.offsite_keep;
        let mut tx = self.parts.db.begin_system().await?;
        store::queue(&mut tx, keep.map(|it| self.now() - it)).await?;
        Ok(tx.commit().await?)
    }

    pub(in crate::backups) async fn note_copied(
        &self,
        it: &Ending,
        copied: &Copied,
    ) -> Result<(), Error> {
        let id = it.backup.id;
        let mut tx = self.parts.db.begin_system().await?;
        match copied {
            Copied::Done { key, bytes } => {
                if !store::done(&mut tx, id, it.at).await? {
                    // Deleted meanwhile, when there was no object to delete yet;
                    // or the database took it before.
                    if backups::get(&mut tx, id).await?.is_none() {
                        store::leave_over(&mut tx, key, it.backup.project, self.now()).await?;
                    }
                    return Ok(tx.commit().await?);
                }
                tx.commit().await?;
                tracing::info!(backup.id = %id, "the backup {} was copied offsite: {bytes} bytes", it.backup.title());
                return Ok(());
            }
            Copied::Failed(why) => store::failed(&mut tx, Some(id), why, it.at).await?,
            Copied::Released => store::release(&mut tx, Some(id)).await?,
        }
        Ok(tx.commit().await?)
    }

    async fn copy(
        &self,
        offsite: &Offsite,
        backup: &Backup,
        before: Option<UploadState>,
        stop: &CancellationToken,
    ) -> Result<Copied, Error> {
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
            // At worst, those parts are sent again.
            drop(noting.note(&state).await);
        }
        Ok(Copied::Done { bytes: put?, key })
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
