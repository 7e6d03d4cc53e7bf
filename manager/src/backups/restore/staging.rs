//! Unpacks a backup beside the data folder, and fits it to its new place.
use std::{fs::File, time::Duration};

use openflow_archive::{Limits, Progress, UnpackOptions, unpack};

use crate::{
    backups::{Backups, Error, model::ENTRIES_MAX},
    engines::Storage,
    instances::{
        DataCopy,
        restores::{Entries, Plan, Restore},
    },
    kernel::{Actor, Secret},
};

const PROGRESS_PERIOD: Duration = Duration::from_secs(1);
const THREADS_MAX: usize = 4;

pub(super) struct Staging {
    pub(super) backups: Backups,
    /// Who asked.
    pub(super) actor: Actor,
    pub(super) restore: Restore,
    /// The archive.
    pub(super) file: File,
    /// What its credentials are encrypted with.
    pub(super) secret: Secret,
}

/// Goes on by itself. If the manager dies meanwhile, the restore is given up for
/// want of signs of life, and nothing was touched.
pub(super) fn spawn(staging: Staging) {
    tokio::spawn(async move {
        let Err(error) = staging.run().await else {
            return;
        };
        if let Err(error) = staging.failed(&error).await {
            let id = staging.restore.id;
            tracing::warn!(restore.id = %id, %error, "cannot note that a restore has failed: {error}");
        }
    });
}

impl Staging {
    async fn run(&self) -> Result<(), Error> {
        let instances = &self.backups.parts.instances;
        self.unpack().await?;
        let plan = instances.restore_alive(self.restore.id, self.fit());
        let plan = plan.await?;
        instances.restore_staged(&self.restore, &plan).await?;
        Ok(())
    }

    /// Fits what was unpacked to its new place, and keeps what is there.
    async fn fit(&self) -> Result<Plan, Error> {
        let instances = &self.backups.parts.instances;
        let origin = instances.origin(self.restore.instance).await?;
        let storage = origin.instance.storage;
        if self.secret != origin.credential_secret || storage == Storage::Postgres {
            let copy = DataCopy {
                instance: self.restore.instance,
                engine: origin.instance.engine,
                storage,
                folder: instances.staging(&self.restore),
                credential_secret: self.secret.clone(),
            };
            let fitted = instances.fit(copy, &origin.credential_secret).await;
            fitted.map_err(Error::NotFitted)?;
        }
        // Not before: what somebody deployed while it was unpacked is kept, too.
        if !self.restore.takes_back {
            let snapshots = &self.backups.parts.snapshots;
            snapshots.before_restore(&self.actor, &self.restore).await?;
        }
        Ok(Plan {
            entries: Entries::Whole,
            modules: Vec::new(),
        })
    }

    async fn unpack(&self) -> Result<(), Error> {
        let instances = &self.backups.parts.instances;
        let into = instances.staging(&self.restore);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let options = UnpackOptions {
            limits: Limits {
                bytes: u64::MAX,
                entries: ENTRIES_MAX,
            },
            owner: Some(instances.data_owner()),
            threads: cores.min(THREADS_MAX),
        };
        let file = self.file.try_clone().map_err(folder)?;
        let progress = Progress::new();
        let shared = progress.clone();
        let mut work = tokio::task::spawn_blocking(move || unpack(file, &into, &options, &shared));
        let mut period = tokio::time::interval(PROGRESS_PERIOD);
        let unpacked = loop {
            tokio::select! {
                unpacked = &mut work => break unpacked,
                _ = period.tick() => {
                    let (done, total) = (progress.done_bytes(), progress.total_bytes());
                    let wanted = instances.restore_progress(self.restore.id, done, total).await;
                    // A database that is away tells nothing.
                    if !wanted.unwrap_or(true) {
                        progress.cancel();
                    }
                }
            }
        };
        let archive = |error: String| Error::Archive(error);
        let unpacked = unpacked
            .map_err(|error| archive(format!("its thread ended: {error}")))?
            .map_err(|error| archive(error.to_string()))?;
        if let Some(note) = unpacked.refused.sentence() {
            instances.restore_note(self.restore.id, &note).await?;
        }
        Ok(())
    }

    async fn failed(&self, why: &Error) -> Result<(), Error> {
        let instances = &self.backups.parts.instances;
        tracing::warn!(restore.id = %self.restore.id, "the restore of {} has failed: {why}", self.restore.source_name);
        let why = why.to_string();
        instances.restore_not_staged(&self.restore, &why).await?;
        Ok(())
    }
}

fn folder(error: std::io::Error) -> Error {
    Error::Folder(error.to_string())
}
