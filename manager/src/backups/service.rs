use std::{path::PathBuf, sync::Arc};

use chrono::{DateTime, Utc};
use serde_json::json;
use tokio::sync::Semaphore;

use super::{
    Backup, BackupStatus, Error, Offsite, OffsiteStatus, Seen, Settings, Trigger, Verification,
    VerificationLevel, VerificationStatus,
    files::{BackupFolder, blocking},
    policies::{self, Candidate},
    store,
};
use crate::{
    audit,
    crypto::KeyRing,
    db::{Changes, Db, Tx},
    identity::{Identity, Role},
    instances::{self, Instances},
    kernel::{
        Actor, BackupId, Clock, DomainError as _, InstanceId, Kind, Page, PageRequest, ProjectId,
    },
    offsite::Offsite as Bucket,
    snapshots::Snapshots,
};

/// So many files are received at once; each takes a connection and the disk.
const UPLOADS_MAX: usize = 3;

/// What the slice is built from.
#[derive(Clone)]
pub struct Parts {
    pub db: Db,
    pub clock: Arc<dyn Clock>,
    pub keys: Arc<KeyRing>,
    pub identity: Identity,
    pub instances: Instances,
    pub snapshots: Snapshots,
    pub changes: Changes,
    /// The bucket for copies, if there is one.
    pub offsite: Option<Arc<Bucket>>,
    pub settings: Arc<Settings>,
}

/// The use cases of this slice. Cheap to clone.
#[derive(Clone)]
pub struct Backups {
    pub(super) parts: Parts,
    pub(super) folder: BackupFolder,
    pub(super) uploads: Arc<Semaphore>,
}

impl Backups {
    pub fn new(parts: Parts) -> Self {
        let folder = BackupFolder::new(&parts.settings.data_dir);
        Self {
            parts,
            folder,
            uploads: Arc::new(Semaphore::new(UPLOADS_MAX)),
        }
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.parts.clock.now()
    }

    /// Backups as they are shown.
    async fn seen(&self, backups: Vec<Backup>) -> Result<Vec<Seen>, Error> {
        let folder = self.folder.clone();
        let seen = move |backup: Backup| Seen {
            archive: folder.archive_of(&backup),
            backup,
        };
        blocking(move || Ok(backups.into_iter().map(seen).collect())).await
    }

    /// One backup as it is shown.
    pub(super) async fn look(&self, backup: Backup) -> Result<Seen, Error> {
        let folder = self.folder.clone();
        blocking(move || {
            let archive = folder.archive_of(&backup);
            Ok(Seen { backup, archive })
        })
        .await
    }

    async fn seen_page(
        &self,
        backups: Vec<Backup>,
        page: PageRequest,
    ) -> Result<Page<Seen>, Error> {
        let Page { items, next } = Page::cut(backups, page, |it| it.id.0);
        let items = self.seen(items).await?;
        Ok(Page { items, next })
    }

    /// Writes down that a backup is wanted. The leader makes it.
    pub(super) async fn request(&self, actor: &Actor, id: InstanceId) -> Result<Backup, Error> {
        let (mut tx, instance) = self.parts.instances.open_live(actor, id).await?;
        let candidate = policies::store::candidate(&mut tx, id).await?;
        let candidate = candidate.ok_or(instances::Error::NotFound)?;
        let now = self.now();
        let backup = pending(&candidate, Trigger::Manual, name_of(actor), now);
        store::insert(&mut tx, &backup).await?;
        let event = backup
            .event("backup.create")
            .with(json!({"instanceId": instance.id, "instanceName": instance.name}));
        audit::record(&mut tx, actor, now, event).await?;
        tx.commit().await?;
        Ok(backup)
    }

    /// An instance's backups, newest first.
    pub(super) async fn of_instance(
        &self,
        actor: &Actor,
        id: InstanceId,
        page: PageRequest,
    ) -> Result<Page<Seen>, Error> {
        let (mut tx, _) = self.parts.instances.open(actor, id, Role::Viewer).await?;
        let backups = store::of_instance(&mut tx, id, page).await?;
        drop(tx);
        self.seen_page(backups, page).await
    }

    /// A project's backups, newest first, those of deleted instances too.
    pub(super) async fn of_project(
        &self,
        actor: &Actor,
        id: ProjectId,
        page: PageRequest,
    ) -> Result<Page<Seen>, Error> {
        let mut tx = self.parts.db.begin_as(actor).await?;
        let identity = &self.parts.identity;
        identity.require(&mut tx, actor, id, Role::Viewer).await?;
        let backups = store::of_project(&mut tx, id, page).await?;
        drop(tx);
        self.seen_page(backups, page).await
    }

    pub(super) async fn get(&self, actor: &Actor, id: BackupId) -> Result<Seen, Error> {
        let (tx, backup) = self.open(actor, id, Role::Viewer).await?;
        drop(tx);
        self.look(backup).await
    }

