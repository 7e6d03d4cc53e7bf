//! The database of an instance whose stack keeps its data in PostgreSQL. What
//! is in it belongs to the data folder: that names the schema which is its own,
//! so whoever exchanges folders exchanges databases, too.
use std::path::PathBuf;

use openflow_archive::Folder;

use super::{Error, Instance, Instances, model::Inside, rehearsal::blocking, secrets::SecretFile};
use crate::{
    databases::{self, Login},
    engines::{Engine, Postgres, Storage},
    kernel::{InstanceId, Secret},
};

/// Where containers see their secret files.
const SECRETS_INSIDE: &str = "/run/openflow";

/// A dump in a data folder, for whoever copies that.
pub struct Dump {
    folder: PathBuf,
    file: &'static str,
}

impl Dump {
    /// It has no business there any more.
    pub async fn remove(self) -> Result<(), Error> {
        blocking(move || Folder::open(&self.folder)?.remove(self.file)).await
    }
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
        self.write_dump(&it).await.map_err(Error::NotDumped)?;
        Ok(Some(Dump {
            folder: self.data_folder(id),
            file,
        }))
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
