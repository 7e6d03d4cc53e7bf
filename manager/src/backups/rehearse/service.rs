use std::fs::File;

use chrono::TimeDelta;
use openflow_archive::{
    Error as ArchiveError, Limits, Progress, UnpackOptions, remove_tree, unpack,
};
use tokio_util::sync::CancellationToken;

use super::{Judgement, judge, store};
use crate::{
    backups::{
        Backup, Backups, Error,
        ending::{Ending, Verified, What},
        files::blocking,
        model::ENTRIES_MAX,
    },
    instances::DataCopy,
};

const THREADS_MAX: usize = 2;
/// Before another try of what could not be rehearsed for reasons of its own.
const RETRY_AFTER: TimeDelta = TimeDelta::hours(6);

/// Why a rehearsal came to no judgement.
enum End {
    /// The manager stops: the next leader does it.
    Stopped,
    /// The archive itself is at fault, or (`false`) could not be read now.
    Archive { why: String, damaged: bool },
    /// This host cannot do it now.
    Unable(Error),
}

impl<E: Into<Error>> From<E> for End {
    fn from(error: E) -> Self {
        Self::Unable(error.into())
    }
}

impl Backups {
    /// Notes which backups are to be rehearsed by now. Only the leader calls it.
    pub(in crate::backups) async fn plan_rehearsals(&self) -> Result<(), Error> {
        let Some(every) = self.parts.settings.rehearse_every else {
            return Ok(());
        };
        let now = self.now();
        let mut tx = self.parts.db.begin_system().await?;
        store::plan(&mut tx, now - every, now - RETRY_AFTER).await?;
        Ok(tx.commit().await?)
    }

    /// Unpacks the backup, starts an engine on it, and notes what came of it, or
    /// gives back what could not be noted. Whatever happens, nothing of the copy
    /// stays.
    pub(in crate::backups) async fn rehearse(
        self,
        backup: Backup,
        stop: CancellationToken,
    ) -> Option<Ending> {
        let judged = self.try_rehearse(&backup, &stop).await;
        if let Err(error) = self.remove_rehearsal(&backup).await {
            tracing::warn!(backup.id = %backup.id, %error, "cannot remove a rehearsal's folder; the next leader does: {error}");
        }
        let verified = match judged {
            Ok(Judgement::Lives(words)) => Verified::Lives(words),
            Ok(Judgement::Fails(words)) => Verified::Fails(words),
            Ok(Judgement::Unable(why)) => Verified::Unable(why),
            Err(End::Unable(error)) => Verified::Unable(error.to_string()),
            Err(End::Archive { why, damaged }) => Verified::Unreadable { why, damaged },
            Err(End::Stopped) => Verified::Released,
        };
        tell(&backup, &verified);
        self.noted(self.ending(&backup, What::Verified(verified)))
            .await
    }

    async fn try_rehearse(
        &self,
        backup: &Backup,
        stop: &CancellationToken,
    ) -> Result<Judgement, End> {
        let file = self.file_of(backup).await;
        let file = file.map_err(|error| End::Archive {
            why: error.to_string(),
            damaged: false,
        })?;
        let about = backup.about.as_ref().ok_or(Error::NothingInIt)?;
        let secret = self.secret_of(about)?;
        let bytes = backup.data_bytes.and_then(|it| u64::try_from(it).ok());
        self.need_space(bytes.unwrap_or(0)).await?;
        self.unpack_rehearsal(backup, file, stop).await?;
        let copy = DataCopy {
            instance: backup.instance,
            engine: backup.engine,
            storage: about.storage,
            folder: self.folder.rehearsal(backup.id),
            credential_secret: secret,
        };
        match self.parts.instances.rehearse(copy, stop).await? {
            Some(ended) => Ok(judge(&ended)),
            None => Err(End::Stopped),
        }
    }

    /// Reads all of the archive and compares it with its manifest, too.
    async fn unpack_rehearsal(
        &self,
        backup: &Backup,
        file: File,
        stop: &CancellationToken,
    ) -> Result<(), End> {
        self.remove_rehearsal(backup).await?;
        let into = self.folder.rehearsal(backup.id);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let options = UnpackOptions {
            limits: Limits {
                bytes: u64::MAX,
                entries: ENTRIES_MAX,
            },
            owner: Some(self.parts.instances.data_owner()),
            threads: cores.min(THREADS_MAX),
        };
        let progress = Progress::new();
        let shared = progress.clone();
        let mut work = tokio::task::spawn_blocking(move || unpack(file, &into, &options, &shared));
        let unpacked = tokio::select! {
            unpacked = &mut work => unpacked,
            () = stop.cancelled() => {
                progress.cancel();
                work.await
            }
        };
        let at_fault = |why: String, damaged| End::Archive { why, damaged };
        match unpacked {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(ArchiveError::Cancelled)) => Err(End::Stopped),
            Ok(Err(error @ (ArchiveError::Io { .. } | ArchiveError::DiskFull(_)))) => {
                Err(Error::Archive(error.to_string()).into())
            }
            Ok(Err(error)) => Err(at_fault(error.to_string(), true)),
            Err(error) => Err(at_fault(error.to_string(), false)),
        }
    }

    async fn remove_rehearsal(&self, backup: &Backup) -> Result<(), Error> {
        let folder = self.folder.rehearsal(backup.id);
        blocking(move || remove_tree(&folder)).await
    }
}

fn tell(backup: &Backup, verified: &Verified) {
    let title = backup.title();
    match verified {
        Verified::Lives(words) => {
            tracing::info!(backup.id = %backup.id, "the backup {title} was rehearsed: {words}");
        }
        Verified::Fails(words) => {
            tracing::warn!(backup.id = %backup.id, "an instance would not live with the backup {title}: {words}");
        }
        Verified::Unable(why) => {
            tracing::warn!(backup.id = %backup.id, "the backup {title} could not be rehearsed: {why}");
        }
        Verified::Unreadable { why, .. } => {
            tracing::warn!(backup.id = %backup.id, "the backup {title} cannot be read back: {why}");
        }
        Verified::Whole | Verified::Released => {}
    }
}
