use openflow_archive::{Error as ArchiveError, Limits, Progress, check};
use tokio_util::sync::CancellationToken;

use super::store;
use crate::{
    audit,
    backups::{Backup, Backups, Error, model::ENTRIES_MAX},
    kernel::Actor,
};

impl Backups {
    /// Reads the backup back, compares it with its manifest, and notes what
    /// came of it. Stopped in the middle, it waits for the next leader.
    pub(super) async fn read_back(self, backup: Backup, stop: CancellationToken) {
        if let Err(error) = self.try_read_back(&backup, stop).await {
            tracing::warn!(backup.id = %backup.id, %error, "cannot note a verification: {error}");
        }
    }

    async fn try_read_back(&self, backup: &Backup, stop: CancellationToken) -> Result<(), Error> {
        let file = match self.file_of(backup).await {
            Ok(file) => file,
            Err(error) => {
                return self
                    .note_reading(backup, Err((error.to_string(), false)))
                    .await;
            }
        };
        let limits = Limits {
            bytes: u64::MAX,
            entries: ENTRIES_MAX,
        };
        let progress = Progress::new();
        let shared = progress.clone();
        let mut work = tokio::task::spawn_blocking(move || check(file, &limits, &shared));
        let checked = tokio::select! {
            checked = &mut work => checked,
            () = stop.cancelled() => {
                progress.cancel();
                work.await
            }
        };
        match checked {
            Ok(Ok(_)) => self.note_reading(backup, Ok(())).await,
            Ok(Err(ArchiveError::Cancelled)) => self.release_verifications().await,
            Ok(Err(error)) => {
                // A disk that cannot be read now may be readable tomorrow.
                let damaged = !matches!(error, ArchiveError::Io { .. });
                self.note_reading(backup, Err((error.to_string(), damaged)))
                    .await
            }
            Err(error) => {
                self.note_reading(backup, Err((error.to_string(), false)))
                    .await
            }
        }
    }

    /// What was being verified waits for the next leader.
    pub(in crate::backups) async fn release_verifications(&self) -> Result<(), Error> {
        let mut tx = self.parts.db.begin_system().await?;
        store::release_verifications(&mut tx).await?;
        Ok(tx.commit().await?)
    }

    pub(in crate::backups) async fn note_reading(
        &self,
        backup: &Backup,
        outcome: Result<(), (String, bool)>,
    ) -> Result<(), Error> {
        let now = self.now();
        let mut tx = self.parts.db.begin_system().await?;
        if let Err((why, _)) = &outcome {
            tracing::warn!(backup.id = %backup.id, "the backup of {} cannot be read back: {why}", backup.instance_name);
            let detail = serde_json::json!({"instanceId": backup.instance, "why": why});
            let event = backup.event("backup.not_verified").with(detail);
            audit::record(&mut tx, &Actor::System("backups.run"), now, event).await?;
        }
        let outcome = match &outcome {
            Ok(()) => Ok(()),
            Err((why, damaged)) => Err((why.as_str(), *damaged)),
        };
        store::end_verification(&mut tx, backup.id, outcome, now).await?;
        Ok(tx.commit().await?)
    }
}
