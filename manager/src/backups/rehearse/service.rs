use std::fs::File;

use chrono::TimeDelta;
use openflow_archive::{
    Error as ArchiveError, Limits, Progress, UnpackOptions, remove_tree, unpack,
};
use tokio_util::sync::CancellationToken;

use super::{Judgement, judge, store};
use crate::{
    audit,
    backups::{
        Backup, Backups, Error, VerificationLevel as Level, VerificationStatus as Status,
        files::blocking, model::ENTRIES_MAX,
    },
    instances::DataCopy,
    kernel::Actor,
};

const ACTOR: Actor = Actor::System("backups.rehearse");
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

    /// Unpacks the backup, starts an engine on it, and notes what came of it.
    /// Whatever happens, nothing of it stays.
    pub(in crate::backups) async fn rehearse(self, backup: Backup, stop: CancellationToken) {
        let judged = self.try_rehearse(&backup, &stop).await;
        if let Err(error) = self.remove_rehearsal(&backup).await {
            tracing::warn!(backup.id = %backup.id, %error, "cannot remove a rehearsal's folder; the next leader does: {error}");
        }
        if let Err(error) = self.note_rehearsal(&backup, judged).await {
            tracing::warn!(backup.id = %backup.id, %error, "cannot note a rehearsal: {error}");
        }
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
            folder: self.folder.rehearsal(backup.id),
            credential_secret: secret,
        };
        let instances = &self.parts.instances;
        let ended = tokio::select! {
            ended = instances.rehearse(copy) => Some(ended),
            () = stop.cancelled() => None,
        };
        let Some(ended) = ended else {
            instances.sweep_rehearsals().await?;
            return Err(End::Stopped);
        };
        Ok(judge(&ended?))
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

    async fn note_rehearsal(
        &self,
        backup: &Backup,
        judged: Result<Judgement, End>,
    ) -> Result<(), Error> {
        let (outcome, detail) = match judged {
            Err(End::Stopped) => return self.release_verifications().await,
            Err(End::Archive { why, damaged }) => {
                return self.note_reading(backup, Err((why, damaged))).await;
            }
            Ok(Judgement::Lives(words)) => ((Status::Good, Level::Rehearsed), words),
            Ok(Judgement::Fails(words)) => ((Status::Failed, Level::Rehearsed), words),
            Ok(Judgement::Unable(words)) => (unable(backup), not_rehearsed(&words)),
            Err(End::Unable(error)) => (unable(backup), not_rehearsed(&error.to_string())),
        };
        let now = self.now();
        let mut tx = self.parts.db.begin_system().await?;
        match outcome {
            (Status::Good, Level::Rehearsed) => {
                tracing::info!(backup.id = %backup.id, "the backup {} was rehearsed: {detail}", backup.title());
            }
            (Status::Failed, _) => {
                tracing::warn!(backup.id = %backup.id, "an instance would not live with the backup {}: {detail}", backup.title());
                let why = serde_json::json!({"instanceId": backup.instance, "why": detail});
                let event = backup.event("backup.not_verified").with(why);
                audit::record(&mut tx, &ACTOR, now, event).await?;
            }
            _ => {
                tracing::warn!(backup.id = %backup.id, "the backup {} was {detail}", backup.title());
            }
        }
        let detail = (!detail.is_empty()).then_some(detail.as_str());
        store::end(&mut tx, backup.id, outcome, detail, now).await?;
        Ok(tx.commit().await?)
    }
}

/// A backup is read back when it is made; more is not known of it then.
fn unable(backup: &Backup) -> (Status, Level) {
    match backup.verification.level {
        Some(_) => (Status::Good, Level::Read),
        None => (Status::None, Level::Read),
    }
}

fn not_rehearsed(why: &str) -> String {
    format!("not rehearsed: {why}")
}
