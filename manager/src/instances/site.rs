//! Where an instance's data is, for its engine's module.
use std::{io, net::SocketAddr, path::Path, time::Duration};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::{
    DataCopy, Error, Instance, Instances, Status, inside,
    model::Inside,
    rehearsal::{RUN_LIMIT_MAX, Run},
};
use crate::{
    engines::{Admin, OneShot, ReadError, Sealed, Site},
    kernel::{InstanceId, Secret},
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
        let files = it
            .engine
            .kind()
            .secret_files(&inside.keys.credential_secret);
        let (secrets, id) = (self.secrets.clone(), it.id);
        if files.is_empty() {
            return Ok(());
        }
        tokio::task::spawn_blocking(move || secrets.ensure(id, &files))
            .await
            .map_err(io::Error::other)
            .flatten()
    }

    pub(super) async fn remove_files(&self, id: InstanceId) -> io::Result<()> {
        self.folders.remove(id).await?;
        let secrets = self.secrets.clone();
        tokio::task::spawn_blocking(move || secrets.remove(id))
            .await
            .map_err(io::Error::other)
            .flatten()
    }

    /// Fits a copy of an instance's data, which nobody uses yet, to the key
    /// `to`. Fails with the reason, for a person.
    pub async fn rekey(&self, copy: DataCopy, to: &Secret) -> Result<(), String> {
        let (from, kind) = (copy.credential_secret.clone(), copy.engine.kind());
        let folder = copy.folder.clone();
        let once = Once {
            instances: self,
            of: Of::Copy(copy),
        };
        let site = Site {
            folder,
            owner: self.data_owner(),
            admin: None,
            once: &once,
        };
        kind.rekey(&site, &from, to).await
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
            folder: self.data_folder(it.id),
            credential_secret: self.credential_secret(it.id).await?,
        })
    }
}

struct Once<'a> {
    instances: &'a Instances,
    of: Of<'a>,
}

enum Of<'a> {
    Instance(&'a Instance),
    Copy(DataCopy),
}

#[async_trait]
impl OneShot for Once<'_> {
    async fn run(
        &self,
        folder: &Path,
        command: Vec<String>,
        secrets: Vec<(&'static str, Secret)>,
    ) -> Result<(Option<i64>, String), String> {
        let (of, limit) = match &self.of {
            Of::Copy(copy) => (copy.clone(), RUN_LIMIT_MAX),
            Of::Instance(it) => {
                let copy = self.instances.copy_of(it).await;
                (copy.map_err(|error| error.to_string())?, READ_LIMIT)
            }
        };
        let copy = DataCopy {
            folder: folder.to_owned(),
            ..of
        };
        let run = Run {
            command,
            secrets,
            limit,
            // It sees keys that the tenant's code is not to see.
            own_variables: false,
        };
        let never = CancellationToken::new();
        let ended = self.instances.run_once(copy, run, &never);
        let ended = ended.await.map_err(|error| error.to_string())?;
        let ended = ended.unwrap_or_default();
        Ok((ended.exit_code, ended.stderr))
    }
}
