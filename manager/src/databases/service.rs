use std::{future::Future, path::Path, sync::Arc, time::Duration};

use sqlx::{Connection as _, PgConnection};
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    Error, Login, Relay,
    model::{Server, TRIAL, own_name, trial_id},
    store::{self, Found},
};
use crate::kernel::{InstanceId, Secret};

/// For everything that one call says to the server.
const LIMIT: Duration = Duration::from_secs(60);
/// Of the server.
const VERSION_MIN: i32 = 13_00_00;

/// Makes and removes them. Without a server it refuses all of it.
#[derive(Clone, Default)]
pub struct Databases {
    server: Option<Arc<Server>>,
}

/// What to say of the server, for `openflow doctor`.
#[derive(Clone, Debug)]
pub struct Open {
    /// `host:port`
    pub address: String,
    pub version: String,
    /// Databases that any role of the server may connect to.
    pub databases: Vec<String>,
}

impl Databases {
    /// Does no I/O. Fails with what is wrong about the URL.
    pub fn new(url: Option<&Secret>) -> Result<Self, String> {
        let server = url.map(Server::parse).transpose()?;
        Ok(Self {
            server: server.map(Arc::new),
        })
    }

    fn server(&self) -> Result<&Server, Error> {
        self.server.as_deref().ok_or(Error::NoServer)
    }

    /// Fails with [`Error::NoServer`].
    pub fn require(&self) -> Result<(), Error> {
        self.server().map(drop)
    }

    /// Host and port that instances reach it at; `None` for the host when it is
    /// this one, where they come by the gateway's address.
    pub fn address(&self) -> Option<(Option<&str>, u16)> {
        let server = self.server.as_deref()?;
        let host = server.host();
        Some((
            (!server.is_here()).then_some(host),
            server.options.get_port(),
        ))
    }

    /// What an instance is told. Fails without a server.
    pub fn url(&self, login: &Login) -> Result<Secret, Error> {
        Ok(self.server()?.url(login))
    }

    /// The same by a [`Relay`] whose folder is at `folder` in the container.
    pub fn relayed_url(&self, login: &Login, folder: &str) -> Result<Secret, Error> {
        Ok(self.server()?.relayed_url(login, folder))
    }

    /// A socket in `folder` that leads to the server until it is dropped.
    pub fn relay(&self, folder: &Path) -> Result<Relay, Error> {
        let server = self.server()?;
        let host = server.host();
        let to = (host.to_owned(), server.options.get_port());
        Relay::open(folder, to).map_err(|error| Error::Server {
            server: server.address(),
            why: format!("cannot be relayed: {error}"),
        })
    }

    /// The database and its role, made if they are not there.
    pub async fn ensure(&self, it: &Login) -> Result<(), Error> {
        let found = self.asked(async |conn| {
            store::lock(conn, &it.name).await?;
            match store::role(conn, &it.name).await? {
                None => store::make_role(conn, it).await?,
                Some(false) => store::open_role(conn, it).await?,
                Some(true) => {}
            }
            let found = store::database(conn, &it.name).await?;
            if found == Found::Absent {
                store::make_database(conn, &it.name).await?;
            }
            if matches!(found, Found::Absent | Found::Unfinished) {
                store::finish_database(conn, &it.name).await?;
            }
            Ok(found)
        });
        match found.await? {
            Found::Closed => Err(self.failed(format!(
                "lets nobody into the database {} (allow_connections is false): open it again.",
                it.name
            ))),
            Found::Absent | Found::Unfinished | Found::Ready => Ok(()),
        }
    }

    /// With all that is in it. Fine when it is gone.
    pub async fn remove(&self, it: &Login) -> Result<(), Error> {
        self.remove_named(&it.name).await
    }

    /// An instance's own.
    pub async fn remove_of(&self, id: InstanceId) -> Result<(), Error> {
        self.remove_named(&own_name(id)).await
    }

    async fn remove_named(&self, name: &str) -> Result<(), Error> {
        let removed = self.asked(async |conn| {
            store::lock(conn, name).await?;
            store::remove_database(conn, name).await?;
            store::remove_role(conn, name).await
        });
        if !removed.await? {
            tracing::warn!(
                "the role {name} has rights in somebody's database, so it stays; nobody can log in with it"
            );
        }
        Ok(())
    }

    /// A throwaway one; [`Databases::remove`] it.
    pub async fn trial(&self) -> Result<Login, Error> {
        let login = Login::trial();
        if let Err(error) = self.ensure(&login).await {
            let _ = self.remove(&login).await; // otherwise it is swept
            return Err(error);
        }
        Ok(login)
    }

    /// Removes the throwaway ones that killed managers left: those that `is_old`.
    /// What cannot be removed is left to the next time.
    pub async fn sweep(&self, is_old: impl Fn(Uuid) -> bool) -> Result<(), Error> {
        if self.server.is_none() {
            return Ok(());
        }
        let found = self.asked(async |conn| store::named(conn, TRIAL).await);
        for name in found.await? {
            if !trial_id(&name).is_some_and(&is_old) {
                continue;
            }
            if let Err(error) = self.remove_named(&name).await {
                tracing::warn!(%error, "the throwaway database {name} is left: {error}");
            }
        }
        Ok(())
    }

    /// Whether the server can be used, for `openflow doctor`; `None` when there
    /// is none.
    pub async fn look(&self) -> Result<Option<Open>, Error> {
        let Some(server) = &self.server else {
            return Ok(None);
        };
        let about = self.asked(async |conn| store::about(conn).await).await?;
        let why = if !about.may_make {
            Some("does not let this role make databases and roles: give it CREATEDB and CREATEROLE")
        } else if !about.inherits {
            Some("has this role as NOINHERIT: alter it to INHERIT")
        } else if about.version_num < VERSION_MIN {
            Some("is older than 13")
        } else {
            None
        };
        match why {
            Some(why) => Err(self.failed(format!("{why}."))),
            None => Ok(Some(Open {
                address: server.address(),
                version: about.version,
                databases: about.open,
            })),
        }
    }

    /// Does `work` on a connection of its own.
    async fn asked<T>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T>,
    ) -> Result<T, Error> {
        let server = self.server()?;
        let all = async {
            let mut conn = store::connect(&server.options).await?;
            let done = work(&mut conn).await;
            let _ = conn.close().await; // what was done is done
            done
        };
        bounded(all).await.map_err(|why| self.failed(why))
    }

    fn failed(&self, why: String) -> Error {
        let server = self.server.as_deref().map(Server::address);
        Error::Server {
            server: server.unwrap_or_default(),
            why,
        }
    }
}

async fn bounded<T>(work: impl Future<Output = sqlx::Result<T>>) -> Result<T, String> {
    match timeout(LIMIT, work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sqlx::Error::Database(error))) => Err(format!("refused: {}.", error.message())),
        Ok(Err(sqlx::Error::Io(error))) => Err(format!("cannot be reached: {error}.")),
        Ok(Err(error)) => Err(format!("did not do it: {error}.")),
        Err(_) => Err("does not answer in time.".to_owned()),
    }
}
