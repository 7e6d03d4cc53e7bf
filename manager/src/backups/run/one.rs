//! One backup, from its claim to what came of it.
use std::{fs::File, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use openflow_archive::{Folder, Limits, Progress, WriteOptions, Written, check, write};
use tokio_util::sync::CancellationToken;

use super::{
    freezer::{FREEZE_LIMIT, InstanceFreezer},
    store,
};
use crate::{
    audit,
    backups::{
        About, Backup, BackupStatus, Backups, Error, Outcome, SkippedFile, Term, credential_place,
        ending::{Ending, Made, What},
        files::{Unfinished, blocking, remove_file},
        model::{ENTRIES_MAX, SKIPPED_MAX},
        store as backups,
    },
    instances::{self, Dump, Origin},
    kernel::Actor,
};

/// npm's cache: of no use anywhere else.
const EXCLUDED: [&str; 1] = [".npm"];
/// The fastest that still packs well; more costs the tenants' CPU.
const LEVEL: u32 = 6;
const THREADS_MAX: usize = 4;
const PROGRESS_PERIOD: Duration = Duration::from_secs(1);
const DELETED: &str = "The instance was deleted before its backup was made.";

/// Why nothing came of it.
enum End {
    /// The manager stops: the next leader makes it.
    Stopped,
    /// The backup or its instance was deleted.
    Unwanted,
    Failed(Error),
}

impl<E: Into<Error>> From<E> for End {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// What one backup is made with.
pub(super) struct Making {
    pub(super) backups: Backups,
    pub(super) backup: Backup,
    pub(super) term: Term,
    pub(super) stop: CancellationToken,
}

impl Making {
    /// What is still to be noted of it.
    pub(super) async fn run(self) -> Option<Ending> {
        let backup = &self.backup;
        tracing::info!(backup.id = %backup.id, instance.id = %backup.instance, "the backup of {} begins", backup.instance_name);
        let made = self.make().await;
        let spool = self.backups.folder.spool(backup.id);
        let emptied = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(spool)).await;
        drop(emptied); // it may never have been made; the next leader removes it
        let made = match made {
            Ok(outcome) => Made::Whole(Box::new(outcome)),
            Err(End::Stopped) => Made::Released,
            Err(End::Unwanted) => Made::Failed(DELETED.to_owned()),
            Err(End::Failed(error)) => Made::Failed(error.to_string()),
        };
        if let Made::Failed(why) = &made {
            tracing::warn!(backup.id = %backup.id, instance.id = %backup.instance, "the backup of {} has failed: {why}", backup.instance_name);
        }
        let ending = self.backups.ending(backup, What::Made(self.term, made));
        self.backups.noted(ending).await
    }

    async fn make(&self) -> Result<Outcome, End> {
        let (backups, backup) = (&self.backups, &self.backup);
        let instances = &backups.parts.instances;
        let origin = match instances.origin(backup.instance).await {
            Err(instances::Error::NotFound) => return Err(End::Unwanted),
            other => other?,
        };
        self.need_space().await?;
        let about = self.about(&origin);
        let (unfinished, file) = {
            let (folder, at) = (backups.folder.clone(), backups.now());
            let (id, instance) = (backup.id, backup.instance);
            blocking(move || {
                folder.make_spool(id)?;
                folder.begin(instance, at)
            })
            .await?
        };
        let made = self.dump_and_fill(&unfinished, file, about).await;
        if made.is_err() {
            let (folder, instance) = (backups.folder.clone(), backup.instance);
            blocking(move || {
                remove_file(&unfinished.path)?;
                folder.remove(instance, &unfinished.name)
            })
            .await?;
        }
        made
    }

    /// Room for as much as the last one took and a fifth more, or for all data.
    async fn need_space(&self) -> Result<(), End> {
        let (backups, instance) = (&self.backups, self.backup.instance);
        let mut tx = backups.parts.db.begin_system().await?;
        let last = backups::last_restorable(&mut tx, instance).await?;
        drop(tx);
        let last = last.and_then(|it| u64::try_from(it.size_bytes?).ok());
        let bytes = match last {
            Some(bytes) => bytes.saturating_mul(6) / 5,
            None => backups.parts.instances.data_bytes(instance).await,
        };
        Ok(backups.need_space(bytes).await?)
    }

    fn about(&self, origin: &Origin) -> About {
        let (backup, instance) = (&self.backup, &origin.instance);
        let secret = origin.credential_secret.expose().as_bytes();
        let place = credential_place(backup.id, instance.project);
        About {
            format: About::FORMAT.to_owned(),
            version: About::VERSION,
            backup_id: backup.id,
            instance_id: instance.id,
            instance_name: instance.name.clone(),
            project_id: instance.project,
            engine: instance.engine,
            storage: instance.storage,
            engine_version: origin.engine_version.clone(),
            openflow_version: env!("CARGO_PKG_VERSION").to_owned(),
            env: origin.env.clone(),
            credential_secret: BASE64_STANDARD.encode(self.backups.parts.keys.seal(&place, secret)),
        }
    }

    /// A dump of the database, if there is one, goes into the archive like the
    /// other files, and first: what it speaks of is still there then.
    async fn dump_and_fill(
        &self,
        to: &Unfinished,
        file: File,
        about: About,
    ) -> Result<Outcome, End> {
        let instances = &self.backups.parts.instances;
        let mut dumping = std::pin::pin!(instances.dump(self.backup.instance));
        let mut period = tokio::time::interval(PROGRESS_PERIOD);
        let dump = loop {
            tokio::select! {
                dump = &mut dumping => break dump?,
                () = self.stop.cancelled() => return Err(End::Stopped),
                _ = period.tick() => if !self.touch(&Progress::new()).await {
                    return Err(End::Unwanted);
                },
            }
        };
        let file = (file, dump.as_ref().map(Dump::file));
        let filled = self.fill(to, file, about).await;
        if let Some(dump) = dump
            && let Err(error) = dump.remove().await
        {
            // The next one replaces it.
            tracing::warn!(%error, "the dump of {}'s database stays in its data folder: {error}", self.backup.instance_name);
        }
        filled
    }

    /// Writes the archive, reads it back and puts it in its place. From then on
    /// a single transaction makes it a backup.
    ///
    /// `needed` has to be in it.
    async fn fill(
        &self,
        to: &Unfinished,
        (file, needed): (File, Option<&str>),
        about: About,
    ) -> Result<Outcome, End> {
        if !self.note_file(&to.name).await? {
            return Err(End::Unwanted);
        }
        let (written, freezer) = self.write(file, &about).await?;
        // A tenant can take it away.
        if let Some(path) = needed.filter(|it| !written.manifest.has_file(it)) {
            let why = format!("{path} vanished before it was read");
            return Err(Error::Archive(why).into());
        }
        let path = to.path.clone();
        let limits = Limits {
            bytes: u64::MAX,
            entries: ENTRIES_MAX,
        };
        let manifest = self
            .watched(move |progress| check(File::open(path).map_err(io)?, &limits, progress))
            .await?;
        let outcome = outcome(written, &freezer, (to.name.clone(), about));
        let same = manifest.files == outcome.files && manifest.bytes == outcome.data_bytes;
        if !same {
            let why = "what was read back is not what was written".to_owned();
            return Err(Error::Archive(why).into());
        }
        let (folder, instance) = (self.backups.folder.clone(), self.backup.instance);
        let (from, name) = (to.path.clone(), to.name.clone());
        blocking(move || folder.finish(instance, &from, &name)).await?;
        Ok(outcome)
    }

    /// Under which name it will stand, should this manager die. `false` when it
    /// is no longer wanted.
    async fn note_file(&self, name: &str) -> Result<bool, Error> {
        let mut tx = self.backups.parts.db.begin_system().await?;
        let wanted = store::note_file(&mut tx, self.backup.id, self.term, name).await?;
        tx.commit().await?;
        Ok(wanted)
    }

    async fn write(&self, file: File, about: &About) -> Result<(Written, InstanceFreezer), End> {
        let (backups, id) = (&self.backups, self.backup.instance);
        let instances = backups.parts.instances.clone();
        let data = instances.data_folder(id);
        let mut freezer = InstanceFreezer::new(instances, id);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let options = WriteOptions {
            level: LEVEL,
            threads: cores.min(THREADS_MAX),
            exclude: EXCLUDED.map(str::to_owned).to_vec(),
            freeze_limit: FREEZE_LIMIT,
            about: serde_json::json!(about),
            ..WriteOptions::new(backups.folder.spool(self.backup.id))
        };
        self.watched(move |progress| {
            let folder = Folder::open(&data).map_err(io)?;
            let written = write(&folder, file, &options, Some(&mut freezer), progress)?;
            Ok((written, freezer))
        })
        .await
    }

    /// Works on a thread that may block, and meanwhile notes how far it is and
    /// whether it is still wanted.
    async fn watched<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Progress) -> Result<T, openflow_archive::Error> + Send + 'static,
    ) -> Result<T, End> {
        let progress = Progress::new();
        let shared = progress.clone();
        let mut work = tokio::task::spawn_blocking(move || work(&shared));
        let mut period = tokio::time::interval(PROGRESS_PERIOD);
        let mut unwanted = false;
        let done = loop {
            tokio::select! {
                done = &mut work => break done,
                () = self.stop.cancelled(), if !progress.is_cancelled() => progress.cancel(),
                _ = period.tick() => if !self.touch(&progress).await {
                    unwanted = true;
                    progress.cancel();
                },
            }
        };
        match done {
            // What was read of an instance on its way out is not worth keeping.
            Ok(_) if unwanted => Err(End::Unwanted),
            Ok(Ok(value)) => Ok(value),
            Ok(Err(openflow_archive::Error::Cancelled)) => Err(End::Stopped),
            Ok(Err(error)) => Err(Error::Archive(error.to_string()).into()),
            Err(error) => Err(Error::Archive(format!("its thread ended: {error}")).into()),
        }
    }

    /// `false` when the backup is no longer wanted. A database that is away
    /// tells nothing.
    async fn touch(&self, progress: &Progress) -> bool {
        let touched: sqlx::Result<bool> = async {
            let bytes = |it| i64::try_from(it).unwrap_or(i64::MAX);
            let progress = (bytes(progress.done_bytes()), bytes(progress.total_bytes()));
            let mut tx = self.backups.parts.db.begin_system().await?;
            let wanted = store::touch(&mut tx, self.backup.id, self.term, progress).await?;
            tx.commit().await?;
            Ok(wanted)
        }
        .await;
        touched.unwrap_or(true)
    }
}

