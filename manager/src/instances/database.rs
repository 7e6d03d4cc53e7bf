//! The database of an instance whose stack keeps its data in PostgreSQL. What
//! is in it belongs to the data folder: that names the schema which is its own,
//! so whoever exchanges folders exchanges databases, too.
use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use openflow_archive::Folder;
use tokio::time::{Instant, sleep};

use super::{
    DataCopy, Error, Instance, Instances, model::Inside, rehearsal::blocking, secrets::SecretFile,
};
use crate::{
    databases::{self, Login},
    db::Lease,
    engines::{Engine, Postgres, Storage},
    kernel::{InstanceId, Secret},
};

/// Where containers see their secret files.
const SECRETS_INSIDE: &str = "/run/openflow";

/// How long one waits for another copy of the same instance.
const WAIT: Duration = Duration::from_secs(60 * 60);
const LOOK_PERIOD: Duration = Duration::from_secs(2);

/// A dump in a data folder, for whoever copies that; nobody else makes one
/// meanwhile.
pub struct Dump {
    folder: PathBuf,
    file: &'static str,
    lease: Lease,
}

impl Dump {
    /// Its name in the data folder, and in the copy.
    pub fn file(&self) -> &'static str {
        self.file
    }

    /// It has no business there any more.
    pub async fn remove(self) -> Result<(), Error> {
        let removed = blocking(move || Folder::open(&self.folder)?.remove(self.file)).await;
        self.lease.give_back().await;
        removed
    }
}

/// A folder that was brought from elsewhere: what it says of a database there
/// means nothing here. If it has a dump, that is loaded at the first start.
pub fn forget_database(folder: &Path) -> io::Result<()> {
    let engines = Engine::ALL.into_iter().filter_map(postgres);
    for it in engines {
        let folder = Folder::open(folder)?;
        if folder.has_file(it.dump_file)? {
            folder.remove(it.pointer_file)?;
        }
    }
    Ok(())
}

impl Instances {
    /// The instance's own database, made if it is not there.
    pub(super) async fn ensure_database(
        &self,
        it: &Instance,
        inside: &Inside,
    ) -> Result<(), Error> {
        match login(it.id, it.storage, &inside.keys.credential_secret) {
            Some(login) => Ok(self.parts.databases.ensure(&login).await?),
            None => Ok(()),
        }
    }

    /// With all that is in it.
    pub(super) async fn remove_database(&self, it: &Instance) -> Result<(), Error> {
        if it.storage == Storage::Files {
            return Ok(());
        }
        match self.parts.databases.remove_of(it.id).await {
            // The operator gave the server up.
            Err(error @ databases::Error::NoServer) => {
                tracing::warn!("the database of {} ({}) stays: {error}", it.name, it.id);
                Ok(())
            }
            other => Ok(other?),
        }
    }

    /// The file that tells the engine where its database is.
    pub(super) fn database_file(
        &self,
        it: &Instance,
        key: &Secret,
    ) -> Result<Option<SecretFile>, Error> {
        let Some(login) = login(it.id, it.storage, key) else {
            return Ok(None);
        };
        let url = self.parts.databases.url(&login)?;
        Ok(postgres(it.engine).map(|it| (it.url_file, url)))
    }

    /// The same for a container without network, by a relay's socket among its
    /// secret files.
    pub(super) fn relayed_file(
        &self,
        engine: Engine,
        login: &Login,
    ) -> Result<Option<SecretFile>, Error> {
        let url = self.parts.databases.relayed_url(login, SECRETS_INSIDE)?;
        Ok(postgres(engine).map(|it| (it.url_file, url)))
    }

    /// Puts a dump of the instance's database into its data folder, while it
    /// runs on or stands still; `None` when all its data is in files.
    pub async fn dump(&self, id: InstanceId) -> Result<Option<Dump>, Error> {
        let it = self.origin(id).await?.instance;
        let file = postgres(it.engine).filter(|_| it.storage == Storage::Postgres);
        let Some(file) = file.map(|it| it.dump_file) else {
            return Ok(None);
        };
        let lease = self.only_dump_of(id).await?;
        self.write_dump(&it).await.map_err(Error::NotDumped)?;
        Ok(Some(Dump {
            folder: self.data_folder(id),
            file,
            lease,
        }))
    }

    async fn only_dump_of(&self, id: InstanceId) -> Result<Lease, Error> {
        let name = format!("instances.dump {id}");
        let deadline = Instant::now() + WAIT;
        loop {
            if let Some(lease) = Lease::try_take(&self.parts.db, &name).await? {
                return Ok(lease);
            }
            if deadline <= Instant::now() {
                return Err(Error::Frozen);
            }
            sleep(LOOK_PERIOD).await;
        }
    }

    /// A copy that is fitted to where it goes, or tried out, has nothing in the
    /// database there yet, whatever it says: its dump is all there is.
    pub(super) async fn forget_pointer(&self, copy: &DataCopy) -> Result<(), Error> {
        let file = postgres(copy.engine).filter(|_| copy.storage == Storage::Postgres);
        let Some(file) = file.map(|it| it.pointer_file) else {
            return Ok(());
        };
        let folder = copy.folder.clone();
        blocking(move || Folder::open(&folder)?.remove(file)).await
    }
}

/// `None` when all its data is in files.
pub(super) fn login(id: InstanceId, storage: Storage, key: &Secret) -> Option<Login> {
    match storage {
        Storage::Files => None,
        Storage::Postgres => Some(Login::of(id, key)),
    }
}

pub(super) fn postgres(engine: Engine) -> Option<&'static Postgres> {
    engine.facts().postgres.as_ref()
}
