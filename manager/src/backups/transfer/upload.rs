use std::{fs::File, io, path::PathBuf, time::Duration};

use axum::body::BodyDataStream;
use futures_util::StreamExt as _;
use openflow_archive::{Limits, Manifest, Progress, check};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;

use crate::{
    audit,
    backups::{
        About, Backup, BackupStatus, Backups, Error, Trigger, Verification, VerificationLevel,
        VerificationStatus,
        files::{blocking, remove_file},
        model::ENTRIES_MAX,
        policies,
        service::{name_of, pending},
        store,
    },
    identity::Role,
    instances,
    kernel::{Actor, InstanceId},
};

/// Without a byte for so long, the sender is gone.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// What an upload may hold, as a multiple of the largest file: checking a bomb
/// costs time, even though nothing of it is written.
const CONTENT_FACTOR: u64 = 20;

/// A received file that no row knows yet; removed unless it is kept.
struct Received {
    path: PathBuf,
    bytes: u64,
    sha256: String,
    kept: bool,
}

impl Drop for Received {
    fn drop(&mut self) {
        if !self.kept {
            // The hourly pass removes what is left.
            let _ = remove_file(&self.path);
        }
    }
}

impl Backups {
    /// Receives an archive and makes it a backup of the instance, if it is one
    /// of ours, whole, of a key that we have, and of no project that is here and
    /// that the actor is not a member of. `announced` is the length
    /// that the request says.
    pub(super) async fn upload(
        &self,
        actor: &Actor,
        id: InstanceId,
        announced: Option<u64>,
        body: BodyDataStream,
    ) -> Result<Backup, Error> {
        let (tx, _) = self.parts.instances.open_live(actor, id).await?;
        drop(tx);
        let _place = self
            .uploads
            .try_acquire()
            .map_err(|_| Error::TooManyUploads)?;
        let bytes_max = self.parts.settings.upload_bytes_max;
        if announced.is_some_and(|it| bytes_max < it) {
            return Err(Error::TooLarge(bytes_max >> 20));
        }
        self.need_space(announced.unwrap_or(0)).await?;
        let backup_id = crate::kernel::BackupId::new();
        let folder = self.folder.clone();
        let (path, file) = blocking(move || folder.begin_upload(id, backup_id)).await?;
        let mut received = Received {
            path,
            bytes: 0,
            sha256: String::new(),
            kept: false,
        };
        self.receive(&mut received, file, body).await?;
        let manifest = self.examine(&received).await?;
        let about = read_about(&manifest)?;
        self.secret_of(&about)?;
        self.check_source(actor, &about).await?;
        // Rights are looked at again: the upload may have taken an hour.
        let (mut tx, _) = self.parts.instances.open_live(actor, id).await?;
        let candidate = policies::store::candidate(&mut tx, id).await?;
        let candidate = candidate.ok_or(instances::Error::NotFound)?;
        let now = self.now();
        let mut backup = Backup {
            id: backup_id,
            ..whole(&received, &manifest, about)(pending(
                &candidate,
                Trigger::Upload,
                name_of(actor),
                now,
            ))
        };
        backup.file_name = Some(self.place(&received, &backup).await?);
        received.kept = true;
        let noted = async {
            store::insert(&mut tx, &backup).await?;
            let event = backup.event("backup.upload").with(
                serde_json::json!({"instanceId": id, "bytes": received.bytes, "sha256": received.sha256}),
            );
            audit::record(&mut tx, actor, now, event).await?;
            Ok(tx.commit().await?)
        };
        let noted: Result<(), Error> = noted.await;
        if noted.is_err() {
            self.remove_file_of(&backup).await?;
        }
        noted.map(|()| backup)
    }