impl Backups {
    pub(in crate::backups) async fn note_made(
        &self,
        it: &Ending,
        term: Term,
        made: &Made,
    ) -> Result<(), Error> {
        let (id, at) = (it.backup.id, it.at);
        let mut tx = self.parts.db.begin_system().await?;
        match made {
            Made::Whole(outcome) => {
                if !store::finish(&mut tx, id, term, outcome, at).await? {
                    let known = backups::get(&mut tx, id).await?;
                    drop(tx);
                    return self.not_made(known, &it.backup, outcome).await;
                }
            }
            Made::Failed(why) => {
                if store::fail(&mut tx, id, Some(term), why, at).await? {
                    let detail = serde_json::json!({"instanceId": it.backup.instance, "why": why});
                    let event = it.backup.event("backup.failed").with(detail);
                    audit::record(&mut tx, &Actor::System("backups.run"), at, event).await?;
                }
            }
            Made::Released => {
                store::release(&mut tx, id, term).await?;
            }
        }
        tx.commit().await?;
        if let Made::Whole(outcome) = made {
            tracing::info!(
                backup.id = %id, instance.id = %it.backup.instance,
                "the backup of {} is {}: {} bytes of {}", it.backup.instance_name,
                outcome.status.as_str(), outcome.size_bytes, outcome.data_bytes,
            );
        }
        Ok(())
    }

