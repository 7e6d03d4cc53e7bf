use tokio_util::sync::CancellationToken;

use super::store;
use crate::{
    backups::{Backups, Error, files::blocking},
    offsite::Offsite,
};

/// In one turn.
const BATCH: i64 = 200;

impl Backups {
    /// Deletes copies that are older than wanted, and what was encrypted for
    /// copies that nobody wants any more. Only the leader calls it.
    pub(in crate::backups) async fn tidy_bucket(&self) -> Result<(), Error> {
        let mut tx = self.parts.db.begin_system().await?;
        let waiting = store::waiting(&mut tx).await?;
        drop(tx);
        let folder = self.folder.clone();
        blocking(move || folder.remove_sealed_but(&waiting)).await?;
        let (Some(offsite), Some(keep)) = (&self.parts.offsite, self.parts.settings.offsite_keep)
        else {
            return Ok(());
        };
        let mut tx = self.parts.db.begin_system().await?;
        let outdated = store::outdated(&mut tx, self.now() - keep, BATCH).await?;
        drop(tx);
        let why = format!("the copy was deleted after {} days", keep.num_days());
        for (id, key) in outdated {
            offsite.delete(&key).await?;
            let mut tx = self.parts.db.begin_system().await?;
            store::gone(&mut tx, id, &why, self.now()).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// Deletes the copies of backups that are gone here; one that cannot be
    /// deleted now, later.
    pub(super) async fn delete_leftovers(
        &self,
        offsite: &Offsite,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        let mut tx = self.parts.db.begin_system().await?;
        let leftovers = store::leftovers(&mut tx, self.now(), BATCH).await?;
        drop(tx);
        for it in leftovers {
            if stop.is_cancelled() {
                break;
            }
            if let Some(state) = &it.state {
                offsite.abort(state).await;
            }
            let deleted = offsite.delete(&it.key).await;
            let mut tx = self.parts.db.begin_system().await?;
            match deleted {
                Ok(()) => store::forget(&mut tx, &it.key).await?,
                Err(error) => {
                    tracing::warn!(%error, "the copy {} of a deleted backup is still in the bucket: {error}", it.key);
                    store::postpone(&mut tx, &it.key, self.now()).await?;
                }
            }
            tx.commit().await?;
        }
        Ok(())
    }
}