    async fn receive(
        &self,
        received: &mut Received,
        file: File,
        mut body: BodyDataStream,
    ) -> Result<(), Error> {
        let bytes_max = self.parts.settings.upload_bytes_max;
        let full = |error: io::Error| Error::Folder(error.to_string());
        let broken = |why: &str| Error::UploadBroken(why.to_owned());
        let mut file = tokio::fs::File::from_std(file);
        let mut hash = Sha256::new();
        loop {
            let chunk = tokio::time::timeout(SILENCE_MAX, body.next()).await;
            let chunk = match chunk.map_err(|_| broken("nothing came for a minute"))? {
                None => break,
                Some(Err(error)) => return Err(broken(&error.to_string())),
                Some(Ok(chunk)) => chunk,
            };
            received.bytes += chunk.len() as u64;
            if bytes_max < received.bytes {
                return Err(Error::TooLarge(bytes_max >> 20));
            }
            hash.update(&chunk);
            file.write_all(&chunk).await.map_err(full)?;
        }
        file.sync_all().await.map_err(full)?;
        let hex = hash
            .finalize()
            .iter()
            .map(|it| format!("{it:02x}"))
            .collect();
        received.sha256 = hex;
        Ok(())
    }

    /// The key ring opens what any project of this installation has sealed.
    async fn check_source(&self, actor: &Actor, about: &About) -> Result<(), Error> {
        let identity = &self.parts.identity;
        let mut tx = self.parts.db.begin_system().await?;
        let lacks = identity.lacks(&mut tx, actor, about.project_id, Role::Member);
        match lacks.await? {
            true => Err(Error::ForeignProject),
            false => Ok(()),
        }
    }

    /// Reads all of it, as a restore will.
    async fn examine(&self, received: &Received) -> Result<Manifest, Error> {
        let path = received.path.clone();
        let bytes_max = self.parts.settings.upload_bytes_max;
        let limits = Limits {
            bytes: bytes_max.saturating_mul(CONTENT_FACTOR),
            entries: ENTRIES_MAX,
        };
        let checked = blocking(move || {
            let file = File::open(path)?;
            Ok(check(file, &limits, &Progress::new()))
        });
        match checked.await? {
            Ok(manifest) => Ok(manifest),
            Err(openflow_archive::Error::Io { what, source }) => {
                Err(Error::Archive(format!("{what}: {source}")))
            }
            Err(error) => Err(Error::Refused(error.to_string())),
        }
    }

    /// Gives the file its name among the backups.
    async fn place(&self, received: &Received, backup: &Backup) -> Result<String, Error> {
        let (folder, from) = (self.folder.clone(), received.path.clone());
        let (instance, at) = (backup.instance, backup.created_at);
        blocking(move || {
            let (place, _) = folder.begin(instance, at)?;
            folder.finish(instance, &from, &place.name)?;
            remove_file(&place.path)?;
            Ok(place.name)
        })
        .await
    }
}

/// Fails unless the manifest is that of a backup that we know how to restore.
fn read_about(manifest: &Manifest) -> Result<About, Error> {
    let refused = |why: &str| Error::Refused(why.to_owned());
    let about = &manifest.about;
    if about["format"] != About::FORMAT {
        return Err(refused(
            "its manifest does not say that it is an instance's backup",
        ));
    }
    if about["version"] != About::VERSION {
        return Err(refused(
            "a newer version of Openflow made it: upgrade first",
        ));
    }
    serde_json::from_value(about.clone())
        .map_err(|error| refused(&format!("its manifest is not understood ({error})")))
}

/// Makes a row of one that is whole already.
fn whole(
    received: &Received,
    manifest: &Manifest,
    about: About,
) -> impl FnOnce(Backup) -> Backup + use<> {
    let bytes = |it: u64| i64::try_from(it).ok();
    let (size, data, files) = (
        bytes(received.bytes),
        bytes(manifest.bytes),
        bytes(manifest.files),
    );
    let sha256 = received.sha256.clone();
    move |it: Backup| Backup {
        status: BackupStatus::Good,
        engine: about.engine,
        engine_version: about.engine_version.clone(),
        size_bytes: size,
        data_bytes: data,
        files,
        sha256: Some(sha256),
        about: Some(about),
        started_at: Some(it.created_at),
        finished_at: Some(it.created_at),
        verification: Verification {
            status: VerificationStatus::Good,
            level: Some(VerificationLevel::Read),
            at: Some(it.created_at),
            ..it.verification
        },
        ..it
    }
}