    /// The database did not take it: it is deleted, or was taken before.
    async fn not_made(
        &self,
        known: Option<Backup>,
        backup: &Backup,
        outcome: &Outcome,
    ) -> Result<(), Error> {
        let name = outcome.file_name.clone();
        if known.is_some_and(|it| it.file_name.as_ref() == Some(&name)) {
            return Ok(());
        }
        let (folder, instance) = (self.folder.clone(), backup.instance);
        blocking(move || folder.remove(instance, &name)).await
    }
}

fn io(error: std::io::Error) -> openflow_archive::Error {
    openflow_archive::Error::Io {
        what: "opening the folder or file".to_owned(),
        source: error,
    }
}

fn outcome(it: Written, freezer: &InstanceFreezer, (file_name, about): (String, About)) -> Outcome {
    let mut reasons = Vec::new();
    if !it.skipped.is_empty() {
        reasons.push(match it.skipped.len() {
            1 => "1 file is left out, as a whole or in part".to_owned(),
            n => format!("{n} files are left out, as a whole or in part"),
        });
    }
    if !it.consistent || freezer.broke {
        let why = it.freeze_error.as_deref();
        reasons.push(match why {
            Some(why) => format!(
                "files changed while they were read, since the instance could not be frozen ({why})"
            ),
            None => "files changed while they were read".to_owned(),
        });
    }
    let skipped = it.skipped.into_iter().take(SKIPPED_MAX);
    Outcome {
        status: match reasons.is_empty() {
            true => BackupStatus::Good,
            false => BackupStatus::Partial,
        },
        detail: (!reasons.is_empty()).then(|| format!("{}.", reasons.join("; "))),
        file_name,
        size_bytes: it.bytes,
        data_bytes: it.manifest.bytes,
        files: it.manifest.files,
        freeze_ms: it
            .frozen
            .filter(|_| freezer.was_frozen)
            .and_then(|it| u64::try_from(it.as_millis()).ok()),
        skipped: skipped
            .map(|it| SkippedFile {
                path: it.path,
                reason: it.reason,
            })
            .collect(),
        sha256: it.sha256,
        about,
    }
}
