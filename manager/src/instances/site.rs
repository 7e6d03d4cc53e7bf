//! Where an instance's data is, for its engine's module.
use std::{io, net::SocketAddr, path::Path, time::Duration};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::{
    DataCopy, Error, Instance, Instances, Status, database, inside,
    model::Inside,
    rehearsal::{RUN_LIMIT_MAX, Run, blocking},
};
use crate::{
    databases::Login,
    engines::{Admin, OneShot, ReadError, Sealed, Site},
    kernel::Secret,
};

/// Less than a request waits for its answer.
const READ_LIMIT: Duration = Duration::from_secs(45);

impl Instances {
    /// What the instance holds now, read while it runs on or stands still.
    pub async fn read_content(&self, it: &Instance) -> Result<Sealed, ReadError> {
        let away = |error: Error| ReadError::Away(error.to_string());
        let admin = self.admin(it).await.map_err(away)?;
        let once = Once {
            instances: self,
            of: Of::Instance(it),
            stop: CancellationToken::new(),
        };
        let site = Site {
            folder: self.data_folder(it.id),
            owner: self.data_owner(),
            admin,
            once: &once,
        };
        it.engine.kind().read(&site).await
    }

    /// Makes the data folder if it is not there, and writes the secret files.
    pub(super) async fn ensure_files(&self, it: &Instance, inside: &Inside) -> io::Result<()> {
        let (kind, key) = (it.engine.kind(), &inside.keys.credential_secret);
        let first = kind.first_files(inside.flows.as_ref(), key);
        self.folders.ensure(it.id, first).await?;
        self.ensure_secrets(it, inside).await
    }

    /// Writes the secret files, without which a container does not start.
    pub(super) async fn ensure_secrets(&self, it: &Instance, inside: &Inside) -> io::Result<()> {
        let key = &inside.keys.credential_secret;
        let mut files = it.engine.kind().secret_files(key);
        let database = self.database_file(it, key).map_err(io::Error::other)?;
        files.extend(database);
        let (secrets, id) = (self.secrets.clone(), it.id);
        if files.is_empty() {
            return Ok(());
        }
        tokio::task::spawn_blocking(move || secrets.ensure(id, &files))
            .await
            .map_err(io::Error::other)
            .flatten()
    }

    /// Folder, secret files and database.
    pub(super) async fn remove_data(&self, it: &Instance) -> Result<(), Error> {
        let removed = self.folders.remove(it.id).await;
        removed.map_err(|error| Error::DataFolder(error.to_string()))?;
        let (secrets, id) = (self.secrets.clone(), it.id);
        blocking(move || secrets.remove(id)).await?;
        self.remove_database(it).await
    }

    /// Fits a copy of an instance's data, which nobody uses yet, to the
    /// instance that it goes into, which encrypts with the key `to`. Fails with
    /// the reason, for a person.
    pub async fn fit(&self, copy: DataCopy, to: &Secret) -> Result<(), String> {
        let (from, kind) = (copy.credential_secret.clone(), copy.engine.kind());
        let folder = copy.folder.clone();
        let login = database::login(copy.instance, copy.storage, to);
        if let Some(login) = &login {
            let made = self.parts.databases.ensure(login).await;
            made.map_err(|error| error.to_string())?;
            let forgotten = self.forget_pointer(&copy).await;
            forgotten.map_err(|error| error.to_string())?;
        }
        let once = Once {
            instances: self,
            of: Of::Copy(copy, login),
            stop: CancellationToken::new(),
        };
        let site = Site {
            folder,
            owner: self.data_owner(),
            admin: None,
            once: &once,
        };
        kind.fit(&site, &from, to).await
    }

    /// Puts a dump into the data folder. Fails with the reason, for a person.
    pub(super) async fn write_dump(&self, it: &Instance) -> Result<(), String> {
        // Whoever does not wait for it has no use for it.
        let stop = CancellationToken::new();
        let _stops = stop.clone().drop_guard();
        let once = Once {
            instances: self,
            of: Of::Dump(it),
            stop,
        };
        let site = Site {
            folder: self.data_folder(it.id),
            owner: self.data_owner(),
            admin: None,
            once: &once,
        };
        it.engine.kind().dump(&site).await
    }

    /// How the running engine is spoken to; `None` when it does not run.
    async fn admin(&self, it: &Instance) -> Result<Option<Admin>, Error> {
        let up = matches!(
            it.seen.status,
            Status::Running | Status::SafeMode | Status::Unhealthy
        );
        let address = it.seen.upstream.as_deref().filter(|_| up);
        let Some(address) = address.and_then(|it| it.parse::<SocketAddr>().ok()) else {
            return Ok(None);
        };
        let mut tx = self.parts.db.begin_system().await?;
        let inside = inside::get(&mut tx, &self.parts.keys, it.id).await?;
        Ok(Some(Admin {
            address,
            magic: inside.keys.magic_token,
        }))
    }

    async fn copy_of(&self, it: &Instance) -> Result<DataCopy, Error> {
        Ok(DataCopy {
            instance: it.id,
            engine: it.engine,
            storage: it.storage,
            folder: self.data_folder(it.id),
            credential_secret: self.credential_secret(it.id).await?,
        })
    }
}

struct Once<'a> {
    instances: &'a Instances,
    of: Of<'a>,
    stop: CancellationToken,
}

enum Of<'a> {
    /// Somebody waits for what is read of it.
    Instance(&'a Instance),
    Dump(&'a Instance),
    /// And where its database goes.
    Copy(DataCopy, Option<Login>),
}

impl Of<'_> {
    async fn look(
        &self,
        instances: &Instances,
    ) -> Result<(DataCopy, Option<Login>, Duration), Error> {
        let (it, limit) = match self {
            Self::Copy(copy, login) => return Ok((copy.clone(), login.clone(), RUN_LIMIT_MAX)),
            Self::Instance(it) => (it, READ_LIMIT),
            Self::Dump(it) => (it, RUN_LIMIT_MAX),
        };
        let copy = instances.copy_of(it).await?;
        let login = database::login(it.id, it.storage, &copy.credential_secret);
        Ok((copy, login, limit))
    }
}

#[async_trait]
impl OneShot for Once<'_> {
    async fn run(
        &self,
        folder: &Path,
        command: Vec<String>,
        secrets: Vec<(&'static str, Secret)>,
    ) -> Result<(Option<i64>, String), String> {
        let looked = self.of.look(self.instances).await;
        let (of, login, limit) = looked.map_err(|error| error.to_string())?;
        let copy = DataCopy {
            folder: folder.to_owned(),
            ..of
        };
        let run = Run {
            command,
            secrets,
            limit,
            login,
            // It sees keys that the tenant's code is not to see.
            own_variables: false,
        };
        let ended = self.instances.run_once(copy, run, &self.stop);
        let ended = ended.await.map_err(|error| error.to_string())?;
        let ended = ended.unwrap_or_default();
        Ok((ended.exit_code, ended.stderr))
    }
}
