//! Unpacks a backup beside the data folder, and fits it to its new place.
use std::{fs::File, path::Path, time::Duration};

use openflow_archive::{Folder, Limits, Progress, UnpackOptions, unpack};

use crate::{
    backups::{Backups, Error, files::blocking, model::ENTRIES_MAX},
    crypto::node_red,
    instances::restores::{Entries, Plan, Restore},
    kernel::{Actor, Secret},
};

const PROGRESS_PERIOD: Duration = Duration::from_secs(1);
const THREADS_MAX: usize = 4;
const CREDENTIALS_BYTES_MAX: u64 = 64 << 20;
/// Of the credentials file, as Node-RED makes it.
const FILE_MODE: u32 = 0o600;

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
        let origin = instances.origin(self.restore.instance).await?;
        let (folder, owner) = (instances.staging(&self.restore), instances.data_owner());
        let (from, to) = (self.secret.clone(), origin.credential_secret);
        if from != to {
            blocking(move || Ok(reseal(&folder, (&from, &to), owner))).await??;
        }
        // Not before: what somebody deployed while it was unpacked is kept, too.
        if !self.restore.takes_back {
            let snapshots = &self.backups.parts.snapshots;
            snapshots.before_restore(&self.actor, &self.restore).await?;
        }
        let plan = Plan {
            entries: Entries::Whole,
            modules: Vec::new(),
        };
        instances.restore_staged(&self.restore, &plan).await?;
        Ok(())
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
        unpacked
            .map_err(|error| archive(format!("its thread ended: {error}")))?
            .map_err(|error| archive(error.to_string()))?;
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

/// Encrypts the credentials anew for the instance that they go into.
fn reseal(folder: &Path, (from, to): (&Secret, &Secret), owner: (u32, u32)) -> Result<(), Error> {
    let bad = |error: String| Error::BadCredentials(error);
    let folder = Folder::open(folder).map_err(self::folder)?;
    let file = folder.read(node_red::FILE, CREDENTIALS_BYTES_MAX);
    let Some(file) = file.map_err(|error| bad(error.to_string()))? else {
        return Ok(());
    };
    let credentials = node_red::open(from, &file).map_err(|error| bad(error.to_string()))?;
    let resealed = node_red::seal(to, &credentials);
    folder
        .write(node_red::FILE, &resealed, FILE_MODE, Some(owner))
        .map_err(self::folder)
}

fn folder(error: std::io::Error) -> Error {
    Error::Folder(error.to_string())
}