    /// The backup in a transaction of the actor's, who has at least `role` in
    /// its project. To a stranger it does not exist.
    pub(super) async fn open(
        &self,
        actor: &Actor,
        id: BackupId,
        role: Role,
    ) -> Result<(Tx, Backup), Error> {
        let mut tx = self.parts.db.begin_as(actor).await?;
        let backup = store::get(&mut tx, id).await?.ok_or(Error::NotFound)?;
        let identity = &self.parts.identity;
        match identity.require(&mut tx, actor, backup.project, role).await {
            Ok(_) => Ok((tx, backup)),
            Err(error) if error.kind() == Kind::NotFound => Err(Error::NotFound),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes the backup and its file; one that waits or runs is cancelled.
    pub(super) async fn delete(&self, actor: &Actor, id: BackupId) -> Result<(), Error> {
        let (mut tx, backup) = self.open(actor, id, Role::Member).await?;
        if backup.verification.status == VerificationStatus::Running {
            return Err(Error::BeingVerified);
        }
        store::delete(&mut tx, id).await?;
        let event = backup.event("backup.delete");
        audit::record(&mut tx, actor, self.now(), event).await?;
        // A file without a row would take space that nobody sees; a row
        // without its file is found and said to have failed.
        self.remove_file_of(&backup).await?;
        Ok(tx.commit().await?)
    }

    /// Asks for a verification. The leader does it.
    pub(super) async fn verify(&self, actor: &Actor, id: BackupId) -> Result<Backup, Error> {
        let (mut tx, backup) = self.open(actor, id, Role::Member).await?;
        if backup.is_open() {
            return Err(Error::NotFinished);
        }
        self.file_of(&backup).await?;
        if !store::want_verification(&mut tx, id, VerificationLevel::Rehearsed).await? {
            return Err(Error::BeingVerified);
        }
        let event = backup.event("backup.verify");
        audit::record(&mut tx, actor, self.now(), event).await?;
        let backup = store::get(&mut tx, id).await?.ok_or(Error::NotFound)?;
        tx.commit().await?;
        Ok(backup)
    }

    /// Where a member finds the archive, and what to save it as.
    pub(super) async fn download(
        &self,
        actor: &Actor,
        id: BackupId,
    ) -> Result<(PathBuf, String), Error> {
        let (_, backup) = self.open(actor, id, Role::Member).await?;
        // That it is there is known to fail here, with a reason.
        drop(self.file_of(&backup).await?);
        let name = backup.file_name.as_deref().ok_or(Error::NothingInIt)?;
        let path = self.folder.path(backup.instance, name);
        Ok((path, backup.download_name()))
    }

    /// Its archive, opened.
    pub(super) async fn file_of(&self, backup: &Backup) -> Result<std::fs::File, Error> {
        if backup.is_open() {
            return Err(Error::NotFinished);
        }
        let name = backup.file_name.clone().ok_or(Error::NothingInIt)?;
        let (folder, instance) = (self.folder.clone(), backup.instance);
        blocking(move || Ok(folder.open(instance, &name))).await?
    }

    pub(super) async fn remove_file_of(&self, backup: &Backup) -> Result<(), Error> {
        let Some(name) = backup.file_name.clone() else {
            return Ok(());
        };
        let (folder, instance) = (self.folder.clone(), backup.instance);
        blocking(move || folder.remove(instance, &name)).await
    }

    /// Fails with [`Error::NoSpace`] unless `bytes` fit on the disk of the
    /// backups and leave free what the operator wants free.
    pub(super) async fn need_space(&self, bytes: u64) -> Result<(), Error> {
        let folder = self.folder.clone();
        let free = blocking(move || folder.free_bytes()).await?;
        let needed = bytes.saturating_add(self.parts.settings.min_free_bytes);
        if free < needed {
            return Err(Error::NoSpace {
                needed_mb: needed.div_ceil(1 << 20),
                free_mb: free >> 20,
                folder: self.folder.root().display().to_string(),
            });
        }
        Ok(())
    }
}

/// Who asked, for the row.
pub(super) fn name_of(actor: &Actor) -> String {
    match actor {
        Actor::User(user) => user.name.clone(),
        Actor::Setup { .. } => "setup".to_owned(),
        Actor::System(name) => (*name).to_owned(),
    }
}

/// One that waits for its turn.
pub(super) fn pending(
    of: &Candidate,
    trigger: Trigger,
    requested_by: String,
    now: DateTime<Utc>,
) -> Backup {
    Backup {
        id: BackupId::new(),
        instance: of.instance,
        project: of.project,
        instance_name: of.name.clone(),
        instance_exists: true,
        trigger,
        status: BackupStatus::Pending,
        detail: None,
        requested_by,
        engine: of.engine,
        engine_version: of.engine_version.clone(),
        attempt: 1,
        progress: None,
        file_name: None,
        size_bytes: None,
        data_bytes: None,
        files: None,
        freeze_ms: None,
        skipped: Vec::new(),
        sha256: None,
        about: None,
        created_at: now,
        started_at: None,
        finished_at: None,
        verification: Verification {
            status: VerificationStatus::None,
            wanted: None,
            level: None,
            detail: None,
            at: None,
            unable: None,
        },
        offsite: Offsite {
            status: OffsiteStatus::Off,
            detail: None,
            at: None,
            key: None,
            fetching: false,
        },
    }
}
