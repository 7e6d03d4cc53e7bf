use openflow_archive::{Error as ArchiveError, Limits, Progress, check};
use tokio_util::sync::CancellationToken;

use super::store::{self, Verdict};
use crate::{
    audit,
    backups::{
        Backup, Backups, Error, VerificationLevel as Level, VerificationStatus as Status,
        ending::{Ending, Verified, What},
        model::ENTRIES_MAX,
    },
    kernel::Actor,
};

const ACTOR: Actor = Actor::System("backups.verify");

impl Backups {
    /// Reads the backup back, compares it with its manifest, and notes what
    /// came of it, or gives back what could not be noted. Stopped in the middle,
    /// it waits for the next leader.
    pub(super) async fn read_back(self, backup: Backup, stop: CancellationToken) -> Option<Ending> {
        let verified = self.try_read_back(&backup, stop).await;
        if let Verified::Unreadable { why, .. } = &verified {
            tracing::warn!(backup.id = %backup.id, "the backup {} cannot be read back: {why}", backup.title());
        }
        self.noted(self.ending(&backup, What::Verified(verified)))
            .await
    }

    async fn try_read_back(&self, backup: &Backup, stop: CancellationToken) -> Verified {
        let unreadable = |why: String, damaged| Verified::Unreadable { why, damaged };
        let file = match self.file_of(backup).await {
            Ok(file) => file,
            Err(error) => return unreadable(error.to_string(), false),
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
            Ok(Ok(_)) => Verified::Whole,
            Ok(Err(ArchiveError::Cancelled)) => Verified::Released,
            // A disk that cannot be read now may be readable tomorrow.
            Ok(Err(error)) => {
                let damaged = !matches!(error, ArchiveError::Io { .. });
                unreadable(error.to_string(), damaged)
            }
            Err(error) => unreadable(error.to_string(), false),
        }
    }

    pub(in crate::backups) async fn note_verified(
        &self,
        it: &Ending,
        verified: &Verified,
    ) -> Result<(), Error> {
        let id = it.backup.id;
        let mut tx = self.parts.db.begin_system().await?;
        match verdict(verified) {
            Some(verdict) => {
                let ended = store::end_verification(&mut tx, id, &verdict, it.at).await?;
                if ended && verdict.status == Status::Failed {
                    let why = verdict.detail;
                    let detail = serde_json::json!({"instanceId": it.backup.instance, "why": why});
                    let event = it.backup.event("backup.not_verified").with(detail);
                    audit::record(&mut tx, &ACTOR, it.at, event).await?;
                }
            }
            None => match verified {
                Verified::Unable(why) => {
                    store::give_up_verification(&mut tx, id, why, it.at).await?;
                }
                _ => store::release_verifications(&mut tx, Some(id)).await?,
            },
        }
        Ok(tx.commit().await?)
    }
}

/// `None` when nothing was learned about the backup.
fn verdict(verified: &Verified) -> Option<Verdict<'_>> {
    let (status, level, detail, damaged) = match verified {
        Verified::Whole => (Status::Good, Level::Read, "", false),
        Verified::Unreadable { why, damaged } => (Status::Failed, Level::Read, &**why, *damaged),
        Verified::Lives(words) => (Status::Good, Level::Rehearsed, &**words, false),
        Verified::Fails(words) => (Status::Failed, Level::Rehearsed, &**words, false),
        Verified::Unable(_) | Verified::Released => return None,
    };
    Some(Verdict {
        status,
        level,
        detail: (!detail.is_empty()).then_some(detail),
        damaged,
    })
}
