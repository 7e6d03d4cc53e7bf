use base64::{Engine as _, prelude::BASE64_STANDARD};
use sqlx::PgConnection;

use super::{
    Target,
    model::check_engine,
    staging::{Staging, spawn},
};
use crate::{
    backups::{About, Backup, Backups, Error, credential_place, files},
    identity::Role,
    instances::{
        Instance, NewInstance,
        restores::{NewRestore, Restore, SourceKind},
    },
    kernel::{Actor, BackupId, InstanceId, Secret},
    stacks::{self, Pick},
};

impl Backups {
    /// Begins to put the backup back. All that can be known to fail fails here,
    /// before anything is touched.
    pub(in crate::backups) async fn restore(
        &self,
        actor: &Actor,
        id: BackupId,
        target: Target,
    ) -> Result<Restore, Error> {
        let (mut tx, backup) = self.open(actor, id, Role::Member).await?;
        if backup.is_open() {
            return Err(Error::NotFinished);
        }
        let about = match &backup.about {
            Some(about) if backup.is_restorable() => about.clone(),
            _ => return Err(Error::NothingInIt),
        };
        let secret = self.secret_of(&about)?;
        let mut stack = None;
        if let Target::New(_) = &target {
            let pick = Pick::DefaultFor(backup.engine, about.storage);
            let picked = stacks::pick_ready(&mut tx, pick).await;
            let picked = picked.map_err(crate::instances::Error::from)?;
            check_engine(&about, &picked)?;
            stack = Some(picked.id);
        }
        drop(tx);
        let file = self.file_of(&backup).await?;
        self.need_room(&backup).await?;
        let new = NewRestore {
            source_kind: SourceKind::Backup,
            source_id: backup.id.0,
            source_name: backup.title(),
        };
        let instances = &self.parts.instances;
        let restore = match target {
            Target::Own => self.begin(actor, backup.instance, &about, new).await?,
            Target::Other(id) => self.begin(actor, id, &about, new).await?,
            Target::New(it) => {
                let names = NewInstance::parse(&it.name, &it.subdomain)?;
                let project = it.project.unwrap_or(backup.project);
                let begun = instances.begin_restore_into_new(actor, project, (names, stack), new);
                begun.await?
            }
        };
        spawn(Staging {
            backups: self.clone(),
            actor: actor.clone(),
            restore: restore.clone(),
            file,
            secret,
        });
        Ok(restore)
    }

    /// Into an instance that is there.
    async fn begin(
        &self,
        actor: &Actor,
        id: InstanceId,
        about: &About,
        new: NewRestore,
    ) -> Result<Restore, Error> {
        let instances = &self.parts.instances;
        let (mut tx, instance) = instances.open_live(actor, id).await?;
        check_engine(about, &stack_of(&mut tx, &instance).await?)?;
        drop(tx);
        let snapshots = &self.parts.snapshots;
        snapshots
            .require_promoter(actor, about.instance_id, id)
            .await?;
        Ok(instances.begin_restore(actor, id, new).await?)
    }

    /// The secret that the archive's credentials are encrypted with.
    pub(in crate::backups) fn secret_of(&self, about: &About) -> Result<Secret, Error> {
        let damaged = || Error::Refused("the credential secret in its manifest is damaged".into());
        let sealed = BASE64_STANDARD
            .decode(&about.credential_secret)
            .map_err(|_| damaged())?;
        let place = credential_place(about.backup_id, about.project_id);
        let secret = self.parts.keys.open_text(&place, &sealed);
        Ok(Secret::new(secret.map_err(Error::WrongKey)?))
    }

    /// The old data stays until the new proves itself, so all of it has to fit
    /// beside.
    async fn need_room(&self, backup: &Backup) -> Result<(), Error> {
        let bytes = backup.data_bytes.and_then(|it| u64::try_from(it).ok());
        let folder = self.parts.settings.data_dir.clone();
        let at = folder.display().to_string();
        let free = files::blocking(move || files::free_bytes(&folder)).await?;
        let needed = bytes
            .unwrap_or(0)
            .saturating_add(self.parts.settings.min_free_bytes);
        if free < needed {
            return Err(Error::NoSpace {
                needed_mb: needed.div_ceil(1 << 20),
                free_mb: free >> 20,
                folder: at,
            });
        }
        Ok(())
    }
}

async fn stack_of(tx: &mut PgConnection, instance: &Instance) -> Result<stacks::Stack, Error> {
    let stack = stacks::find(tx, instance.stack).await;
    Ok(stack.map_err(crate::instances::Error::from)?)
}
