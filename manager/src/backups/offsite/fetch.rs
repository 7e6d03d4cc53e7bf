use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use super::store;
use crate::{
    audit,
    backups::{
        Backup, Backups, Error, OffsiteStatus,
        ending::{Ending, What},
        files::{blocking, remove_file},
        store as backups,
    },
    identity::Role,
    kernel::{Actor, BackupId},
    offsite::Offsite,
};

impl Backups {
    /// A member asks for the file of a backup to be fetched back from the
    /// bucket. The leader does it; fine when the file is there and whole.
    pub(in crate::backups) async fn fetch(
        &self,
        actor: &Actor,
        id: BackupId,
    ) -> Result<Backup, Error> {
        let (mut tx, backup) = self.open(actor, id, Role::Member).await?;
        match self.file_of(&backup).await {
            Ok(_) if backup.is_damaged() => {}
            Ok(_) => return Ok(backup),
            Err(Error::FileGone(_)) => {}
            Err(error) => return Err(error),
        }
        let is_there = backup.offsite.status == OffsiteStatus::Done;
        let Some(key) = backup.offsite.key.as_ref().filter(|_| is_there) else {
            return Err(Error::NoCopy);
        };
        if self.parts.offsite.is_none() {
            return Err(Error::NoBucket);
        }
        if key.ends_with(Offsite::SEALED) {
            return Err(Error::CopyEncrypted(key.clone()));
        }
        if backup.offsite.fetching {
            return Ok(backup);
        }
        store::want_fetch(&mut tx, id).await?;
        audit::record(&mut tx, actor, self.now(), backup.event("backup.fetch")).await?;
        let backup = backups::get(&mut tx, id).await?.ok_or(Error::NotFound)?;
        tx.commit().await?;
        Ok(backup)
    }

    /// Gives back what could not be noted.
    pub(super) async fn fetch_wanted(
        &self,
        offsite: &Offsite,
        stop: &CancellationToken,
    ) -> Result<Option<Ending>, Error> {
        while !stop.is_cancelled() {
            let mut tx = self.parts.db.begin_system().await?;
            let next = store::next_fetch(&mut tx).await?;
            drop(tx);
            let Some(backup) = next else { break };
            let fetched = tokio::select! {
                fetched = self.fetch_one(offsite, &backup) => fetched,
                () = stop.cancelled() => return Ok(None),
            };
            let fetched = fetched.map_err(|error| {
                tracing::warn!(backup.id = %backup.id, %error, "the backup {} could not be fetched: {error}", backup.title());
                error.to_string()
            });
            let ending = self.ending(&backup, What::Fetched(fetched));
            let unnoted = self.noted(ending).await;
            if unnoted.is_some() {
                return Ok(unnoted);
            }
        }
        Ok(None)
    }

    pub(in crate::backups) async fn note_fetched(
        &self,
        it: &Ending,
        fetched: &Result<(), String>,
    ) -> Result<(), Error> {
        let id = it.backup.id;
        let mut tx = self.parts.db.begin_system().await?;
        let is_there = match fetched {
            Ok(()) => store::fetched(&mut tx, id, it.at).await?,
            Err(why) => store::not_fetched(&mut tx, id, why).await?,
        };
        tx.commit().await?;
        match is_there {
            true => Ok(()),
            false => self.remove_file_of(&it.backup).await,
        }
    }

    /// The file that is here stays until the one that is fetched is known to be
    /// the very one that was made.
    async fn fetch_one(&self, offsite: &Offsite, backup: &Backup) -> Result<(), Error> {
        let key = backup.offsite.key.as_deref().ok_or(Error::NoCopy)?;
        let name = backup.file_name.clone().ok_or(Error::NothingInIt)?;
        let bytes = backup.size_bytes.and_then(|it| u64::try_from(it).ok());
        self.need_space(bytes.unwrap_or(0)).await?;
        let (folder, instance, id) = (self.folder.clone(), backup.instance, backup.id);
        let made = folder.clone();
        let path = blocking(move || made.fetching(instance, id)).await?;
        offsite.get(key, &path, &mut |_, _| true).await?;
        let expected = backup.sha256.clone();
        blocking(move || {
            if expected.as_deref() != Some(&sha256_of(&path)?) {
                remove_file(&path)?;
                return Ok(Err(Error::CopyDiffers));
            }
            folder.finish(instance, &path, &name).map(Ok)
        })
        .await?
    }
}

fn sha256_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        hash.update(&buffer[..n]);
    }
    Ok(hash
        .finalize()
        .iter()
        .map(|it| format!("{it:02x}"))
        .collect())
}
